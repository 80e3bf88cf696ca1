package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// wantStale checks the answer to a claim whose Seq is not new.
func (k *kit) wantStale(c fleet.Claim, g fleet.Grant, err error, why string) {
	k.Helper()
	if err == nil {
		k.fatalf("%s was granted %d, want fleet.ErrStale: %s", show(c), g.Granted, why)
	}
	if !errors.Is(err, fleet.ErrStale) {
		k.fatalf("%s failed with %q, want fleet.ErrStale: %s", show(c), err, why)
	}
}

// random makes random claims, one at a time, and compares each answer with the model's.
// Where the engine's clock can be advanced, leases end too.
func (k *kit) random() {
	var m Model
	now := time.Duration(0)
	exact := k.h.Advance != nil
	// The founder of the quota has left, and its learning is over.
	_, _ = m.Claim(0, fleet.Claim{Holder: "founder", Seq: 1, Limit: 1, Lease: 1})
	now = 1
	seqs := make(map[string]uint64)
	for i := range k.h.Claims {
		c := k.claimAtRandom(k.rand, seqs)
		if exact {
			d := time.Duration(k.rand.Int64N(int64(k.h.Lease / 8))).Truncate(time.Millisecond)
			k.h.Advance(d)
			now += d
			// No lease ends at the very instant of a claim: engines differ in whether it has ended.
			c.Lease = time.Duration(1+k.rand.IntN(8))*k.h.Lease/4 + time.Millisecond/2
		}
		want, wantErr := m.Claim(now, c)
		got, err := k.send(c)
		what := fmt.Sprintf("claim %d, %v in: %s", i, now, show(c))
		if wantErr != nil {
			k.wantStale(c, got, err, what)
			continue
		}
		if err != nil {
			k.fatalf("%s failed: %v", what, err)
		}
		if diff := difference(got, want, k.h.Late); diff != "" {
			k.fatalf("%s: %s\ngot  %+v\nwant %+v", what, diff, got, want)
		}
	}
}

// claimAtRandom returns a claim of one of a few holders. Some are stale.
func (k *kit) claimAtRandom(r *rand.Rand, seqs map[string]uint64) fleet.Claim {
	c := fleet.Claim{Quota: k.quota("q"), Holder: fmt.Sprint("h", r.IntN(6)), Limit: 20, Lease: k.h.long()}
	switch r.IntN(20) {
	case 0:
		c.Seq = seqs[c.Holder] // stale if the holder is live
	case 1:
		c.Seq = seqs[c.Holder] / 2
	default:
		seqs[c.Holder] += 1 + uint64(r.IntN(3))
		c.Seq = seqs[c.Holder]
	}
	c.Seq = max(c.Seq, 1)
	seqs[c.Holder] = max(seqs[c.Holder], c.Seq)
	c.Has = max(0, r.IntN(10)-3)
	c.Want = c.Has + max(0, r.IntN(12)-3)
	if r.IntN(12) == 0 {
		c.Has, c.Want = 0, 0
	}
	if r.IntN(3) == 0 {
		c.Min = r.IntN(6)
	}
	if r.IntN(3) == 0 {
		c.Priority = r.IntN(5) - 2
	}
	if r.IntN(8) == 0 {
		c.Limit = 1 + r.IntN(30)
	}
	return c
}

// difference says in which field a grant is not what the model says. The values of Fence
// differ; a lease may be rounded up by an engine that is late. Next may be early.
func difference(got, want fleet.Grant, late time.Duration) string {
	var d []string
	differ := func(field string, a, b any) {
		if a != b {
			d = append(d, fmt.Sprintf("%s is %v, want %v", field, a, b))
		}
	}
	differ("Granted", got.Granted, want.Granted)
	differ("Target", got.Target, want.Target)
	differ("Limit", got.Limit, want.Limit)
	differ("Highest", got.Highest, want.Highest)
	differ("Total", got.Total, want.Total)
	differ("Holders", got.Holders, want.Holders)
	differ("Learning", got.Learning, want.Learning)
	if (got.Next == 0) != (want.Next == 0) || got.Next < 0 || got.Next > want.Next+late+time.Millisecond {
		differ("Next", got.Next, want.Next)
	}
	if got.Lease < want.Lease || got.Lease > want.Lease+late {
		differ("Lease", got.Lease, want.Lease)
	}
	return strings.Join(d, "; ")
}

// concurrent has many holders claim at once. Each gives up units before it states fewer,
// and uses new ones only when they are granted.
func (k *kit) concurrent() {
	const limit = 50
	holders := 16
	each := max(k.h.Claims/holders, 10)
	var inUse atomic.Int64
	run := func(i int) {
		r := k.source(i + 1)
		h := k.holder("q", fmt.Sprint("h", i), limit)
		l := k.client[i%len(k.client)]
		has, fence := 0, uint64(0)
		for range each {
			if k.bad.Load() {
				return
			}
			fewer := r.IntN(has + 1)
			inUse.Add(int64(fewer - has))
			has = fewer
			h.next.Seq++
			h.next.Has, h.next.Want = has, has+r.IntN(2*limit/holders+2)
			g, err := l.Claim(context.Background(), h.next)
			if err != nil {
				k.errorf("%s failed while others claim: %v", show(h.next), err)
				return
			}
			if g.Granted < has || g.Granted > max(has, h.next.Want) {
				k.errorf("%s was granted %d", show(h.next), g.Granted)
				return
			}
			if g.Total > limit {
				k.errorf("%s: Total is %d of %d although each holder used only what it was granted", show(h.next), g.Total, limit)
				return
			}
			if g.Fence <= fence {
				k.errorf("%s: Fence %d after %d: it must be larger in each grant", show(h.next), g.Fence, fence)
				return
			}
			fence = g.Fence
			if n := inUse.Add(int64(g.Granted - has)); n > limit {
				k.errorf("%d units are in use, and the limit is %d: %s was granted %d while others had the rest", n, limit, show(h.next), g.Granted)
				return
			}
			has = g.Granted
			if r.IntN(4) == 0 {
				runtime.Gosched()
			}
		}
		inUse.Add(int64(-has))
		h.next.Seq++
		h.next.Has, h.next.Want = 0, 0
		if _, err := l.Claim(context.Background(), h.next); err != nil {
			k.errorf("%s failed while others claim: %v", show(h.next), err)
		}
	}
	k.within(10*patience, "claims of many goroutines", func() {
		var all []<-chan string
		for i := range holders {
			all = append(all, runAsync(func() { run(i) }))
		}
		for _, ended := range all {
			if failure := <-ended; failure != "" {
				k.errorf("a claim %s", failure)
			}
		}
	})
	if k.bad.Load() {
		return
	}
	last := k.holder("q", "last", limit)
	last.count(last.wants(0, limit, limit, "all others have left"), limit, 1)
}

func (k *kit) context() {
	h := k.holder("q", "h", 10)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h.next.Seq++
	if _, _, ok := k.try(ctx, overrun, "a claim whose context had ended", k.client[0], h.next); !ok {
		return
	}
	h.wants(0, 3, 3, "a claim works after another one whose context had ended")
	if k.h.Stall == nil || k.bad.Load() {
		return
	}
	resume := k.h.Stall()
	func() {
		defer resume()
		for _, l := range k.client {
			limit := 200 * time.Millisecond
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			h.next.Seq++
			_, err, ok := k.try(ctx, limit+overrun, "a claim while the engine does not answer", l, h.next)
			if ok && err == nil {
				k.errorf("%s was granted while the engine does not answer", show(h.next))
			}
			k.wantNoSecrets("while the engine does not answer", err)
			cancel()
		}
	}()
	if !k.bad.Load() {
		h.wants(0, 4, 4, "the engine answers again")
	}
}

func (k *kit) broken() {
	for what, l := range k.h.Broken {
		h := k.holder("q", "h", 10)
		h.next.Seq++
		h.next.Want = 1
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err, _ := k.try(ctx, 2*time.Second+overrun, "a claim with "+what, l, h.next)
		cancel()
		if k.bad.Load() {
			return
		}
		if err == nil {
			k.errorf("a claim with %s was granted", what)
		}
		k.wantNoSecrets("with "+what, err)
	}
}

// wantNoSecrets checks that neither the error nor one that it wraps shows a secret.
func (k *kit) wantNoSecrets(what string, err error) {
	k.Helper()
	if err == nil {
		return
	}
	if err.Error() == "" {
		k.errorf("the error of a claim %s has no text", what)
	}
	for _, secret := range k.h.Secrets {
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			if strings.Contains(text, secret) {
				k.errorf("the error of a claim %s shows a secret: %s", what, strings.ReplaceAll(text, secret, "(the secret)"))
				return
			}
		}
	}
}
