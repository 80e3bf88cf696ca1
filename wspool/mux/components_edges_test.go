package mux

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// The generations of ids begin behind that of the id that newSlots is given, skip 0, which is no id, and
// begin again when the bits of an id are used up; last is the largest of all slots.
func TestSlots_Generations(t *testing.T) {
	s := newSlots[int](5, 4, 6<<2) // 2 bits for the slot, 3 for the generation
	var got []uint64
	for range 4 {
		id, ok := s.take(1)
		if !ok || id&3 != 0 {
			t.Fatalf("id %d, %v", id, ok)
		}
		got = append(got, id>>2)
		s.release(id)
	}
	if want := []uint64{7, 1, 2, 3}; !slices.Equal(got, want) || s.last != 11 {
		t.Errorf("generations %v, the largest %d; want %v, 11", got, s.last, want)
	}
	first, _ := s.take(1)
	second, _ := s.take(2)
	if second != 7<<2|1 || s.find(second).owner != 2 || s.find(first).owner != 1 || s.last != 12 {
		t.Errorf("ids %d and %d, the largest generation %d", first, second, s.last)
	}
	if s.find(second&3|6<<2) != nil || s.find(2) != nil {
		t.Error("an id of another generation, or of no slot, is found")
	}
}

// The oldest orphan is that with the smallest tick, wherever its slot is, as long as there is one.
func TestSlots_Oldest(t *testing.T) {
	s := newSlots[int](31, 8, 0)
	var ids []uint64
	for range 4 {
		id, _ := s.take(1)
		ids = append(ids, id)
	}
	oldest := func(want int64, wantOK bool) {
		t.Helper()
		if since, ok := s.oldest(); since != want || ok != wantOK {
			t.Errorf("oldest: %d, %v; want %d, %v", since, ok, want, wantOK)
		}
	}
	oldest(0, false)
	s.abandon(ids[1], 7, false)
	oldest(7, true)
	s.abandon(ids[2], 5, true)
	oldest(5, true)
	s.abandon(ids[0], 9, false)
	oldest(5, true)
	if !s.find(ids[2]).subscribed || s.find(ids[1]).subscribed || s.live != 1 || s.orphans != 3 {
		t.Errorf("%d live, %d orphans", s.live, s.orphans)
	}
	s.release(ids[2])
	oldest(7, true)
	s.release(ids[1])
	oldest(9, true)
	s.release(ids[0])
	oldest(0, false)
	s.release(ids[3])
	if s.live != 0 || s.orphans != 0 || s.issued(ids[3]) != true || s.issued(ids[3]+8) || s.issued(4) {
		t.Errorf("%d live, %d orphans", s.live, s.orphans)
	}
}

// A ring of waiters agrees with a slice, whichever waiter leaves.
func TestRing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	all := make([]waiter, 6)
	var r ring
	var want []*waiter // the newest last
	for range 5000 {
		w := &all[draw.IntN(len(all))]
		if w.in {
			r.remove(w)
			want = slices.DeleteFunc(want, func(o *waiter) bool { return o == w })
		} else if draw.IntN(3) > 0 {
			r.add(w)
			want = append(want, w)
		} else {
			r.remove(w) // it is in no ring
		}
		i := len(want)
		for w, newer := r.newest, (*waiter)(nil); w != nil; newer, w = w, w.next {
			if i--; i < 0 || want[i] != w || w.prev != newer || !w.in {
				t.Fatal("the ring differs from the slice")
			}
		}
		if i != 0 {
			t.Fatalf("%d waiters are missing", i)
		}
	}
}

// A waiter that was roused before it waits does not wait, and reset forgets that.
func TestWaiter(t *testing.T) {
	var w waiter
	w.init()
	w.rouse()
	w.arrived()
	if !w.ready.Load() || len(w.wake) != 1 {
		t.Error("it waits for what is there")
	}
	w.reset()
	if w.ready.Load() || len(w.wake) != 0 {
		t.Error("it does not wait after reset")
	}
	w.reset() // with nothing to forget
	w.rouse()
	if w.ready.Load() || len(w.wake) != 1 {
		t.Error("rouse reports what is not there, or nothing")
	}
}

// put returns what each Overflow says, at the exact limits of messages and of bytes.
func TestStreamBuffer_Overflow(t *testing.T) {
	item := func(s string) Item { return Item{Message: Message{Data: []byte(s)}} }
	for _, tc := range []struct {
		name string
		how  Overflow
		put  string // messages; the first letter is the key
		want string // what next returns; "gap2" for two dropped, "!" where put fails
	}{
		{"within", Fail, "a1 b1 c1", "a1 b1 c1"},
		{"one too many", Fail, "a1 b1 c1 d1", "! a1 b1 c1"},
		{"bytes just within", Fail, "aaaaa bbbbb", "aaaaa bbbbb"},
		{"a byte too many", Fail, "aaaaa bbbbbb", "! aaaaa"},
		{"one long alone", Fail, "aaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"one long behind another", DropOldest, "a1 bbbbbbbbbbbbbbbbbbbbbbb", "gap1 bbbbbbbbbbbbbbbbbbbbbbb"},
		{"the oldest", DropOldest, "a1 b1 c1 d1 e1", "gap2 c1 d1 e1"},
		{"the newest", DropNewest, "a1 b1 c1 d1 e1", "a1 b1 c1 gap2"},
		{"replaced", Latest, "a1 b1 a2 b2 a333", "a333 b2"},
		{"replaced when full", Latest, "a1 b1 c1 b2", "a1 b2 c1"},
		{"the oldest of several keys", Latest, "a1 b1 c1 d1 c2", "gap1 b1 c2 d1"},
		{"replaced within the bytes", Latest, "a1 b1 c1 b22222", "a1 b22222 c1"},
		{"replaced by a byte too many", Latest, "a1 b1 c1 b222222", "gap1 b222222 c1"},
		{"replaced by far too many", Latest, "a1 b1 c1 c2222222222222", "gap2 c2222222222222"},
		{"replaced while it is the oldest", Latest, "a1 b1 c1 a222222", "gap1 b1 c1"},
		{"replaced alone", Latest, "a1 a2222222222222", "a2222222222222"},
	} {
		b := streamBuffer{max: 3, most: 10}
		var got []string
		for _, s := range strings.Fields(tc.put) {
			var key []byte
			if tc.how == Latest {
				key = []byte(s[:1])
			}
			if _, ok := b.put(item(s), tc.how, key); !ok {
				got = append(got, "!")
			}
		}
		bytes := 0
		for _, e := range b.all {
			bytes += len(e.Data)
		}
		if bytes != b.bytes {
			t.Errorf("%s: %d bytes wait, counted as %d", tc.name, bytes, b.bytes)
		}
		for {
			i, ok := b.next()
			if !ok {
				break
			}
			if i.Gap != nil {
				got = append(got, fmt.Sprint("gap", i.Gap.Dropped))
			} else {
				got = append(got, string(i.Data))
			}
		}
		if b.all != nil {
			t.Errorf("%s: an empty buffer keeps its memory", tc.name)
		}
		if s := strings.Join(got, " "); s != tc.want || b.bytes != 0 || b.lost != 0 {
			t.Errorf("%s: %q, %d bytes and %d lost at the end; want %q", tc.name, s, b.bytes, b.lost, tc.want)
		}
	}
}

// A gap in the buffer is neither replaced nor dropped, does not count against Buffer, and keeps its
// place.
func TestStreamBuffer_Gaps(t *testing.T) {
	b := streamBuffer{max: 2, most: 100}
	b.add(Item{Gap: &Gap{Cause: errLeft}}, nil)
	for _, s := range []string{"a", "b"} {
		if n, ok := b.put(Item{Message: Message{Data: []byte(s)}}, Latest, []byte(s)); n != 0 || !ok {
			t.Errorf("put %s: %d dropped, %v", s, n, ok)
		}
	}
	first, _ := b.next()
	i, _ := b.next()
	if first.Gap == nil || i.Gap != nil || string(i.Data) != "a" {
		t.Errorf("%+v, then %+v", first, i)
	}
	b.add(Item{Gap: &Gap{Cause: errLeft}}, []byte("b"))
	if n, ok := b.put(Item{Message: Message{Data: []byte("bb")}}, Latest, []byte("b")); n != 0 || !ok || len(b.all) != 2 {
		t.Errorf("%d dropped, %v, %d items", n, ok, len(b.all))
	}
	i, _ = b.next()
	gap, ok := b.next()
	if string(i.Data) != "bb" || !ok || gap.Gap == nil || gap.Gap.Cause != errLeft {
		t.Errorf("%q, then %+v", i.Data, gap)
	}
}

// Gaps that no message separates any more are one, which holds what was dropped between them, the sum
// of the times, and the rest of the last one.
func TestStreamBuffer_MergedGaps(t *testing.T) {
	gap := func(cause error, reply string) Item {
		return Item{Gap: &Gap{Cause: cause, Lasted: time.Second, Reply: Message{Data: []byte(reply)}}}
	}
	message := func(s string) Item { return Item{Message: Message{Data: []byte(s)}} }
	for _, tc := range []struct {
		name    string
		how     Overflow
		before  int // messages behind which the gap waits
		dropped int // of the gap
	}{
		{"nothing between", Fail, 0, 0},
		{"between messages", Fail, 1, 0},
		{"the newest dropped", DropNewest, 2, 3},
		{"the oldest dropped", DropOldest, 0, 2},
	} {
		b := streamBuffer{max: 2, most: 100}
		for range tc.before {
			b.put(message("before"), tc.how, nil)
		}
		for i := range 4 {
			b.add(gap(errLeft, "old"), nil)
			if tc.how != Fail && i < 3 {
				b.put(message("between"), tc.how, nil)
			}
		}
		b.add(gap(io.EOF, "new"), nil)
		if tc.how == DropOldest {
			b.put(message("behind"), tc.how, nil) // drops the first; one is left between
		}
		var got []Item
		for {
			i, ok := b.next()
			if !ok {
				break
			}
			if i.Gap != nil {
				got = append(got, i)
			}
		}
		first := got[0].Gap
		last := got[len(got)-1].Gap
		lasted, dropped := time.Duration(0), 0
		for _, i := range got {
			lasted += i.Gap.Lasted
			dropped += i.Gap.Dropped
		}
		most := 1
		if tc.how == DropOldest {
			most = 2 // one before "between", one behind it
		}
		if len(got) > most || lasted != 5*time.Second || dropped != tc.dropped || last.Cause != io.EOF || string(last.Reply.Data) != "new" {
			t.Errorf("%s: %d gaps, %d dropped, %v; the first %+v, the last %+v", tc.name, len(got), dropped, lasted, first, last)
		}
	}
}

// An inbox begins to serve once, in order, and holds an ask back while as many run as may.
func TestInbox_Asks(t *testing.T) {
	b := inbox{limit: 4, maxAsks: 2}
	offer := func(s string, ask, wantAdded, wantStart bool) {
		t.Helper()
		if added, start := b.offer(incoming{Message{Data: []byte(s)}, ask}); added != wantAdded || start != wantStart {
			t.Errorf("offer %s: added %v, start %v", s, added, start)
		}
	}
	next := func(want string) {
		t.Helper()
		m, ok := b.next()
		if ok != (want != "") || string(m.m.Data) != want {
			t.Errorf("next: %q, %v; want %q", m.m.Data, ok, want)
		}
	}
	offer("a", true, true, true)
	offer("b", true, true, false)
	offer("c", true, true, false)
	offer("d", false, true, false)
	offer("e", false, false, false)
	next("a")
	next("b")
	next("") // two run, and d waits behind c
	if b.asks != 2 || b.serving || len(b.waiting) != 2 {
		t.Errorf("%+v", b)
	}
	offer("f", false, true, false)
	if !b.answered() || b.answered() {
		t.Error("the first answer has the rest served, and the second need not")
	}
	next("c")
	next("d")
	next("f")
	next("")
	if b.answered() || b.asks != 0 || b.waiting != nil {
		t.Errorf("%+v", b)
	}
	offer("g", false, true, true)
}

// What was dropped or read is not referenced by the buffer, in which it may have waited beside much else.
func TestStreamBuffer_KeepsNothing(t *testing.T) {
	b := streamBuffer{max: 9, most: 1 << 20}
	for range 4 {
		b.put(Item{Message: Message{Data: []byte("x")}}, DropOldest, []byte("key"))
	}
	all := b.all
	b.dropOldest()
	if _, ok := b.next(); !ok { // the gap
		t.Error("no gap")
	}
	if i, ok := b.next(); !ok || i.Data == nil {
		t.Errorf("%+v", i)
	}
	for i, e := range all {
		if gone := i < 2; (e.Data == nil) != gone || (e.key == nil) != gone {
			t.Errorf("message %d: %q, %q; gone: %v", i, e.Data, e.key, gone)
		}
	}
}
