package etcdledger

import (
	"strings"
	"testing"

	"github.com/respool/respool/policy/fleet"
)

func TestKeys(t *testing.T) {
	names := []string{"a", "a/", "a/b", "a%2Fb", "h", "q", "l", "a/h/x", "a0", "~", "!"}
	for _, n := range names {
		k := keysOf("/p/", n)
		for _, other := range names {
			o := keysOf("/p/", other)
			for _, key := range []string{o.meta(), o.learning(), o.record("x"), o.record("x/y")} {
				if in := key >= k.base && key < k.end(); in != (n == other) {
					t.Errorf("the key %q of %q is in the range of %q: %v", key, other, n, in)
				}
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := (&record{seq: 41, granted: 6, want: 9, min: 1, priority: -2, limit: 10, ttl: 10}).encode()
	var r record
	if err := r.decode(good); err != nil || r.encode() != good {
		t.Fatalf("%q: %v", good, err)
	}
	for _, bad := range []string{"", "v1", "v1 ", good + " ", good + " x=1", " " + good, good[1:], strings.ToUpper(good),
		strings.Replace(good, "seq=41", "seq=0", 1), strings.Replace(good, "seq=41", "seq=041", 1),
		strings.Replace(good, "granted=6", "granted=-1", 1), strings.Replace(good, "granted=6", "granted=2147483648", 1),
		strings.Replace(good, "granted=6", "granted=99999999999999999999", 1), strings.Replace(good, "granted", "grantee", 1),
		strings.Replace(good, "limit=10", "limit=0", 1), strings.Replace(good, "ttl=10", "ttl=0", 1), strings.Replace(good, "want=9", "want=+9", 1),
	} {
		if err := r.decode(bad); err == nil {
			t.Errorf("%q was accepted as %+v", bad, r)
		}
	}
}

// Whatever the store has, parsing it does not panic; what is accepted is written the same
// way again, and deciding on it keeps the rules.
func FuzzParse(f *testing.F) {
	k := keysOf(defaultPrefix, "q")
	f.Add(k.record("x"), (&record{seq: 1, granted: 3, want: 4, limit: 10, ttl: 10}).encode(), int64(7), 1, 5)
	f.Add(k.record("a"), (&record{seq: 9, granted: 2, want: 4, min: 3, priority: -1, limit: 3, ttl: 86400}).encode(), int64(7), 0, 0)
	f.Add(k.meta(), metaOf(0xc1, 0xe), int64(0), 2, 2)
	f.Add(k.learning(), "v1", int64(3), 0, 3)
	f.Add(k.base+"h/%zz", "v1 seq=1", int64(3), 0, 3)
	f.Fuzz(func(t *testing.T, key, value string, lease int64, has, more int) {
		s, err := parse(k, content{[]pair{{key: key, value: value, modified: 3, lease: lease}}, 3, 0xc1}, new(memory))
		if err != nil {
			return
		}
		for _, h := range s.holders {
			if k.record(h.name) != key || h.encode() != value {
				t.Fatalf("%q = %q was read as %+v", key, value, h)
			}
		}
		has, more = max(0, has%1000), max(0, more%1000)
		c := claim("a", 5, has, has+more)
		g, _, err := decide(&s, &c)
		if err != nil {
			if err != fleet.ErrStale || len(s.holders) != 1 || s.holders[0].seq < 5 {
				t.Fatal(err)
			}
			return
		}
		others := 0
		for _, h := range s.holders {
			if h.name != "a" {
				others += h.granted
			}
		}
		if g.Granted < has || g.Granted > has && g.Granted > g.Limit-others || g.Granted > max(has, g.Target) || g.Target > c.Want {
			t.Fatalf("%+v after %+v: %+v", c, s, g)
		}
	})
}
