package mux

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// slots agree with a map of the ids that are in use, whatever the order of events: no id in use
// is handed out again, and no reply finds another call.
func TestSlots(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, bits := range []int{20, 31, 53, 64} {
		const max = 100
		s := newSlots[int](bits, max, 0)
		type use struct {
			owner int
			state slotState
		}
		used := map[uint64]*use{}
		var ids, gone []uint64
		orphans := 0
		for n := range 100_000 {
			switch what := r.IntN(10); {
			case what < 5:
				id, ok := s.take(n)
				if ok != (len(used) < max) {
					t.Fatalf("take: %v with %d in use", ok, len(used))
				}
				if !ok {
					continue
				}
				if id == 0 || used[id] != nil || bits < 64 && id>>bits != 0 {
					t.Fatalf("id %d of %d bits, in use %v", id, bits, used[id] != nil)
				}
				used[id] = &use{n, queued}
				ids = append(ids, id)
			case len(ids) == 0:
			case what < 6:
				if id := ids[r.IntN(len(ids))]; used[id].state == queued {
					s.find(id).state, used[id].state = flying, flying
				}
			case what < 7:
				if id := ids[r.IntN(len(ids))]; used[id].state == flying {
					s.abandon(id, int64(n), false)
					used[id].state = orphan
					orphans++
				}
			default:
				i := r.IntN(len(ids))
				id := ids[i]
				if used[id].state == orphan {
					orphans--
				}
				s.release(id)
				delete(used, id)
				ids[i] = ids[len(ids)-1]
				ids = ids[:len(ids)-1]
				gone = append(gone, id)
			}
			if s.live != len(used)-orphans || s.orphans != orphans {
				t.Fatalf("%d live and %d orphans, want %d and %d", s.live, s.orphans, len(used)-orphans, orphans)
			}
			for range 3 {
				if len(ids) > 0 {
					id := ids[r.IntN(len(ids))]
					e, u := s.find(id), used[id]
					if e == nil || e.state != u.state || u.state != orphan && e.owner != u.owner {
						t.Fatalf("id %d: %+v, want %+v", id, e, u)
					}
				}
				if len(gone) > 0 {
					id := gone[len(gone)-1-r.IntN(min(len(gone), 500))]
					if used[id] == nil && s.find(id) != nil {
						t.Fatalf("id %d is found after its release", id)
					}
				}
			}
			if id := r.Uint64() >> (64 - min(bits, 40)); used[id] == nil && s.find(id) != nil {
				t.Fatalf("id %d is found", id)
			}
		}
	}
}

// A slot is used again as late as possible.
func TestSlotsReuse(t *testing.T) {
	s := newSlots[int](31, 8, 0)
	var last []uint64
	for round := range 100 {
		var ids []uint64
		for i := range 8 {
			id, ok := s.take(i)
			if !ok {
				t.Fatal("no slot")
			}
			ids = append(ids, id)
		}
		for i, id := range ids {
			if round > 0 && id != last[i]+8 {
				t.Fatalf("id %d follows %d", id, last[i])
			}
			s.release(id)
		}
		last = ids
	}
	if s.issued(1 << 20) {
		t.Error("an id of a later generation was issued")
	}
	if !s.issued(last[0]-8) || s.issued(0) {
		t.Error("an earlier id was not issued")
	}
}

// Slots that are compacted while none is in use have no memory, hand out no id again, and tell ids that
// were used from others. Slots in use stay.
func TestSlotsCompacted(t *testing.T) {
	s := newSlots[int](31, 8, 5<<3)
	used := map[uint64]bool{}
	most := uint64(0)
	for round := range 100 {
		var ids []uint64
		for i := range 1 + round%8 {
			id, ok := s.take(i)
			if !ok || used[id] {
				t.Fatalf("id %d, %v; used before: %v", id, ok, used[id])
			}
			used[id], most = true, max(most, id)
			ids = append(ids, id)
		}
		for i, id := range ids {
			if i%2 == 0 {
				s.abandon(id, 0, false)
			}
			s.compact()
			if s.find(id) == nil {
				t.Fatalf("id %d is lost", id)
			}
			s.release(id)
		}
		s.compact()
		if s.all != nil || s.free != nil || s.find(ids[0]) != nil {
			t.Fatalf("compacted: %+v", s)
		}
		for id := range used {
			if !s.issued(id) {
				t.Fatalf("id %d was not issued", id)
			}
		}
		if next := most + 8; s.issued(next) || s.issued(0) || s.issued(7) {
			t.Fatalf("an id that was not used was issued, such as %d", next)
		}
	}
}

// An outbox returns what was added, in order, in batches within the limit, without what was
// removed.
func TestOutbox(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var o outbox
	var want, got [][]byte
	id := uint64(0)
	for range 2000 {
		switch r.IntN(4) {
		case 0:
			size := 0
			batch := o.swap(100)
			for _, m := range batch {
				got = append(got, bytes.Clone(m.Data))
				size += len(m.Data)
			}
			if len(batch) > 1 && size > 100 {
				t.Fatalf("a batch of %d messages and %d bytes", len(batch), size)
			}
			if len(batch) == 0 && len(got) != len(want) {
				t.Fatal("an empty batch")
			}
			if rest := o.head; len(rest) > 0 && size+len(rest[0].data) <= 100 {
				t.Fatalf("a batch of %d messages and %d bytes, and the next one of %d fits", len(batch), size, len(rest[0].data))
			}
			o.sent()
			size = 0
			for _, m := range want[len(got):] {
				size += len(m)
			}
			if o.bytes() != size || o.empty() != (len(got) == len(want)) {
				t.Fatalf("%d bytes wait, and bytes returns %d, empty %v", size, o.bytes(), o.empty())
			}
		case 1:
			if n := len(want) - len(got); n > 0 {
				victim := len(got) + r.IntN(n)
				of := unsent(&o)[victim-len(got)].id
				if !o.remove(func(p *parcel) bool { return p.id == of }) || o.remove(func(p *parcel) bool { return p.id == of }) {
					t.Fatal("removed not once")
				}
				want = append(want[:victim:victim], want[victim+1:]...)
			}
		default:
			id++
			data := fmt.Appendf(nil, "%d%s", id, bytes.Repeat([]byte("."), r.IntN(200)))
			want = append(want, bytes.Clone(data))
			o.add(parcel{id: id, kind: 1}, data)
			clear(data) // it was copied
		}
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("message %d is %q, want %q", i, got[i], want[i])
		}
	}
}

// The messages that are being written stay as they are until the next swap, whatever is added and
// removed meanwhile, and a long buffer is not kept.
func TestOutbox_Ownership(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var o outbox
	id := uint64(0)
	add := func(size int) {
		id++
		o.add(parcel{id: id, kind: int(id)}, fmt.Appendf(nil, "%d%s", id, bytes.Repeat([]byte("."), size)))
	}
	next := uint64(1) // of what is written next
	for round := range 500 {
		size := 50
		if round%100 == 99 {
			size = 2 * keptBuffer
		}
		for range r.IntN(5) {
			add(r.IntN(size))
		}
		if o.empty() {
			continue
		}
		batch := o.swap(100)
		var want [][]byte
		for _, m := range batch {
			want = append(want, bytes.Clone(m.Data))
		}
		left := len(unsent(&o))
		for range r.IntN(8) { // while it is being written
			add(r.IntN(size))
		}
		if n := len(unsent(&o)); n > left { // not of those that the next round expects
			last := unsent(&o)[n-1].id
			o.remove(func(p *parcel) bool { return p.id == last })
			id--
		}
		for i, m := range batch {
			if !bytes.Equal(m.Data, want[i]) || m.Type != int(next) || o.sending[i].id != next {
				t.Fatalf("round %d: message %d of the batch is %.20q of type %d, want %.20q of type %d", round, i, m.Data, m.Type, want[i], next)
			}
			if grown := append(m.Data, 'x'); i+1 < len(batch) && !bytes.Equal(batch[i+1].Data, want[i+1]) {
				t.Fatalf("appending to message %d, %.20q, changes the next", i, grown)
			}
			next++
		}
		o.sent()
		if len(o.sending) != 0 || len(o.batch) != 0 || cap(o.spare) > keptBuffer || cap(o.buf) > keptBuffer {
			t.Fatalf("round %d: %d messages and buffers of %d and %d bytes are left", round, len(o.sending), cap(o.spare), cap(o.buf))
		}
	}
}

// The list of a long backlog is not kept when the backlog is written.
func TestOutbox_ForgetsBacklog(t *testing.T) {
	var o outbox
	for _, n := range []int{10, 2 * keptParcels} {
		for range n {
			o.add(parcel{}, []byte("x"))
		}
		if got := len(o.swap(1 << 20)); got != n {
			t.Fatalf("%d of %d are written", got, n)
		}
		o.sent()
		if kept := cap(o.array) > 0; kept != (n < keptParcels) {
			t.Errorf("after %d messages the list has room for %d", n, cap(o.array))
		}
	}
}

// When all is discarded nothing waits any more, and what is being written stays.
func TestOutbox_Discard(t *testing.T) {
	var o outbox
	for _, s := range []string{"a", "bb", "cc"} {
		o.add(parcel{}, []byte(s))
	}
	batch := o.swap(1)
	o.add(parcel{}, []byte("ddd"))
	var discarded []string
	o.discard(func(p *parcel) { discarded = append(discarded, string(p.data)) })
	if len(batch) != 1 || string(batch[0].Data) != "a" || len(o.sending) != 1 || !slices.Equal(discarded, []string{"bb", "cc", "ddd"}) {
		t.Errorf("%q are written, %q discarded", batch, discarded)
	}
	if !o.empty() || o.bytes() != 0 || len(unsent(&o)) != 0 {
		t.Errorf("%d messages wait, of %d bytes", len(unsent(&o)), o.bytes())
	}
	if o.sent(); !o.empty() {
		t.Error("something waits after the write")
	}
}

// unsent returns the messages that wait to be written, in order.
func unsent(o *outbox) []parcel { return append(slices.Clone(o.head), o.tail...) }

// A backlog costs each message one copy, whatever waits behind it: no message moves while it waits, and
// what is allocated grows as the backlog does, for long messages and short ones.
func TestOutbox_Backlog(t *testing.T) {
	const limit = 64 << 10
	// write adds n messages and returns how many bytes were allocated until they were written.
	write := func(n, size int) float64 {
		var o outbox
		data := bytes.Repeat([]byte("x"), size)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range n {
			o.add(parcel{id: uint64(i + 1)}, data)
		}
		o.swap(limit)
		o.sent()
		at := make(map[uint64]*byte, len(o.head))
		for _, p := range unsent(&o) {
			at[p.id] = &p.data[0]
		}
		for !o.empty() {
			batch := o.swap(limit)
			for i, p := range o.sending {
				if &batch[i].Data[0] != at[p.id] {
					t.Fatalf("of %d messages of %d bytes, number %d was moved while it waited", n, size, p.id)
				}
			}
			o.sent()
		}
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	for _, size := range []int{200 << 10, 100} {
		n := 2 << 20 / size
		little, much := write(n, size), write(8*n, size)
		// Exponent 1 is linear; 2 is what copying the backlog for each batch costs.
		if e := math.Log(much/little) / math.Log(8); e > 1.3 {
			t.Errorf("messages of %d bytes: %d allocate %.0f bytes, %d %.0f: exponent %.2f", size, n, little, 8*n, much, e)
		}
	}
}

// With small messages, and without a backlog, an outbox allocates nothing.
func TestOutbox_Allocations(t *testing.T) {
	var o outbox
	data := bytes.Repeat([]byte("x"), 200)
	round := func() {
		for i := range 64 {
			o.add(parcel{id: uint64(i + 1)}, data)
		}
		for !o.empty() {
			o.swap(64 << 10)
			o.add(parcel{id: 100}, data)
			o.sent()
			o.remove(func(p *parcel) bool { return p.id == 100 })
		}
	}
	for range 10 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// pick takes the least loaded of a few, and nearly so of many.
func TestPick(t *testing.T) {
	for _, n := range []int{1, 2, 8, 9, 100} {
		load := make([]int64, n)
		for range 1000 * n {
			i, l := pick(n, false, func(i int) int64 { return load[i] })
			if load[i] != l {
				t.Fatal("the load is not that of the one picked")
			}
			load[i]++
		}
		for i, l := range load {
			if l < 990 || l > 1010 {
				t.Errorf("of %d, number %d was picked %d times", n, i, l)
			}
		}
	}
}

// Replays are a part of the calls.
func TestReplays(t *testing.T) {
	r := replays{ratio: 0.1}
	n := 0
	for range 1000 {
		r.calls.Add(1)
		if r.take() {
			n++
		}
	}
	if n != 110 {
		t.Errorf("%d replays of 1000", n)
	}
	if none := (replays{ratio: -1}); none.take() {
		t.Error("a replay of none")
	}
}

// An inbox keeps its order, and its limits.
func TestInbox(t *testing.T) {
	b := inbox{limit: 3, maxAsks: 1}
	m := func(s string, ask bool) incoming { return incoming{Message{Data: []byte(s)}, ask} }
	if _, start := b.offer(m("a", false)); !start {
		t.Error("no goroutine serves")
	}
	for _, s := range []string{"b", "c"} {
		if added, start := b.offer(m(s, true)); !added || start {
			t.Error(added, start)
		}
	}
	if added, _ := b.offer(m("d", false)); added {
		t.Error("over the limit")
	}
	got := ""
	for {
		m, ok := b.next()
		if !ok {
			break
		}
		got += string(m.m.Data)
	}
	if got != "ab" || b.serving || b.asks != 1 {
		t.Error(got, b)
	}
	if !b.answered() {
		t.Error("no goroutine serves after an answer")
	}
	if m, ok := b.next(); !ok || string(m.m.Data) != "c" {
		t.Error(m, ok)
	}
	if _, ok := b.next(); ok || b.serving {
		t.Error("it serves nothing")
	}
}

// The buffer of a stream agrees with a plain model of what was put, dropped and read.
func TestStreamBuffer(t *testing.T) {
	for _, how := range []Overflow{DropOldest, DropNewest} {
		r := rand.New(rand.NewPCG(3, uint64(how)))
		b := streamBuffer{max: 5, most: 100}
		put, read, lost, gaps, met := 0, 0, 0, 0, 0
		after := map[int]int{} // how many gaps were added before each message
		for range 5000 {
			if r.IntN(10) == 0 {
				b.add(Item{Gap: &Gap{Cause: io.EOF, Lasted: 1}}, nil)
				gaps++
			} else if r.IntN(2) == 0 {
				after[put] = gaps
				data := make([]byte, r.IntN(60))
				b.put(Item{Message: Message{Type: put, Data: data}}, how, nil)
				put++
			} else if i, ok := b.next(); ok && i.Gap != nil && i.Gap.Cause == nil {
				lost += i.Gap.Dropped
			} else if ok && i.Gap != nil {
				met += int(i.Gap.Lasted) // it may stand for several
				lost += i.Gap.Dropped
			} else if ok {
				if met < after[i.Type] {
					t.Fatalf("message %d was read after %d gaps, of %d before it", i.Type, met, after[i.Type])
				}
				if read++; i.Type != read-1+lost {
					t.Fatalf("message %d after %d read and %d lost", i.Type, read-1, lost)
				}
			}
			if n := len(b.all) - b.gaps; n > 5 || n > 1 && b.bytes > 100 || b.gaps > n+1 {
				t.Fatalf("%d messages of %d bytes, and %d gaps", n, b.bytes, b.gaps)
			}
			counted := 0
			for k, e := range b.all {
				if e.Gap != nil {
					if counted++; k > 0 && b.all[k-1].Gap != nil {
						t.Fatal("two gaps are neighbors")
					}
				}
			}
			if counted != b.gaps {
				t.Fatalf("%d gaps, counted as %d", counted, b.gaps)
			}
		}
		for {
			i, ok := b.next()
			if !ok {
				break
			}
			switch {
			case i.Gap == nil:
				read++
			case i.Gap.Cause == nil:
				lost += i.Gap.Dropped
			default:
				met += int(i.Gap.Lasted)
				lost += i.Gap.Dropped
			}
		}
		if put != read+lost || gaps != met || b.bytes != 0 || b.gaps != 0 {
			t.Errorf("%d put, %d read, %d lost; %d gaps of %d read; %d bytes and %d gaps left", put, read, lost, met, gaps, b.bytes, b.gaps)
		}
	}
}

// The weights of the sampled calls add up to the number of calls: all of a quiet client are sampled,
// and one in sampleCalls of a busy one.
func TestDurations_Sample(t *testing.T) {
	var d durations
	d.refill()
	sampled, sum := 0, int64(0)
	n := int64(0)
	for range sampleBudget {
		n++
		if w := d.sample(n); w != 1 {
			t.Fatalf("call %d stands for %d", n, w)
		}
		sampled++
		sum++
	}
	for n < 100*sampleCalls {
		n++
		if w := d.sample(n); w > 0 {
			sampled++
			sum += w
		}
	}
	if sum != n || sampled > sampleBudget+100 {
		t.Errorf("%d sampled calls stand for %d of %d", sampled, sum, n)
	}
	d.refill()
	if w := d.sample(n + 5); w != 5 {
		t.Errorf("after a pause one call stands for %d", w)
	}
	if w := d.sample(n + 2); w != 1 {
		t.Errorf("a call that is late stands for %d", w)
	}
}

func TestDurations_Read(t *testing.T) {
	var d durations
	if r := d.read(); r.Zero != 0 || r.Buckets != nil {
		t.Errorf("%+v", r)
	}
	began := time.Now()
	d.add(began.Add(time.Hour), 2) // the future counts as 0
	if r := d.read(); r.Zero != 2 || r.Buckets != nil {
		t.Errorf("%+v", r)
	}
	d.add(began.Add(-time.Second), 3)
	r := d.read()
	var n int64
	for _, b := range r.Buckets {
		n += b
	}
	if r.Zero != 2 || n != 3 || r.Sum < 3*time.Second || r.First%4 != 0 || len(r.Buckets) > 100 {
		t.Errorf("%+v", r)
	}
}

// What the sampling of durations adds to each call of a busy client.
func BenchmarkDurations(b *testing.B) {
	var d durations
	n := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		if w := d.sample(n); w > 0 {
			d.add(time.Now(), w)
		}
	}
}
