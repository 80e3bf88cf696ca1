package wsconn

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// WaitQuiet returns at the instant at which the reader has parked, another condition holds, or its
// time is over. It looks again only when it is woken.
func TestWaitQuiet(t *testing.T) {
	const patience = 2 * time.Second
	yes := func() bool { return true }
	for _, tc := range []struct {
		name  string
		clean bool
		event func(w *RawConn, gone chan struct{}, cancel, done func())
		err   error
		took  time.Duration
		looks int // at done
	}{
		{"parks", true, func(w *RawConn, _ chan struct{}, _, _ func()) {
			w.mu.Lock()
			w.parkLocked()
			w.mu.Unlock()
		}, nil, time.Second, 1},
		{"parks, with something left to do", false, func(w *RawConn, _ chan struct{}, _, _ func()) {
			w.mu.Lock()
			w.parkLocked()
			w.mu.Unlock()
		}, ErrNotQuiet, patience, 2},
		{"never parks", true, func(*RawConn, chan struct{}, func(), func()) {}, ErrNotQuiet, patience, 1},
		{"nudged", true, func(w *RawConn, _ chan struct{}, _, _ func()) { w.Nudge() }, ErrNotQuiet, patience, 2},
		{"done", true, func(w *RawConn, _ chan struct{}, _, done func()) { done(); w.Nudge() }, nil, time.Second, 2},
		{"gone", true, func(_ *RawConn, gone chan struct{}, _, _ func()) { close(gone) }, nil, time.Second, 1},
		{"canceled", true, func(_ *RawConn, _ chan struct{}, cancel, _ func()) { cancel() }, context.Canceled, time.Second, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := NewRawConn(&pieces{}, false, time.Second)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var over atomic.Bool
				gone, looks := make(chan struct{}), 0
				time.AfterFunc(time.Second, func() { tc.event(w, gone, cancel, func() { over.Store(true) }) })
				began := time.Now()
				err := w.WaitQuiet(ctx, func() bool { return tc.clean }, func() bool { looks++; return over.Load() }, gone, patience)
				if took := time.Since(began); err != tc.err || took != tc.took || looks != tc.looks {
					t.Errorf("%v after %v and %d looks; want %v after %v and %d", err, took, looks, tc.err, tc.took, tc.looks)
				}
			})
		})
	}
	w := NewRawConn(&pieces{}, false, time.Second)
	w.parked = true
	if err := w.WaitQuiet(t.Context(), yes, func() bool { t.Error("it looks"); return false }, nil, 0); err != nil {
		t.Errorf("quiet already: %v", err)
	}
}
