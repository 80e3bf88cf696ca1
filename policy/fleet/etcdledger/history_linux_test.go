package etcdledger

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
)

// history is the claims on the quota q, to be compared with what etcd has recorded. etcd
// keeps every revision, so the order in which claims were recorded is known, and also which of
// those without an answer were. The history is linearizable if the model gives the
// same answers in that order, and if no claim comes after one that was made when it had
// already been answered.
type history struct {
	began time.Time
	from  int64 // revision

	mu  sync.Mutex
	ops map[string][]*op // by holder, in order of Seq
}

type op struct {
	claim     fleet.Claim
	grant     fleet.Grant
	err       error
	call, ret time.Duration
	recorded  bool
}

// newHistory begins a history. The quota is known, has no holder and is not learning.
func newHistory(t *testing.T, all []*member) *history {
	t.Helper()
	_, c := openClient(t, config(all...))
	r, err := c.Get(t.Context(), "revision")
	if err != nil {
		t.Fatal(err)
	}
	return &history{began: time.Now(), from: r.Header.Revision + 1, ops: make(map[string][]*op)}
}

// claim makes a claim and records it.
func (h *history) claim(ctx context.Context, l *Ledger, c fleet.Claim) (fleet.Grant, error) {
	o := &op{claim: c, call: time.Since(h.began)}
	o.grant, o.err = l.Claim(ctx, c)
	o.ret = time.Since(h.began)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops[c.Holder] = append(h.ops[c.Holder], o)
	return o.grant, o.err
}

// check replays what etcd has recorded, and returns what is wrong.
func (h *history) check(t *testing.T, all []*member) (complaints []string) {
	t.Helper()
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	var m ledgertest.Model
	_, _ = m.Claim(0, fleet.Claim{Holder: "founder", Seq: 1, Limit: 1, Lease: time.Second})
	m.EndLearning()
	recorded, silent, latest := 0, 0, time.Duration(0)
	for _, c := range h.changes(t, all) {
		recorded++
		// What was written tells which claim it was; of a leave only the answer does.
		o := h.find(func(o *op) bool {
			if c.put {
				return o.claim.Holder == c.holder && o.claim.Seq == c.record.seq
			}
			return o.err == nil && o.grant.Fence == uint64(c.revision)
		})
		if o == nil && c.put {
			complain("revision %d: %s, Seq %d, was recorded and not made", c.revision, c.holder, c.record.seq)
			continue
		}
		if o == nil { // a leave without an answer
			m.Forget(c.holder)
			silent++
			continue
		}
		o.recorded = true
		want, err := m.Claim(0, o.claim)
		if err != nil || want.Granted != c.record.granted {
			complain("revision %d: %+v was recorded with %d units; the model grants %d (%v)", c.revision, o.claim, c.record.granted, want.Granted, err)
		}
		if o.err != nil {
			silent++
			continue
		}
		want.Next, want.Lease, want.Fence = o.grant.Next, o.grant.Lease, uint64(c.revision)
		if o.grant != want {
			complain("revision %d: %+v was answered %+v, want %+v", c.revision, o.claim, o.grant, want)
		}
		if o.ret < latest {
			complain("revision %d: %+v was answered %v before another one was made that was recorded earlier", c.revision, o.claim, latest-o.ret)
		}
		latest = max(latest, o.call)
	}
	for _, ops := range h.ops {
		for _, o := range ops {
			if o.err == nil && !o.recorded {
				complain("%+v was answered %+v and not recorded", o.claim, o.grant)
			}
		}
	}
	if recorded == 0 {
		complain("nothing was recorded")
	}
	t.Logf("%d claims were recorded, %d of them without an answer", recorded, silent)
	return complaints
}

// find returns the claim for which is is true, or nil.
func (h *history) find(is func(o *op) bool) *op {
	for _, ops := range h.ops {
		for _, o := range ops {
			if is(o) {
				return o
			}
		}
	}
	return nil
}

// change is what one claim wrote.
type change struct {
	revision int64
	holder   string // whose record was written or deleted; empty: none
	put      bool
	record   record
}

// changes returns all that was written since the history began, in order of revision.
func (h *history) changes(t *testing.T, all []*member) (changes []change) {
	t.Helper()
	_, c := openClient(t, config(all...))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	k := keysOf(defaultPrefix, "q")
	last, err := c.Put(ctx, k.base+"z", "last")
	if err != nil {
		t.Fatal(err)
	}
	for r := range c.Watch(ctx, k.base, clientv3.WithRange(k.end()), clientv3.WithRev(h.from)) {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Events {
			revision := e.Kv.ModRevision
			if revision == last.Header.Revision {
				return changes
			}
			if n := len(changes); n == 0 || changes[n-1].revision != revision {
				changes = append(changes, change{revision: revision})
			}
			name, isHolder := strings.CutPrefix(string(e.Kv.Key), k.base+"h/")
			if !isHolder {
				continue
			}
			c := &changes[len(changes)-1]
			c.holder, c.put = name, e.Type == clientv3.EventTypePut
			if !c.put {
				continue
			}
			if err := c.record.decode(string(e.Kv.Value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatal("the events ended before the last one")
	return nil
}

// careless is a store that writes whatever happened since the reading.
type careless struct{ store }

func (c careless) commit(ctx context.Context, t txn) (committed, content, error) {
	t.guards = nil
	return c.store.commit(ctx, t)
}

// The check finds a ledger that writes without a condition.
func TestEtcdHistoryOfWrongLedger(t *testing.T) {
	t.Parallel()
	all := servers(t, 1)
	known(t, all...)
	h := newHistory(t, all)
	var wg sync.WaitGroup
	for i := range 6 {
		l := open(t, all...)
		l.store = careless{l.store}
		wg.Go(func() {
			for seq := range uint64(30) {
				_, _ = h.claim(t.Context(), l, claim(fmt.Sprint("h", i), seq+1, 0, 1+int(seq)%9))
			}
		})
	}
	wg.Wait()
	if complaints := h.check(t, all); len(complaints) == 0 {
		t.Error("nothing was found")
	} else {
		t.Logf("%d complaints; the first: %s", len(complaints), complaints[0])
	}
}
