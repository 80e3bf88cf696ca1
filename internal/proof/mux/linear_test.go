package mux_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/wspool/mux"
)

// request is one operation on the list of a key: add adds a value, put adds it unless the list has
// it, which may run twice, and read does nothing. Each returns the list.
type request struct {
	op, key, value string
}

// lists is the server.
type lists struct {
	mu  sync.Mutex
	all map[string]string
}

func (l *lists) run(text string) (list string) {
	f := strings.Fields(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[f[1]] = after(l.all[f[1]], request{f[0], f[1], f[2]})
	return l.all[f[1]]
}

// after returns the list behind an operation.
func after(list string, r request) string {
	if r.op == "read" || r.op == "put" && strings.Contains(list, r.value) {
		return list
	}
	return list + r.value
}

// listModel is the sequential model. An output of nil is not known.
var listModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(request).key
			by[key] = append(by[key], o)
		}
		var all [][]porcupine.Operation
		for _, some := range by {
			all = append(all, some)
		}
		return all
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		next := after(state.(string), input.(request))
		return output == nil || output == next, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, " ", output) },
}

// history has the operations, with the fates that callers were told.
type history struct {
	began time.Time
	mu    sync.Mutex
	all   []porcupine.Operation
	fates map[string]int
}

// note notes an operation that was called at that time. What was not sent has no effect, so the
// history lacks it; what may have run takes effect at any later time, which may be after all others.
func (h *history) note(client int, r request, called time.Duration, m mux.Message, err error) {
	o := porcupine.Operation{ClientId: client, Input: r, Call: int64(called), Return: int64(time.Since(h.began))}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		_, list, _ := strings.Cut(string(m.Data), " ")
		o.Output = list
		h.fates["replied"]++
		if r.op == "put" { // it may have been replayed, and the first run had its effect before
			first := o
			first.Output, first.Return = nil, math.MaxInt64
			h.all = append(h.all, first)
		}
	case errors.Is(err, mux.ErrNotSent):
		h.fates["not sent"]++
		return
	default:
		h.fates["may have run"]++
		o.Return = math.MaxInt64
		if r.op == "put" {
			h.all = append(h.all, o)
		}
	}
	h.all = append(h.all, o)
}

// record makes calls, while connections are cut if faults is true, and returns the history.
func record(t *testing.T, seed uint64, faults bool, run func(*lists, string) string) *history {
	const clients, ops, keys = 6, 40, 12
	l := &lists{all: map[string]string{}}
	var mu sync.Mutex
	peers := map[*peer]bool{}
	var calm atomic.Bool // no faults any more
	server, stop := listen(func(p *peer, kind byte, id, text string) {
		mu.Lock()
		peers[p] = kind != 0
		mu.Unlock()
		if kind != 'C' {
			return
		}
		dice := rand.IntN(40) // the fault: the connection is lost before the call runs, or before the reply
		if calm.Load() {
			dice = 2
		}
		if dice == 0 {
			p.cut()
			return
		}
		if list := run(l, text); dice == 1 {
			p.cut()
		} else {
			p.send("R", id, list)
		}
	})
	calm.Store(!faults)
	c, _, closeAll := open(t, server, mux.Config{Codec: codec{}, MaxConns: 2, GrowAt: 2, ReplayRatio: 1})
	h := &history{began: time.Now(), fates: map[string]int{}}
	var wg, cutter sync.WaitGroup
	quit := make(chan struct{})
	cutter.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond): // the fault: connections are cut at any time
			}
			mu.Lock()
			for p, open := range peers {
				if open && faults && rand.IntN(3) == 0 {
					p.cut()
				}
			}
			mu.Unlock()
		}
	})
	for i := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for n := range ops {
				q := request{[]string{"add", "put", "read"}[r.IntN(3)], fmt.Sprint("k", r.IntN(keys)), fmt.Sprintf("%d.%d,", i, n)}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(50+r.IntN(3000))*time.Microsecond)
				if r.IntN(3) > 0 || !faults {
					cancel()
					ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
				}
				called := time.Since(h.began)
				m, err := c.Call(ctx, mux.Request{Body: q.op + " " + q.key + " " + q.value, Idempotent: q.op != "add"})
				cancel()
				h.note(i, q, called, m, err)
			}
		})
	}
	wg.Wait()
	close(quit)
	cutter.Wait()
	calm.Store(true)
	for k := range keys { // what has run shows
		q := request{"read", fmt.Sprint("k", k), "-"}
		called := time.Since(h.began)
		m, err := c.Call(context.Background(), mux.Request{Body: q.op + " " + q.key + " " + q.value, Idempotent: true})
		if err != nil {
			t.Error(err)
		}
		h.note(0, q, called, m, err)
	}
	if err := closeAll(); err != nil {
		t.Error(err)
	}
	stop()
	return h
}

// TestLinear checks that the history of calls over connections that are cut is linearizable.
func TestLinear(t *testing.T) {
	seed := testkit.Seed(t)
	rounds := 12
	if testing.Short() {
		rounds = 2
	}
	fates := map[string]int{}
	for round := range rounds {
		h := record(t, seed+uint64(round), true, (*lists).run)
		for fate, n := range h.fates {
			fates[fate] += n
		}
		if got := porcupine.CheckOperationsTimeout(listModel, h.all, time.Minute); got != porcupine.Ok {
			t.Fatalf("round %d: %v: %v", round, got, h.all)
		}
	}
	t.Log(fates)
}

// TestLinearDetects checks that the check fails for a server that runs a call twice, or that
// replies with the list of another key.
func TestLinearDetects(t *testing.T) {
	for name, run := range map[string]func(*lists, string) string{
		"twice": func(l *lists, text string) string {
			l.run(text)
			return l.run(text)
		},
		"crossed": func(l *lists, text string) string {
			if rand.IntN(2) == 0 {
				text = strings.Replace(text, " k1 ", " k2 ", 1)
			}
			return l.run(text)
		},
	} {
		h := record(t, testkit.Seed(t), false, run) // a search for an order that is not there takes long with many unknown fates
		if got := porcupine.CheckOperationsTimeout(listModel, h.all, time.Minute); got != porcupine.Illegal {
			t.Errorf("%s: %v", name, got)
		}
	}
}
