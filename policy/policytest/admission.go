package policytest

import (
	"testing"

	"github.com/respool/respool/resource"
)

// many is how many requests admitted at once count as no limit.
const many = 256

// Admission checks a [resource.Admission]. new makes the one to check, a new
// one at each call, and ready: it must admit at least one request at first. It
// is asked with requests, in turn, and what it admits at once is counted with
// the first of them; without any, with a mixture that begins with the zero
// Request.
//
//   - An answer is a Done or an error, never both: nobody calls the Done of a
//     refusal. Errors have a text, and no Rejection among their causes has a
//     negative RetryAfter.
//   - Permits balance. When all that was admitted has been given back as
//     Ignored, it admits as many at once as at first: at the latest after two
//     minutes, for policies that need time. When it was given back as OK or
//     Failed, from which a policy may learn to admit fewer, at least one. After
//     Ignored alone it never admits more than twice as many. A policy with a
//     method InFlight() int returns 0 then.
//   - A trial is not the end: when all it is told is Failed, and it has begun
//     to refuse, it admits one again in time, and another after that one,
//     whether the first was given back as Ignored, OK or Failed.
//   - With [resource.Request.NoWait] it answers at once. Without, an Admit that
//     waits returns within a second of the end of its context, and leaks
//     nothing, also if a permit came back at the same instant.
//   - Those that wait are woken: when all permits are given back each of them
//     is admitted or refused in time, though nobody else comes.
//   - Requests with numbers at their edges, and outcomes likewise, make it
//     neither panic nor lose count. No Done blocks.
//   - A negative Cost makes no room: it is refused, or counts like any other
//     request. A bucket that subtracts it has more tokens than before.
//   - Many goroutines may use it at once.
//   - As Admission, as MakeGate and as Quota of a pool whose callers come,
//     cancel, fail and leave, it never panics; every caller comes back, the
//     pool closes, and permits balance.
//   - It leaves no goroutine behind.
//
// As many as 256 admitted at once count as no limit: give new a policy of a few.
func Admission(t testing.TB, new func() resource.Admission, requests ...resource.Request) {
	t.Helper()
	if len(requests) == 0 {
		requests = []resource.Request{{}, {Priority: 1}, {Cost: 2}, {Class: "a"}, {Priority: -1, Class: "b"}}
	}
	with := func(f func(s *subject)) func(*kit) {
		return func(k *kit) {
			p := new()
			if p == nil {
				k.fatalf("new returned nil")
			}
			k.closes(p)
			s := &subject{kit: k, p: p, requests: requests}
			s.begin()
			f(s)
		}
	}
	run(t, "Admission",
		check{"balance after Ignored", with((*subject).balancesIgnored)},
		check{"balance after OK", with((*subject).balancesOK)},
		check{"balance after Failed", with((*subject).balancesFailed)},
		check{"of odd requests", with((*subject).standsOdd)},
		check{"of negative costs", with((*subject).standsNegative)},
		check{"after failures", with((*subject).outlivesTrials)},
		check{"cancellation", with((*subject).cancels)},
		check{"cancellation while permits come back", with((*subject).cancelsLate)},
		check{"waiting", with((*subject).wakes)},
		check{"many goroutines", with((*subject).standsCrowd)},
		check{"many goroutines, all Ignored", with((*subject).standsQuietCrowd)},
		check{"as Admission of a pool", with((*subject).guardsLeases)},
		check{"as MakeGate of a pool", with((*subject).guardsMakes)},
		check{"as Quota of a pool", with((*subject).guardsLives)},
	)
}
