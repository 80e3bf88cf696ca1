package resource_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// recorder stands in for a test that is meant to fail.
type recorder struct{ failures []string }

func (r *recorder) Helper() {}
func (r *recorder) Fatalf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestHelperWantAcquireError(t *testing.T) {
	cause := errors.New("cause")
	for _, test := range []struct {
		err  error
		fail bool
	}{
		{nil, true},
		{cause, true}, // not an AcquireError
		{&resource.AcquireError{Err: errors.New("other")}, true},
		{&resource.AcquireError{Err: cause}, false},
		{fmt.Errorf("wrapped: %w", &resource.AcquireError{Err: cause}), false},
	} {
		r := &recorder{}
		wantAcquireError(r, test.err, cause)
		if failed := len(r.failures) > 0; failed != test.fail {
			t.Errorf("%v: failed = %t, want %t", test.err, failed, test.fail)
		}
	}
}

func TestHelperUnbalanced(t *testing.T) {
	good := resource.Stats{
		Load: resource.Load{Max: 9, Idle: 1, Leased: 2, Making: 3, Destroying: 1},
		Made: 10, Destroyed: 5, Hijacked: 1, Acquired: 7, Released: 5,
		Begun:  resource.MakesBegun{Callers: 1, NoWait: 2, MinIdle: 3, Warm: 4, MakeOne: 5, Replacements: 6},
		Failed: 4, Refused: 3, Withdrawn: 1,
		Waited: 5, WaitsServed: 3, WaitsFailed: 2,
		WaitTime: 5, WaitsServedTime: 3, WaitsFailedTime: 2, AcquireTime: 4,
	}
	if err := unbalanced(good); err != nil {
		t.Errorf("good Stats: %v", err)
	}
	for name, spoil := range map[string]func(s *resource.Stats){
		"made":    func(s *resource.Stats) { s.Made++ },
		"leased":  func(s *resource.Stats) { s.Leased++; s.Idle-- },
		"waiting": func(s *resource.Stats) { s.Waiting = -1 },
		"begun":   func(s *resource.Stats) { s.Begun.Warm++ },
		"refused": func(s *resource.Stats) { s.Withdrawn++ },
		"served":  func(s *resource.Stats) { s.WaitsServed++ },
		"time":    func(s *resource.Stats) { s.WaitsFailedTime++ },
		"acquire": func(s *resource.Stats) { s.AcquireTime = 2 },
	} {
		s := good
		spoil(&s)
		if unbalanced(s) == nil {
			t.Errorf("%s: bad Stats pass: %+v", name, s)
		}
	}
}

// A harness without a pool sees a make too many, and lets one go that is past
// its time.
func TestHelperCheckPlaces(t *testing.T) {
	began := time.Now()
	for _, test := range []struct {
		living int
		makes  []*makeCall
		faults int
	}{
		{0, []*makeCall{{began: began}}, 0},
		{1, []*makeCall{{began: began}}, 0},
		{2, []*makeCall{{began: began}}, 1},
		{0, []*makeCall{{began: began}, {began: began}, {began: began}}, 1},
		{1, []*makeCall{{began: began, ended: true}, {began: began}}, 0},
		{1, []*makeCall{{began: began.Add(-2 * time.Hour)}, {began: began}}, 0},
	} {
		h := &harness{max: 2, grace: time.Hour, living: map[*item]bool{}, makes: test.makes}
		for i := range test.living {
			h.living[&item{n: i}] = true
		}
		h.checkPlaces()
		if len(h.faults) != test.faults {
			t.Errorf("%d living, %d makes: faults %v, want %d", test.living, len(test.makes), h.faults, test.faults)
		}
	}
}

func TestHelperDoDestroyTwice(t *testing.T) {
	it := &item{n: 1}
	h := &harness{living: map[*item]bool{it: true}, causes: map[*item]error{}}
	h.doDestroy(it, nil)
	if len(h.faults) != 0 {
		t.Errorf("the first Destroy is a fault: %v", h.faults)
	}
	h.doDestroy(it, nil)
	if len(h.faults) != 1 {
		t.Errorf("the second Destroy is no fault")
	}
}

func TestHelperLedger(t *testing.T) {
	g := &ledger{}
	done, err := g.Admit(context.Background(), resource.Request{})
	if err != nil || done == nil {
		t.Fatal("a ledger admits everything")
	}
	if err := g.check(); err == nil {
		t.Error("an open permit passes")
	}
	done(resource.Outcome{Verdict: resource.OK})
	if err := g.check(); err != nil {
		t.Errorf("one Done for one permit: %v", err)
	}
	done(resource.Outcome{})
	if err := g.check(); err == nil {
		t.Error("a second Done for one permit passes")
	}
}

func TestHelperCaught(t *testing.T) {
	if v := caught(func() {}); v != nil {
		t.Errorf("caught %v from nothing", v)
	}
	if v := caught(func() { panic("boo") }); v != "boo" {
		t.Errorf("caught %v, want boo", v)
	}
}

// The worker of the subprocess example answers sums, and nonsense with an
// error, until its input ends.
func TestHelperWork(t *testing.T) {
	var out strings.Builder
	work(strings.NewReader("1 2 3\nx\n\n40 2\n"), &out)
	if got, want := out.String(), "6\nerror\n0\n42\n"; got != want {
		t.Errorf("work answered %q, want %q", got, want)
	}
}
