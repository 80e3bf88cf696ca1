package suite

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"

	"github.com/respool/respool/internal/bench/peer"
)

// A site is where an operation allocates.
type site struct {
	Where string  `json:"where"` // the function, and who called it
	PerOp float64 `json:"per_op"`
	Bytes float64 `json:"bytes_per_op"`
}

// seldom is how often an operation allocates somewhere that is not worth a line:
// what is kept for the next is now and then collected.
const seldom = 0.05

// allocSites are the places that allocate in n operations of l, but for those that
// do so seldom, the most first.
func allocSites(ctx context.Context, l peer.Loop, n int) ([]site, error) {
	old := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = old }()
	before, err := records()
	if err != nil {
		return nil, err
	}
	if err := l(ctx, n); err != nil {
		return nil, err
	}
	after, err := records()
	if err != nil {
		return nil, err
	}
	was, is := byPlace(before), byPlace(after)
	var out []site
	for where, now := range is {
		count := float64(now.objects-was[where].objects) / float64(n)
		if count >= seldom {
			out = append(out, site{where, count, float64(now.bytes-was[where].bytes) / float64(n)})
		}
	}
	slices.SortFunc(out, func(a, b site) int {
		return cmp.Or(cmp.Compare(b.PerOp, a.PerOp), strings.Compare(a.Where, b.Where))
	})
	return out, nil
}

// records are the places that allocated so far.
func records() ([]runtime.MemProfileRecord, error) {
	runtime.GC() // what was allocated since the last two collections is not told yet
	runtime.GC()
	for range 10 {
		n, _ := runtime.MemProfile(nil, true)
		all := make([]runtime.MemProfileRecord, n+100)
		if n, ok := runtime.MemProfile(all, true); ok {
			return all[:n], nil
		}
	}
	return nil, errors.New("new places allocate all the time")
}

type amount struct{ objects, bytes int64 }

// byPlace adds up what was allocated at each place.
func byPlace(all []runtime.MemProfileRecord) map[string]amount {
	out := map[string]amount{}
	for _, r := range all {
		where := placeOf(r.Stack())
		a := out[where]
		a.objects += r.AllocObjects
		a.bytes += r.AllocBytes
		out[where] = a
	}
	return out
}

// placeOf names the function that allocates, and the one that called it.
func placeOf(stack []uintptr) string {
	var names []string
	for f := runtime.CallersFrames(stack); len(names) < 2; {
		fr, more := f.Next()
		if fr.Function != "" && !strings.HasPrefix(fr.Function, "runtime.") {
			names = append(names, strings.TrimPrefix(fr.Function, "github.com/"))
		}
		if !more {
			break
		}
	}
	return strings.Join(names, ", from ")
}
