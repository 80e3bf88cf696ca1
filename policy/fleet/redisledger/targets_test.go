package redisledger

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// The script computes the targets of fleet.Targets from what it keeps between claims, and
// its totals are those of its holders, after any claims.
func TestTargets(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 1))
	m := startMini(t)
	l := m.open(t, Options{})
	runs := 20
	if testing.Short() {
		runs = 5
	}
	for range runs {
		m.FlushAll()
		m.found(t, l)
		compareTargets(t, r, l, 1+r.IntN(30), m.pass)
	}
}

// compareTargets makes random claims of n holders.
func compareTargets(t testing.TB, r *rand.Rand, l *Ledger, n int, pass func(time.Duration)) {
	t.Helper()
	limit := 1 + r.IntN(4*n)
	live := make(map[string]fleet.Claim)
	granted := make(map[string]int)
	names := make([]string, n)
	for i := range names {
		names[i] = name(r, i)
	}
	most := 1 + r.IntN(3*limit/n+3) // of one want
	var seq uint64
	for range 6 * n {
		seq++
		c := fleet.Claim{Quota: "q", Holder: names[r.IntN(n)], Seq: seq, Limit: limit, Lease: time.Hour}
		if old, ok := live[c.Holder]; ok && r.IntN(3) > 0 {
			// Most claims change little: the script then keeps the level.
			c.Min, c.Priority, c.Want = old.Min, old.Priority, old.Want
			if r.IntN(2) == 0 {
				c.Want = max(0, old.Want+r.IntN(5)-2)
			}
		} else {
			c.Want = r.IntN(most + 1)
			if r.IntN(4) == 0 {
				c.Min = r.IntN(limit/n*2 + 2)
			}
			if r.IntN(4) == 0 {
				c.Priority = r.IntN(3) - 1
			}
		}
		if r.IntN(20) == 0 {
			c.Limit = 1 + r.IntN(5*n)
		}
		c.Has = min(c.Want, r.IntN(granted[c.Holder]+1))
		if r.IntN(40) == 0 {
			c.Has = c.Want // units in use beyond the limit
		}
		if r.IntN(15) == 0 {
			pass(time.Duration(r.IntN(40)) * time.Minute)
			live, granted = make(map[string]fleet.Claim), make(map[string]int)
			for h, e := range record(t, l).holders {
				live[h], granted[h] = e, e.Has
			}
		}
		g, err := l.Claim(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		delete(live, c.Holder)
		delete(granted, c.Holder)
		leaves := c.Has == 0 && c.Want == 0
		if !leaves {
			live[c.Holder] = c
		}
		want := expected(live, granted, c)
		if leaves {
			want.Granted, want.Target = 0, 0
		} else {
			granted[c.Holder] = want.Granted
		}
		got := fleet.Grant{Granted: g.Granted, Target: g.Target, Limit: g.Limit, Highest: g.Highest, Total: g.Total, Holders: g.Holders}
		if got != want {
			t.Fatalf("claim %+v\nwas answered %+v\nwant         %+v\nholders %+v", c, got, want, live)
		}
		checkTotals(t, l)
	}
}

// expected is the grant that the rules give, without its times.
func expected(live map[string]fleet.Claim, granted map[string]int, c fleet.Claim) fleet.Grant {
	g := fleet.Grant{Limit: c.Limit, Highest: c.Limit, Holders: len(live)}
	if c.Has == 0 && c.Want == 0 && len(live) > 0 {
		g.Limit, g.Highest = fleet.MaxUnits, 0
	}
	var shares []fleet.Share
	for _, e := range live {
		g.Limit, g.Highest = min(g.Limit, e.Limit), max(g.Highest, e.Limit)
		shares = append(shares, fleet.Share{Holder: e.Holder, Want: e.Want, Min: e.Min, Priority: e.Priority})
	}
	fleet.Targets(g.Limit, shares)
	for _, s := range shares {
		if s.Holder == c.Holder {
			g.Target = s.Target
		}
	}
	others := 0
	for _, n := range granted {
		others += n
	}
	g.Granted = max(c.Has, min(g.Target, g.Limit-others))
	g.Total = others + g.Granted
	return g
}

// book is what the engine has about a quota.
type book struct {
	total, count, demand, low, high, next, now float64
	holders                                    map[string]fleet.Claim // Has is what was granted
	ends                                       map[string]float64
}

// record reads the key of the quota, without the holders whose lease has ended.
func record(t testing.TB, l *Ledger) book {
	t.Helper()
	ctx := context.Background()
	fields, err := l.client.HGetAll(ctx, l.key("q", "quota")).Result()
	if err != nil {
		t.Fatal(err)
	}
	now, err := l.client.Time(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	var q []any
	if err := json.Unmarshal([]byte(fields[" quota"]), &q); err != nil {
		t.Fatal(err)
	}
	b := book{holders: make(map[string]fleet.Claim), ends: make(map[string]float64), now: float64(now.UnixMicro()) + q[4].(float64),
		total: q[7].(float64), count: q[8].(float64), demand: q[9].(float64), low: q[10].(float64), high: q[11].(float64), next: q[13].(float64)}
	for h, text := range fields {
		if h == " quota" {
			continue
		}
		if len(text) != 44 {
			t.Fatalf("the record of %s has %d bytes", h, len(text))
		}
		number := func(i int) int64 { return int64(binary.BigEndian.Uint32([]byte(text[4*i:]))) }
		ends := float64(number(9)<<32 | number(10))
		if ends <= b.now {
			continue
		}
		b.holders[h] = fleet.Claim{Quota: "q", Holder: h, Has: int(number(3)), Want: int(number(4)), Min: int(number(5)),
			Priority: int(number(6) - 1<<31), Limit: int(number(7))}
		b.ends[h] = ends
	}
	return b
}

// checkTotals compares the totals with the holders, just after a claim.
func checkTotals(t testing.TB, l *Ledger) {
	t.Helper()
	b := record(t, l)
	sum := book{next: 9e15, low: fleet.MaxUnits}
	for h, c := range b.holders {
		sum.count++
		sum.total += float64(c.Has)
		sum.demand += float64(c.Want)
		sum.low, sum.high = min(sum.low, float64(c.Limit)), max(sum.high, float64(c.Limit))
		sum.next = min(sum.next, b.ends[h])
	}
	if sum.count == 0 {
		sum.low = 0
	}
	if b.count != sum.count || b.total != sum.total || b.demand != sum.demand || b.low != sum.low || b.high != sum.high || b.next > sum.next {
		t.Fatalf("the record has the totals %+v\nand its holders       %+v", b, sum)
	}
}
