package endpoint

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestApply checks the one rule of what an update does to the endpoints.
func TestApply(t *testing.T) {
	list := func(addrs string) (all []Endpoint) {
		for addr := range strings.FieldsSeq(addrs) {
			all = append(all, Endpoint{Addr: addr})
		}
		return all
	}
	for _, test := range []struct {
		name, last, now string
		complete        bool
		want            string
		err             error
	}{
		{"complete", "a b c", "d b", true, "d b", nil},
		{"incomplete", "a b c", "d b", false, "d b a c", nil},
		{"first incomplete", "", "d b", false, "d b", nil},
		{"empty", "a b", "", false, "a b", ErrEmpty},
		{"empty and complete", "a b", "", true, "a b", ErrEmpty}, // Envoy #9927
		{"empty at first", "", "", true, "", ErrEmpty},
		{"duplicate", "a b", "c c", true, "a b", ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			last := list(test.last)
			got, err := Update{Endpoints: list(test.now), Complete: test.complete}.Apply(last)
			if !slices.Equal(got, list(test.want)) || !errors.Is(err, test.err) {
				t.Errorf("got %v and %v, want %v and %v", got, err, list(test.want), test.err)
			}
			if !slices.Equal(last, list(test.last)) {
				t.Errorf("last was changed to %v", last)
			}
		})
	}

	u := Update{Endpoints: []Endpoint{{Addr: "a", Weight: 2}}}
	if got, _ := u.Apply([]Endpoint{{Addr: "a", Zone: "z"}}); !slices.Equal(got, u.Endpoints) {
		t.Errorf("the attributes of the last answer were kept: %v", got)
	}
}

// TestStatic checks that Static answers once, and names every fault of what it was given.
func TestStatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchResolver(t, Static(Endpoint{Addr: "a"}, Endpoint{Addr: "b", Weight: 3}))
		time.Sleep(24 * time.Hour)
		w.want(t, "0s complete a b")
		if err := w.end(); !errors.Is(err, errTestEnd) {
			t.Errorf("Watch returned %v, want the cause of the end of its context", err)
		}
	})
	err := Static(Endpoint{}, Endpoint{Addr: "a", Weight: -1}, Endpoint{Addr: "a"}, Endpoint{Addr: "n", Weight: math.NaN()}).Watch(t.Context(), nil)
	if !errors.Is(err, ErrConfig) || !errors.Is(err, ErrInvalid) {
		t.Fatalf("Watch returned %v, want ErrConfig and ErrInvalid", err)
	}
	for _, part := range []string{"endpoint 0 has no Addr", `"a"`, "-1", "endpoint 2", "NaN"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not contain %q", err, part)
		}
	}
}

// TestValidateHidesSecrets checks that the error for a list shows no password.
func TestValidateHidesSecrets(t *testing.T) {
	err := Validate([]Endpoint{{Addr: "wss://me:hunter2@ws.test/", Weight: -1}, {Addr: "wss://me:hunter2@ws.test/"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "ws.test") {
		t.Errorf("the error is %v", err)
	}
}

// TestCheck checks that a resolver that can never answer is found before it is watchedResolver.
func TestCheck(t *testing.T) {
	good, bad := Static(Endpoint{Addr: "a"}), Static()
	for name, r := range map[string]Resolver{
		"nil":                 nil,
		"Static of nothing":   bad,
		"Merge of nothing":    Merge(),
		"Merge of nil":        Merge(good, nil),
		"Merge of bad":        Merge(good, Merge(good, bad)),
		"Static of duplicate": Static(Endpoint{Addr: "a"}, Endpoint{Addr: "a"}),
	} {
		if err := Check(r); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
		if _, err := Subset(r, SubsetConfig{Client: "c", Size: 1}); !errors.Is(err, ErrConfig) {
			t.Errorf("Subset of %s: %v, want ErrConfig", name, err)
		}
		if r != nil {
			if err := r.Watch(t.Context(), nil); !errors.Is(err, ErrConfig) {
				t.Errorf("%s: Watch returned %v, want ErrConfig", name, err)
			}
		}
	}
	if err := Check(Merge(good)); err != nil {
		t.Error(err)
	}
}

// errTestEnd is why the context of a watchedResolver ends.
var errTestEnd = errors.New("the test ends the watch")

// watchedResolver records the updates of a resolver, with the virtual time of each.
type watchedResolver struct {
	cancel context.CancelCauseFunc
	err    chan error
	began  time.Time

	mu   sync.Mutex
	got  []string
	last Update
	all  []Endpoint // after each update, as a receiver keeps them
}

// watchResolver watches r until the test ends.
func watchResolver(t *testing.T, r Resolver) *watchedResolver {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	w := &watchedResolver{cancel: cancel, err: make(chan error, 1), began: time.Now()}
	go func() { w.err <- r.Watch(ctx, w.update) }()
	t.Cleanup(func() { _ = w.end() })
	return w
}

func (w *watchedResolver) update(u Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = u
	w.all, _ = u.Apply(w.all)
	text := time.Since(w.began).String()
	if u.Complete {
		text += " complete"
	}
	for _, e := range u.Endpoints {
		text += " " + e.Addr
	}
	if u.Err != nil {
		text += ": " + u.Err.Error()
	}
	w.got = append(w.got, text)
}

// end ends the watch, and returns the error of Watch.
func (w *watchedResolver) end() error {
	w.cancel(errTestEnd)
	err := <-w.err
	w.err <- err
	return err
}

// want checks the updates so far, and forgets them. The text of an error need only begin as wanted.
func (w *watchedResolver) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.EqualFunc(w.got, want, func(got, want string) bool {
		return got == want || strings.Contains(want, ": ") && strings.HasPrefix(got, want)
	}) {
		t.Errorf("got the updates\n\t%s\nwant\n\t%s", strings.Join(w.got, "\n\t"), strings.Join(want, "\n\t"))
	}
	w.got = nil
}

// lastUpdate returns the last update.
func (w *watchedResolver) lastUpdate() Update {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// endpoints returns the endpoints after the last update, as a receiver keeps them.
func (w *watchedResolver) endpoints() []Endpoint {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}
