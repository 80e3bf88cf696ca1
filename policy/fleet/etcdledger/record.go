package etcdledger

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/respool/respool/policy/fleet"
)

// ErrForm is the error of a claim if a key of the quota has a value that this version of the
// package does not write. Nothing is overwritten.
var ErrForm = errors.New("etcdledger: key is not of the form that a ledger writes")

// keys are the names of the keys of one quota.
type keys struct{ base string }

// keysOf returns the keys of a quota. The escaped name contains no slash: no key of one quota
// is in the range of another.
func keysOf(prefix, quota string) keys { return keys{prefix + url.PathEscape(quota) + "/"} }

func (k keys) meta() string                { return k.base + "q" }
func (k keys) learning() string            { return k.base + "l" }
func (k keys) record(holder string) string { return k.base + "h/" + url.PathEscape(holder) }

// end is the end of the range of all keys of the quota.
func (k keys) end() string { return k.base[:len(k.base)-1] + "0" } // '0' is '/' + 1

// version begins each value. If the form changes, so must version: then older versions of this
// package refuse the new form.
const version = "v1"

// record is what the ledger keeps about a holder, apart from its name.
type record struct {
	seq      uint64
	granted  int
	want     int
	min      int
	priority int
	limit    int
	ttl      int64 // of its lease, in seconds, as it was asked for
}

// sameButSeq reports whether the records differ at most in seq.
func (r record) sameButSeq(other *record) bool {
	r.seq = other.seq
	return r == *other
}

// encode returns the value of a holder's key: text, so that etcdctl shows it.
func (r *record) encode() string {
	return fmt.Sprintf("%s seq=%d granted=%d want=%d min=%d priority=%d limit=%d ttl=%d",
		version, r.seq, r.granted, r.want, r.min, r.priority, r.limit, r.ttl)
}

// decode parses what encode returned and nothing else.
func (r *record) decode(s string) error {
	*r = record{}
	var failed error
	field := func(name string, least, most int64) int64 {
		part, rest, _ := strings.Cut(s, " ")
		s = rest
		value, found := strings.CutPrefix(part, name+"=")
		n, err := strconv.ParseInt(value, 10, 64)
		if failed == nil && (!found || err != nil || n < least || n > most) {
			failed = fmt.Errorf("%s must be between %d and %d", name, least, most)
		}
		return n
	}
	whole := s
	v, rest, _ := strings.Cut(s, " ")
	if v != version {
		return fmt.Errorf("it does not begin with %s", version)
	}
	s = rest
	part, rest, _ := strings.Cut(s, " ")
	value, _ := strings.CutPrefix(part, "seq=")
	var err error
	if r.seq, err = strconv.ParseUint(value, 10, 64); err != nil || r.seq == 0 {
		return errors.New("seq must be at least 1")
	}
	s = rest
	r.granted = int(field("granted", 0, fleet.MaxUnits))
	r.want = int(field("want", 0, fleet.MaxUnits))
	r.min = int(field("min", 0, fleet.MaxUnits))
	r.priority = int(field("priority", -fleet.MaxUnits, fleet.MaxUnits))
	r.limit = int(field("limit", 1, fleet.MaxUnits))
	r.ttl = field("ttl", 1, maxTTL)
	if failed != nil {
		return failed
	}
	if r.encode() != whole {
		return errors.New("it is not written as expected")
	}
	return nil
}

// maxTTL is the longest lease of a [fleet.Claim], in seconds.
const maxTTL = 24 * 60 * 60

// holder is one live holder of a state.
type holder struct {
	name  string
	lease int64 // the etcd lease
	since int64 // revision of its last claim
	record
}

// state is what etcd has about one quota at one revision.
type state struct {
	meta     int64 // revision of the last change; 0: there is no record of the quota
	epoch    uint64
	learning int64 // the lease whose end ends the learning; 0: it is not learning
	holders  []holder
	lost     bool // claims may have been lost: it must learn again
}

// begins reports whether a claim in this state begins to learn.
func (s *state) begins() bool { return s.meta == 0 || s.lost }

// pair is a key with its value.
type pair struct {
	key, value string
	modified   int64 // revision of the last change
	lease      int64 // 0: none
}

// metaOf returns the value of the key of a quota. Each time that learning begins the claim draws
// a random epoch. By it a process that detects a loss of data knows whether another process has
// detected it before.
func metaOf(cluster, epoch uint64) string {
	return fmt.Sprintf("%s cluster=%x epoch=%x", version, cluster, epoch)
}

// memory is what a process knows about the data of one quota in earlier answers.
type memory struct {
	revision int64           // of the store, the largest in the present epoch
	epoch    uint64          // the present one
	former   map[uint64]bool // earlier epochs
}

// stale reports whether a store at that revision, with that epoch of the quota, is older than
// an earlier answer of it.
func (m *memory) stale(revision int64, epoch uint64) bool {
	if epoch == m.epoch {
		return revision < m.revision
	}
	return m.former[epoch]
}

// note records an answer.
func (m *memory) note(revision int64, epoch uint64) {
	if epoch != m.epoch {
		if m.former == nil {
			m.former = make(map[uint64]bool)
		}
		m.former[m.epoch] = true
		delete(m.former, epoch)
		m.epoch, m.revision = epoch, 0
	}
	m.revision = max(m.revision, revision)
}

// parse returns the state of a quota from all its keys.
func parse(k keys, c content, m *memory) (state, error) {
	var s state
	for _, p := range c.pairs {
		name, isHolder := strings.CutPrefix(p.key, k.base+"h/")
		switch {
		case p.key == k.meta():
			var cluster uint64
			if n, _ := fmt.Sscanf(p.value, version+" cluster=%x epoch=%x", &cluster, &s.epoch); n != 2 || p.value != metaOf(cluster, s.epoch) {
				return state{}, fmt.Errorf("%w: %q", ErrForm, p.key)
			}
			s.meta = p.modified
			s.lost = cluster != c.cluster || m.stale(c.revision, s.epoch)
		case p.key == k.learning() && p.value == version && p.lease != 0:
			s.learning = p.lease
		case isHolder:
			h := holder{lease: p.lease, since: p.modified}
			err := h.decode(p.value)
			if err == nil && p.lease == 0 {
				err = errors.New("it has no lease")
			}
			if err == nil {
				h.name, err = url.PathUnescape(name)
			}
			if err == nil && k.record(h.name) != p.key {
				err = errors.New("its name is not escaped as expected")
			}
			if err != nil {
				return state{}, fmt.Errorf("%w: %q: %v", ErrForm, p.key, err)
			}
			s.holders = append(s.holders, h)
		default:
			return state{}, fmt.Errorf("%w: %q", ErrForm, p.key)
		}
	}
	return s, nil
}

// decide returns the answer to c in the state s, but for Lease, Next and Fence, and the index
// of the holder in s, or -1.
func decide(s *state, c *fleet.Claim) (fleet.Grant, int, error) {
	g := fleet.Grant{Learning: s.learning != 0 || s.begins()}
	leaves := c.Has == 0 && c.Want == 0
	self, others := -1, int64(0) // units in use are recorded without limit: the sum may need 64 bits
	shares := make([]fleet.Share, 0, len(s.holders)+1)
	for i := range s.holders {
		h := &s.holders[i]
		if h.name == c.Holder {
			if c.Seq <= h.seq {
				return fleet.Grant{}, i, fleet.ErrStale
			}
			self = i
			continue
		}
		others += int64(h.granted)
		g.Holders++
		if g.Limit == 0 || h.limit < g.Limit {
			g.Limit = h.limit
		}
		g.Highest = max(g.Highest, h.limit)
		shares = append(shares, fleet.Share{Holder: h.name, Want: h.want, Min: h.min, Priority: h.priority})
	}
	if !leaves || g.Holders == 0 {
		if g.Limit == 0 || c.Limit < g.Limit {
			g.Limit = c.Limit
		}
		g.Highest = max(g.Highest, c.Limit)
	}
	g.Total = clip(others)
	if leaves {
		return g, self, nil
	}
	shares = append(shares, fleet.Share{Holder: c.Holder, Want: c.Want, Min: c.Min, Priority: c.Priority})
	fleet.Targets(g.Limit, shares)
	for i := range shares {
		if shares[i].Holder == c.Holder {
			g.Target = shares[i].Target
		}
	}
	g.Granted = c.Has
	if !g.Learning {
		g.Granted = max(c.Has, min(g.Target, clip(int64(g.Limit)-others)))
	}
	g.Holders++
	g.Total = clip(others + int64(g.Granted))
	return g, self, nil
}

// clip returns n, or the nearest int to it.
func clip(n int64) int { return int(max(math.MinInt, min(n, math.MaxInt))) }
