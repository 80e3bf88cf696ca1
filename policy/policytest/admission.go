package policytest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// unlimited is the number of concurrent permits that counts as no limit.
const unlimited = 256

// Admission tests a [resource.Admission]. new returns the one to test, a new one for
// each call; it must admit at least one request at first. It is asked with requests, in
// turn; its capacity is measured with the first of them, as the number of requests that
// it admits at once. Without requests, a mixture is used that begins with the zero
// Request.
//
//   - Admit returns a Done or an error, never both: the Done of a refusal is never
//     called. Errors have a text, and no Rejection that they wrap has a negative
//     RetryAfter.
//   - Permits balance. After all permits have been returned with an Ignored outcome, it
//     admits its initial capacity again: after two minutes at the latest, for policies
//     that need time. After OK or Failed outcomes, from which a policy may learn to admit
//     fewer, it admits at least one. After Ignored outcomes alone it never admits more
//     than twice its capacity. If it has a method InFlight() int, that returns 0 then.
//   - It recovers from failures: if all outcomes were Failed and it has begun to refuse,
//     it admits a request again in time, and another one after that, whether the outcome
//     of the first was Ignored, OK or Failed.
//   - With [resource.Request.NoWait] it does not block. Without, a blocked Admit returns
//     within a second of the end of its context and leaks no permit, even if one was
//     returned at the same instant.
//   - Blocked requests are woken: when all permits are returned, each blocked request is
//     admitted or refused in time, without a further call of Admit.
//   - Extreme values in requests and outcomes cause neither a panic nor a lost permit. No
//     Done blocks.
//   - A negative Cost does not raise the capacity: it is refused, or counts like any other
//     request. A bucket that subtracts it would gain tokens.
//   - It is safe for concurrent use.
//   - As Admission, MakeGate and Quota of a pool whose callers acquire, cancel, fail and
//     release, it never panics; every call returns, the pool closes, and permits balance.
//   - It leaves no goroutine behind.
//
// A capacity of 256 or more counts as no limit: new should return a policy with a small
// one.
func Admission(t testing.TB, new func() resource.Admission, requests ...resource.Request) {
	t.Helper()
	if len(requests) == 0 {
		requests = []resource.Request{{}, {Priority: 1}, {Cost: 2}, {Class: "a"}, {Priority: -1, Class: "b"}}
	}
	with := func(f func(a *admissionTest)) func(*kit) {
		return func(k *kit) {
			p := new()
			if p == nil {
				k.fatalf("new returned nil")
			}
			k.closeAtEnd(p)
			a := &admissionTest{kit: k, p: p, requests: requests}
			a.measureCapacity()
			f(a)
		}
	}
	run(t, "Admission",
		subtest{"balance after Ignored", with((*admissionTest).balancesIgnored)},
		subtest{"balance after OK", with((*admissionTest).balancesOK)},
		subtest{"balance after Failed", with((*admissionTest).balancesFailed)},
		subtest{"extreme requests", with((*admissionTest).handlesExtremes)},
		subtest{"negative costs", with((*admissionTest).handlesNegativeCosts)},
		subtest{"after failures", with((*admissionTest).recoversFromFailures)},
		subtest{"cancellation", with((*admissionTest).handlesCancellation)},
		subtest{"cancellation while permits are returned", with((*admissionTest).handlesLateCancellation)},
		subtest{"waiting", with((*admissionTest).wakesWaiters)},
		subtest{"many goroutines", with((*admissionTest).handlesConcurrency)},
		subtest{"many goroutines, all Ignored", with((*admissionTest).handlesConcurrencyIgnored)},
		subtest{"as Admission of a pool", with((*admissionTest).worksAsAdmission)},
		subtest{"as MakeGate of a pool", with((*admissionTest).worksAsMakeGate)},
		subtest{"as Quota of a pool", with((*admissionTest).worksAsQuota)},
	)
}

// admissionTest is one subtest of one Admission.
type admissionTest struct {
	*kit
	p           resource.Admission
	requests    []resource.Request
	capacity    int   // requests admitted at once at first, at most unlimited
	lastRefusal error // seen by admit
}

var errOperation = errors.New("policytest: the admitted operation failed")

// The outcomes passed to a Done.
var (
	ignored = resource.Outcome{}
	ok      = resource.Outcome{Verdict: resource.OK, Latency: 3 * time.Millisecond}
	failed  = resource.Outcome{Verdict: resource.Failed, Err: errOperation, Latency: 3 * time.Millisecond}
)

// verdictName returns the name of the Verdict of o.
func verdictName(o resource.Outcome) string {
	return [...]string{"Ignored", "OK", "Failed"}[o.Verdict]
}

// The subtests.

// handlesExtremes uses extreme values in requests and outcomes.
func (a *admissionTest) handlesExtremes() {
	var extreme []resource.Request
	for _, n := range []int{math.MinInt, -1, 0, 1, math.MaxInt} {
		for _, r := range a.requests {
			cost, priority, remaining := r, r, r
			cost.Cost, priority.Priority, remaining.MinRemaining = n, n, time.Duration(n)
			extreme = append(extreme, cost, priority, remaining)
		}
	}
	extreme = append(extreme, resource.Request{Class: "policytest: an unknown class"})
	outcomes := []resource.Outcome{
		ignored, ok, failed,
		{Verdict: resource.Failed},
		{Verdict: resource.OK, Latency: math.MaxInt64},
		{Verdict: resource.Failed, Err: errOperation, Latency: -1},
		{Verdict: resource.OK, Latency: math.MinInt64},
	}
	for i, r := range extreme {
		r.NoWait = true
		if done, err := a.admitNoWait(r); err == nil {
			a.endAll([]resource.Done{done}, outcomes[i%len(outcomes)])
		}
	}
	a.wantCapacity(1, ok, "%d extreme requests were answered one at a time and ended with extreme outcomes", len(extreme))
}

// negativeCostRounds is the number of requests of one admittedAfter.
const negativeCostRounds = 24

// handlesNegativeCosts checks that a negative Cost does not raise the capacity, as it
// does in a policy that subtracts the Cost without looking at its sign.
func (a *admissionTest) handlesNegativeCosts() {
	if a.capacity == unlimited {
		return
	}
	plain := a.requests[0]
	usual := a.admittedAfter(plain) // a policy may gain tokens meanwhile
	for _, cost := range []int{-1, -a.capacity, -1_000_000, math.MinInt} {
		r := plain
		r.Cost = cost
		more := a.admittedAfter(r)
		for n := 0; n < 2 && more > usual+a.capacity; n++ { // outside a bubble the machine may have paused
			more = a.admittedAfter(r)
		}
		if more > usual+a.capacity {
			a.fatalf("with the capacity (%d at first) in use, plain requests were made after each of %d requests with Cost %d, and %d were admitted: "+
				"a negative Cost must be refused, since it raises the capacity", a.capacity, negativeCostRounds, cost, more)
		}
	}
}

// admittedAfter takes the whole capacity and then repeats: a request r, then plain
// requests until one is refused. It returns how many of the plain ones were admitted.
func (a *admissionTest) admittedAfter(r resource.Request) (more int) {
	held := a.admitUpTo(unlimited)
	r.NoWait = true
	for range negativeCostRounds {
		done, err := a.admitNoWait(r)
		added := a.admitUpTo(a.capacity + 1)
		more += len(added)
		if held = append(held, added...); err == nil {
			held = append(held, done)
		}
	}
	a.endAll(held, ignored)
	a.wantCapacity(a.capacity, ignored, "%d permits were held, some of them for %+v, and returned as Ignored", len(held), r)
	return more
}

func (a *admissionTest) balancesIgnored() { a.balances(ignored) }
func (a *admissionTest) balancesOK()      { a.balances(ok) }
func (a *admissionTest) balancesFailed()  { a.balances(failed) }

// balances takes the whole capacity and returns it with outcome o, several times: if
// half of the permits were lost each time, none of unlimited would remain.
func (a *admissionTest) balances(o resource.Outcome) {
	for range 9 {
		held := a.admitUpTo(unlimited)
		a.endAll(held, o)
	}
	want := 1
	if o == ignored {
		want = a.capacity
	}
	const history = "%d were admitted at first; that many were admitted and returned as %s several times"
	a.wantCapacity(want, ignored, history, a.capacity, verdictName(o))
	if o == ignored {
		a.wantNoMore(history, a.capacity, verdictName(o))
	}
}

// recoversFromFailures fails everything, so that the policy may begin to refuse, and
// then ends the first request that is admitted with each outcome.
func (a *admissionTest) recoversFromFailures() {
	for _, o := range []resource.Outcome{ignored, ok, failed} {
		for range 3 {
			a.endAll(a.admitUpTo(unlimited), failed)
		}
		for n := range 3 {
			a.wantCapacity(1, o, "all permits were returned as Failed, and then those of %d trials as %s", n, verdictName(o))
		}
		a.wantCapacity(1, ok, "all permits were returned as Failed, and then those of 3 trials as %s", verdictName(o))
	}
}

// handlesCancellation ends the contexts of blocked requests.
func (a *admissionTest) handlesCancellation() {
	held := a.admitUpTo(unlimited)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	a.wantReturns(a.startAdmits(ended, 8), promptly, "%d are admitted, and 8 requests have a context that has ended", len(held))

	soon, cancel := context.WithTimeout(context.Background(), 4*tick)
	defer cancel()
	a.wantReturns(a.startAdmits(soon, 8), promptly+4*tick, "%d are admitted, and 8 requests have a deadline in 4ms", len(held))

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := min(a.capacity, unlimited/2) + 1
	calls := a.startAdmits(ctx, n)
	cancel()
	a.wantReturns(calls, promptly, "%d are admitted, and the context of %d more requests ends", len(held), n)
	a.endAll(held, ignored)
	const history = "%d were admitted, %d more requests were cancelled, and all permits were returned as Ignored"
	a.wantCapacity(a.capacity, ignored, history, len(held), n)
	a.wantNoMore(history, len(held), n)
}

// handlesLateCancellation ends the contexts of blocked requests while permits are
// returned.
func (a *admissionTest) handlesLateCancellation() {
	const rounds = 24
	n := min(a.capacity, unlimited/4) + 1
	for round := range rounds {
		held := a.admitUpTo(unlimited)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		calls := a.startAdmits(ctx, n)
		a.must(promptly, "Done(Ignored)", func() {
			switch round % 3 {
			case 0: // the context ends before the first permit is returned
				cancel()
			case 1: // the two race
				go cancel()
			}
			for _, done := range held {
				end(done, ignored)
			}
			cancel()
		})
		a.wantReturns(calls, promptly, "%d requests waited while as many permits were returned, and their context ended", n)
	}
	const history = "%d requests waited while as many permits were returned and their context ended, %d times; all permits were returned as Ignored"
	a.wantCapacity(a.capacity, ignored, history, n, rounds)
	a.wantNoMore(history, n, rounds)
}

// wakesWaiters returns all permits while requests are blocked.
func (a *admissionTest) wakesWaiters() {
	for _, o := range []resource.Outcome{ignored, ok, failed} {
		held := a.admitUpTo(unlimited)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel() // unblocks requests that were not woken
		calls := a.startAdmits(ctx, 8)
		a.endAll(held, o)
		a.wantReturns(calls, patiently, "%d were admitted, 8 more requests began, and the %d permits were returned as %s", len(held), len(held), verdictName(o))
	}
}

func (a *admissionTest) handlesConcurrency()        { a.stress(1, ignored, ok, failed) }
func (a *admissionTest) handlesConcurrencyIgnored() { a.stress(a.capacity, ignored) }

// stress runs many goroutines that ask, wait, cancel and return permits, and wants a
// capacity of n afterwards.
func (a *admissionTest) stress(n int, outcomes ...resource.Outcome) {
	const goroutines, rounds = 8, 150
	a.concurrently(goroutines, patiently, "a goroutine that calls Admit and Done", func(_ int, r *rand.Rand) {
		for n := 0; n < rounds && !a.bad.Load(); n++ {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(2000))*time.Microsecond)
			req := a.requests[r.IntN(len(a.requests))]
			req.NoWait = r.IntN(3) == 0
			began := time.Now()
			done, err := a.admit(ctx, req)
			if took := time.Since(began); took > promptly {
				a.errorf("Admit(%+v) took %v, with a context that ended after 2ms at most", req, took)
			}
			for range r.IntN(4) {
				runtime.Gosched()
			}
			if err == nil {
				end(done, outcomes[r.IntN(len(outcomes))])
			}
			cancel()
		}
	})
	a.stopIfBad()
	a.wantCapacity(n, ok, "%d goroutines called Admit %d times each and returned all permits", goroutines, rounds)
}

func (a *admissionTest) worksAsAdmission() {
	a.worksInPool(resource.Config[int]{Make: numbers(false), Admission: a.p})
}

func (a *admissionTest) worksAsMakeGate() {
	a.worksInPool(resource.Config[int]{Make: numbers(true), MakeGate: a.p})
}

func (a *admissionTest) worksAsQuota() {
	a.worksInPool(resource.Config[int]{Make: numbers(true), Quota: a.p})
}

func (a *admissionTest) worksInPool(cfg resource.Config[int]) {
	usePool(a.kit, cfg, workload{requests: a.requests})
	a.wantCapacity(1, ok, "a pool used it and was closed")
}

// The operations that the subtests are made of.

// measureCapacity sets capacity.
func (a *admissionTest) measureCapacity() {
	held := a.admitUpTo(unlimited)
	if a.capacity = len(held); a.capacity == 0 {
		a.fatalf("a new policy refused its first request, %+v with NoWait: %v\nnew must return one that admits", a.requests[0], a.lastRefusal)
	}
	a.endAll(held, ignored)
	a.wantCapacity(a.capacity, ignored, "%d requests were admitted at once at first, and their permits returned as Ignored", a.capacity)
}

// admitUpTo repeats the first request, with NoWait, until it is refused or n are
// admitted, and returns the permits.
func (a *admissionTest) admitUpTo(n int) (held []resource.Done) {
	a.Helper()
	r := a.requests[0]
	r.NoWait = true
	for len(held) < n {
		var done resource.Done
		var err error
		a.must(promptly, fmt.Sprintf("Admit(%+v), with %d admitted before it,", r, len(held)), func() {
			done, err = a.admit(context.Background(), r)
		})
		a.stopIfBad()
		if err != nil {
			a.lastRefusal = err
			break
		}
		held = append(held, done)
	}
	return held
}

// admitNoWait calls Admit with a request that must not block.
func (a *admissionTest) admitNoWait(r resource.Request) (done resource.Done, err error) {
	a.Helper()
	a.must(promptly, fmt.Sprintf("Admit(%+v)", r), func() { done, err = a.admit(context.Background(), r) })
	a.stopIfBad()
	return done, err
}

// admit calls Admit and checks its results.
func (a *admissionTest) admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	done, err := a.p.Admit(ctx, r)
	if err == nil {
		return done, nil
	}
	if done != nil {
		a.errorf("Admit(%+v) returned both a Done and the error %q: the Done of a refusal is never called, so its permit is lost", r, err)
	}
	a.wantGoodError(fmt.Sprintf("Admit(%+v)", r), err)
	return nil, err
}

// endAll calls the Dones with outcome o.
func (a *admissionTest) endAll(held []resource.Done, o resource.Outcome) {
	a.Helper()
	a.must(promptly+time.Duration(len(held))*tick, fmt.Sprintf("Done(%+v)", o), func() {
		for _, done := range held {
			end(done, o)
		}
	})
}

// end calls done unless it is nil.
func end(done resource.Done, o resource.Outcome) {
	if done != nil {
		done(o)
	}
}

// attempts is the number of attempts before more time passes: some policies refuse a
// random share of the requests.
const attempts = 16

// wantCapacity waits until n requests are admitted at once, and ends them with outcome
// o. format and args describe the history, for the failure message.
func (a *admissionTest) wantCapacity(n int, o resource.Outcome, format string, args ...any) {
	a.Helper()
	a.wantNoneInFlight(format, args...)
	began, most := time.Now(), 0
	for pause := tick; ; pause *= 2 {
		for range attempts {
			held := a.admitUpTo(n)
			a.endAll(held, o)
			if len(held) >= n {
				return
			}
			most = max(most, len(held))
		}
		if time.Since(began) > patiently {
			break
		}
		time.Sleep(pause)
	}
	a.fatalf("%s; now at most %d are admitted at once, want %d: permits are lost, or the policy does not recover. Asked for %v; last refusal: %v",
		fmt.Sprintf(format, args...), most, n, time.Since(began).Round(time.Second), a.lastRefusal)
}

// wantNoMore checks that the policy does not admit far more than its capacity after
// Ignored outcomes alone: otherwise more permits were returned than taken. A few more
// may be tokens gained meanwhile. format and args describe the history.
func (a *admissionTest) wantNoMore(format string, args ...any) {
	a.Helper()
	limit := 2 * a.capacity
	least := unlimited
	for range 3 {
		held := a.admitUpTo(limit + 1)
		a.endAll(held, ignored)
		least = min(least, len(held))
	}
	if limit < unlimited && least > limit {
		a.fatalf("%s; now more than %d are admitted at once, at first %d: more permits are returned than were taken",
			fmt.Sprintf(format, args...), limit, a.capacity)
	}
}

// wantNoneInFlight checks InFlight, if the policy has it, when all permits have been
// returned.
func (a *admissionTest) wantNoneInFlight(format string, args ...any) {
	a.Helper()
	g, counts := a.p.(interface{ InFlight() int })
	if !counts {
		return
	}
	if n := g.InFlight(); n != 0 {
		a.fatalf("%s; now InFlight() = %d, want 0", fmt.Sprintf(format, args...), n)
	}
}

// admitCall is a call of Admit, and of the Done that it returns, on a goroutine of its
// own.
type admitCall struct {
	ended   chan struct{}
	failure string // how it ended, unless it returned
}

// startAdmits starts n calls of Admit that may block, and gives them time to do so. A
// call that is admitted returns its permit at once, as Ignored.
func (a *admissionTest) startAdmits(ctx context.Context, n int) []*admitCall {
	calls := make([]*admitCall, n)
	for i := range calls {
		calls[i] = a.startAdmit(ctx, a.requests[i%len(a.requests)])
	}
	for range n {
		runtime.Gosched()
	}
	time.Sleep(tick)
	return calls
}

func (a *admissionTest) startAdmit(ctx context.Context, r resource.Request) *admitCall {
	c := &admitCall{ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.failure = runSync(func() {
			if done, err := a.admit(ctx, r); err == nil {
				end(done, ignored)
			}
		})
	}()
	return c
}

// wantReturns waits until all calls have returned, and ends the subtest if one does
// not return in time. format and args describe the history.
func (a *admissionTest) wantReturns(calls []*admitCall, limit time.Duration, format string, args ...any) {
	a.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for i, c := range calls {
		select {
		case <-c.ended:
		case <-timer.C:
			a.fatalf("%s; %v later %d of %d calls of Admit have not returned", fmt.Sprintf(format, args...), limit, countBlocked(calls[i:]), len(calls))
		}
		if c.failure != "" {
			a.fatalf("%s; then Admit, or the Done that it returned, %s", fmt.Sprintf(format, args...), c.failure)
		}
	}
	a.stopIfBad()
}

// countBlocked counts the calls that have not returned.
func countBlocked(calls []*admitCall) (n int) {
	for _, c := range calls {
		select {
		case <-c.ended:
		default:
			n++
		}
	}
	return n
}
