package endpoint

import (
	"errors"
	"math"
	"testing"
	"time"
)

// FuzzApply runs updates on a list. An update is a byte for its fields, one for its length, and
// two for each endpoint.
func FuzzApply(f *testing.F) {
	f.Add([]byte{1, 2, 'a', 0, 'b', 0, 0, 1, 'c', 1, 1, 0})
	f.Add([]byte{0, 2, 'a', 0, 'a', 0, 1, 1, 'b', 255})
	f.Fuzz(func(t *testing.T, script []byte) {
		script = script[:min(len(script), 1_000)]
		var all []Endpoint
		for len(script) >= 2 {
			u := Update{Complete: script[0]&1 == 1}
			if script[0]&2 == 2 {
				u.Err = errors.New("failed")
			}
			n := int(script[1] % 8)
			for script = script[2:]; n > 0 && len(script) >= 2; n-- {
				e := Endpoint{Addr: string(script[:1]), Weight: float64(int8(script[1])), Priority: int(script[1])}
				switch script[1] {
				case 253:
					e.Addr = ""
				case 254:
					e.Weight = math.NaN()
				}
				u.Endpoints = append(u.Endpoints, e)
				script = script[2:]
			}
			before := all
			var err error
			all, err = u.Apply(before)
			switch {
			case Validate(all) != nil:
				t.Fatalf("the result is invalid: %v", Validate(all))
			case len(before) > 0 && len(all) == 0:
				t.Fatal("the list became empty")
			case (err != nil) != (len(u.Endpoints) == 0 || Validate(u.Endpoints) != nil):
				t.Fatalf("%+v is used with the error %v", u, err)
			case err != nil && !same(before, all):
				t.Fatalf("%v has changed the list", err)
			case err == nil && len(unlisted(u.Endpoints, all)) > 0:
				t.Fatalf("%+v is not in %v", u, all)
			case err == nil && u.Complete && !same(all, u.Endpoints):
				t.Fatalf("after a complete answer %+v the list is %v", u, all)
			case !u.Complete && len(unlisted(before, all)) > 0:
				t.Fatalf("%+v has removed an endpoint of %v", u, before)
			}
		}
	})
}

// FuzzSchedule checks the bounds of every delay.
func FuzzSchedule(f *testing.F) {
	f.Add(int64(30e9), int64(1e9), 0.2, []byte{0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0})
	f.Add(int64(maxInterval), int64(1), 1.0, []byte{7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, interval, least int64, jitter float64, script []byte) {
		p := Polling{Interval: time.Duration(interval), MinInterval: time.Duration(least), Jitter: jitter}
		var e faultList
		if p.check(&e); e != nil {
			return
		}
		s := schedule{Polling: p.withDefaults()}
		most := s.Interval + time.Duration(float64(s.Interval)*s.Jitter)
		for _, b := range script[:min(len(script), 1_000)] {
			ok, changed, refreshed := b&1 == 1, b&3 == 3, b&4 == 4
			poll, soonest := s.next(ok, changed, refreshed, float64(b)/255, float64(b>>3)/31)
			if soonest < s.MinInterval || poll < soonest || poll > most {
				t.Fatalf("%+v: the next lookup is after %v, or %v with Refresh", s, poll, soonest)
			}
			if !ok && soonest != poll {
				t.Fatalf("Refresh shortens the delay %v of a failure to %v", poll, soonest)
			}
		}
	})
}
