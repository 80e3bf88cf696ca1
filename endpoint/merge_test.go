package endpoint

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// resolverScript is a Resolver whose updates the test sends.
type resolverScript chan func(f func(Update)) error

// Watch runs what the test sends until that returns an error.
func (s resolverScript) Watch(ctx context.Context, f func(Update)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case step := <-s:
			if err := step(f); err != nil {
				return err
			}
		}
	}
}

// send makes the resolverScript call its function with an update: the addresses, complete if
// there is no dot at the end, failed if err is not nil.
func (s resolverScript) send(addrs string, err error) {
	addrs, incomplete := strings.CutSuffix(addrs, " .")
	s <- func(f func(Update)) error {
		f(Update{Endpoints: withAddrs(addrs), Complete: !incomplete && err == nil, Err: err})
		return nil
	}
	synctest.Wait()
}

// TestMerge checks what several resolvers say together.
func TestMerge(t *testing.T) {
	down := errors.New("down")
	synctest.Test(t, func(t *testing.T) {
		one, two := make(resolverScript), make(resolverScript)
		w := watchResolver(t, Merge(one, two))
		one.send("a b", nil)
		w.want(t) // the other has not answered
		two.send("c b", nil)
		w.want(t, "0s complete a b c")
		one.send("", down) // keeps its own last
		w.want(t, "0s complete a b c: down")
		two.send("c", nil) // is applied although the other fails; one has b
		w.want(t, "0s complete a b c: down")
		two.send("d", nil)
		w.want(t, "0s complete a b d: down")
		one.send("", nil) // a failure too
		w.want(t, "0s complete a b d: endpoint: the answer has no endpoints")
		one.send("x x", nil)
		w.want(t, "0s complete a b d: endpoint: invalid endpoints")
		one.send("x x", down)
		w.want(t, "0s complete a b d: down\nendpoint: invalid endpoints")
		one.send("a", nil)
		w.want(t, "0s complete a d")
		two.send("e .", nil) // incomplete: it may know of a too
		w.want(t, "0s a e d")
		one.send("f", nil)
		w.want(t, "0s f e d")
		if got, want := w.endpoints(), withAddrs("f e d a"); !slices.Equal(got, want) {
			t.Errorf("the endpoints are %v, want %v", got, want)
		}
		two.send("e d", errors.New("partial")) // nothing new
		w.want(t, "0s f e d: partial")
		two.send("d", nil)
		w.want(t, "0s complete f d")
	})

	t.Run("attributes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			first, second := Endpoint{Addr: "a", Weight: 2, Zone: "z"}, Endpoint{Addr: "a", Weight: 3, Priority: 1}
			w := watchResolver(t, Merge(Static(first), Static(second, Endpoint{Addr: "b"})))
			if got, want := w.endpoints(), []Endpoint{first, {Addr: "b"}}; !slices.Equal(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	})
}

// TestMergeFirst checks how long the first update waits for a resolver that does not answer.
func TestMergeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(resolverScript)
		w := watchResolver(t, Merge(slow, Static(Endpoint{Addr: "fallback"})))
		time.Sleep(5 * time.Second)
		w.want(t, "1s fallback")
		slow.send("primary", nil)
		w.want(t, "5s complete primary fallback")
	})
	t.Run("none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			one, two := make(resolverScript), make(resolverScript)
			w := watchResolver(t, Merge(one, two))
			time.Sleep(5 * time.Second)
			w.want(t)
			one.send("", errors.New("down"))
			w.want(t, "5s: down")
			two.send("a", nil)
			w.want(t, "5s a: down")
		})
	})
}

// TestMergeFollows checks resolvers of a program whose Watch panics or returns.
func TestMergeFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := make(resolverScript)
		w := watchResolver(t, Merge(bad, Static(Endpoint{Addr: "b"})))
		bad.send("a", nil)
		w.want(t, "0s complete a b")
		for _, step := range []struct {
			f    func(func(Update)) error
			want string
			is   error
		}{
			{func(func(Update)) error { panic("oh") }, "resource: panic in Watch: oh", nil},
			{func(func(Update)) error { runtime.Goexit(); return nil }, "resource: function ended", resource.ErrGoexit},
			{func(func(Update)) error { return errors.New("connection lost") }, "connection lost", nil},
		} {
			at := time.Since(w.began).String()
			bad <- step.f
			w.want(t, at+" complete a b: "+step.want)
			if u := w.lastUpdate(); step.is != nil && !errors.Is(u.Err, step.is) {
				t.Errorf("the error is %v, want %v", u.Err, step.is)
			}
			began := time.Now()
			bad.send("a", nil) // blocks until Watch is called again
			if d := time.Since(began); d < time.Second || d > 1200*time.Millisecond {
				t.Errorf("Watch was called again after %v", d)
			}
			if u := w.lastUpdate(); u.Err != nil || !u.Complete {
				t.Errorf("the update is %+v", u)
			}
			w.got = nil
		}
		// One that always fails: 1 s, 2 s, 4 s, ... and at most 30 s.
		began := time.Now()
		for range 12 {
			bad <- func(func(Update)) error { return errors.New("connection lost") }
		}
		if d := time.Since(began); d < 210*time.Second || d > 260*time.Second {
			t.Errorf("12 failures took %v", d)
		}
		if got := w.endpoints(); len(got) != 2 {
			t.Errorf("the endpoints are %v", got)
		}
	})
}

// TestMergeRefresh checks that Refresh reaches every resolver that has it, through Subset too.
func TestMergeRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &lookupSource{}, &lookupSource{}
		one.set("a", nil)
		two.set("b", nil)
		sub, err := Subset(mustFunc(t, two, steadyPolling), SubsetConfig{Client: "c", Size: 5})
		if err != nil {
			t.Fatal(err)
		}
		r := Merge(Static(Endpoint{Addr: "s"}), mustFunc(t, one, steadyPolling), sub)
		w := watchResolver(t, r)
		time.Sleep(5 * time.Second)
		r.(Refresher).Refresh()
		time.Sleep(time.Second)
		for _, s := range []*lookupSource{one, two} {
			if got, want := s.lookups(w.began), inSeconds(0, 5); !slices.Equal(got, want) {
				t.Errorf("lookups at %v, want %v", got, want)
			}
		}
	})
}

// TestMergePanic checks that the watches end if the function given to Watch panics.
func TestMergePanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if goroutines remain
		defer func() {
			if v := recover(); v != "oh" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = Merge(Static(Endpoint{Addr: "a"}), make(resolverScript)).Watch(t.Context(), func(Update) { panic("oh") })
	})
}
