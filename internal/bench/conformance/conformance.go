// Package conformance replays known defects of resource pools on every pool behind
// package peer, respool included, and tables which pool passes. Some defects were
// published as issues; the others were found in a pool's code.
//
// Each [Case] is one defect, stated as the sentence that must hold, and finds its
// verdict by operating a real pool: no verdict is written down. A case runs in a
// process of its own, because some defects end the process.
package conformance

import (
	"slices"

	"github.com/respool/respool/internal/bench/peer"
)

// A Case is one defect.
type Case struct {
	Name string
	What string // the sentence that must hold
	// run decides whether it holds for the probe's pool. It may leak whatever it made
	// until its process ends.
	run    func(p *probe)
	Issues []string // that report this very defect; none: it was found in the code
	alone  bool     // measures short times: no other case may run meanwhile
}

// A Verdict is the result of a case on one pool.
type Verdict string

const (
	Passes Verdict = "passes"
	Fails  Verdict = "fails"
	Cannot Verdict = "cannot" // the pool has no such operation
)

// A Finding is a Verdict with what was observed.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen,omitempty"` // in a few words
	Note    string  `json:"note,omitempty"` // details
}

// Cases returns all cases, in the order of the table.
func Cases() []Case {
	return slices.Concat(leases(), waiting(), making(), upkeep())
}

// decide runs the case on k in this process. The error says that it came to no
// verdict.
func decide(run func(*probe), k peer.Kind) (f Finding, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case outcome:
			f, err = r.Finding, r.err
		default:
			panic(r)
		}
	}()
	p := &probe{kind: k}
	run(p)
	return Finding{Verdict: Passes, Seen: p.seen}, nil
}

// An outcome ends a case early: a panic with it is recovered by decide.
type outcome struct {
	Finding
	err error
}

// tries passes if run passes once in n attempts. It suits what a busy machine can
// only make worse, such as a delay, and what a pool with the defect does every time.
// [most] suits what depends on chance, or what load may also make look better.
func tries(n int, run func(*probe)) func(*probe) {
	return func(p *probe) {
		for i := 1; ; i++ {
			if f, err := decide(run, p.kind); f.Verdict != Fails || i == n {
				panic(outcome{f, err})
			}
		}
	}
}

// most has the verdict of more than half of n attempts.
func most(n int, run func(*probe)) func(*probe) {
	return func(p *probe) {
		times := map[Verdict]int{}
		for {
			f, err := decide(run, p.kind)
			if times[f.Verdict]++; err != nil || times[f.Verdict] > n/2 {
				panic(outcome{f, err})
			}
		}
	}
}
