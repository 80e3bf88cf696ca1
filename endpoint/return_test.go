package endpoint_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/respool/respool/endpoint"
)

type pushed chan endpoint.Update

func (p pushed) Watch(ctx context.Context, f func(endpoint.Update)) error {
	for {
		select {
		case u := <-p:
			f(u)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// An endpoint that is listed again before it was drained keeps its load and its failures.
func TestReturnKeepsLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(pushed)
		s, err := endpoint.NewSet(endpoint.SetConfig{
			Resolver: answers,
			Probe:    func(context.Context, string) error { return errors.New("down") },
			OnLeave:  func(ctx context.Context, _ string) { <-ctx.Done() },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.Background())
		tell := func(addrs ...string) {
			var u endpoint.Update
			for _, a := range addrs {
				u.Endpoints = append(u.Endpoints, endpoint.Endpoint{Addr: a})
			}
			u.Complete = true
			answers <- u
			synctest.Wait()
		}
		tell("a", "b")
		uses := []endpoint.Use{s.Begin("a"), s.Begin("a"), s.Begin("a")}
		for range 5 {
			s.Observe("a", endpoint.Evidence{Kind: endpoint.DialFailed})
		}
		tell("b")
		tell("a", "b")
		a := s.Snapshot().Endpoints[0]
		if a.Endpoint.Addr != "a" || a.Load != 3 || !a.Failing || a.Status != endpoint.Ejected {
			t.Errorf("a has load %d, failing %v, status %v; want 3, true, ejected", a.Load, a.Failing, a.Status)
		}
		for _, u := range uses {
			u.End(endpoint.Evidence{})
		}
		if a := s.Snapshot().Endpoints[0]; a.Load != 0 {
			t.Errorf("load %d after the last use has ended", a.Load)
		}
	})
}

// OnLeave is called once more for an endpoint that is listed again and then removed again, because its
// first call has kept the resources. The second removal comes while OnLeave still runs, or when it
// has returned and OnJoin of another endpoint delays the endpoint's own.
func TestReturnedEndpointLeavesAgain(t *testing.T) {
	const holdLeave, holdJoin = "during OnLeave", "before OnJoin"
	for _, when := range []string{holdLeave, holdJoin} {
		t.Run(when, func(t *testing.T) {
			for range 10 { // the order of the second removal and OnJoin is random
				synctest.Test(t, func(t *testing.T) {
					answers, release := make(pushed), make(chan struct{})
					var calls []string // of one goroutine at a time
					s, err := endpoint.NewSet(endpoint.SetConfig{
						Resolver: answers,
						Ejector:  endpoint.Never(),
						OnJoin: func(e endpoint.Endpoint) error {
							switch {
							case e.Addr == "b":
								calls = append(calls, "join")
							case e.Addr == "c" && when == holdJoin:
								<-release
							}
							return nil
						},
						OnLeave: func(ctx context.Context, _ string) {
							calls = append(calls, "leave")
							if len(calls) > 2 {
								calls = append(calls, "drained")
								return
							}
							<-ctx.Done() // b stays as it is
							if when == holdLeave {
								<-release
							}
						},
					})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close(context.Background())
					tell := func(addrs ...string) {
						u := endpoint.Update{Complete: true}
						for _, a := range addrs {
							u.Endpoints = append(u.Endpoints, endpoint.Endpoint{Addr: a})
						}
						answers <- u
						synctest.Wait()
					}
					tell("a", "b")
					tell("a")
					tell("a", "b", "c")
					tell("a", "c")
					close(release)
					synctest.Wait()
					if want := []string{"join", "leave", "join", "leave", "drained"}; !slices.Equal(calls, want) {
						t.Errorf("calls for b: %v, want %v", calls, want)
					}
					if all := s.Snapshot().Endpoints; len(all) != 2 {
						t.Errorf("endpoints: %+v", all)
					}
				})
			}
		})
	}
}

// The error of an endpoint that was refused shows no secret of its Addr.
func TestRefusedShowsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown error
		s, err := endpoint.NewSet(endpoint.SetConfig{
			Resolver: endpoint.Static(endpoint.Endpoint{Addr: "ws://user:hunter2@h/?token=hunter3"}),
			Ejector:  endpoint.Never(),
			OnJoin:   func(endpoint.Endpoint) error { return errors.New("no") },
			Trace:    func(e endpoint.Event) { shown = errors.Join(shown, e.Err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.Background())
		synctest.Wait()
		if err := errors.Join(shown, s.Snapshot().UpdateErr); err == nil || strings.Contains(err.Error(), "hunter") {
			t.Error(err)
		}
	})
}
