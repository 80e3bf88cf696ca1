package suite

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/respool/respool/internal/bench/peer"
)

// A profiled is where the CPU time and the allocations of some work go.
type profiled struct {
	Work    string    `json:"work"`
	Samples int64     `json:"samples"`
	Parts   []portion `json:"parts"` // by package, the most first
	Spots   []portion `json:"spots"` // by function, the most first
	Allocs  []site    `json:"allocs"`
}

// A portion is a share of the CPU time.
type portion struct {
	Where string  `json:"where"`
	Share float64 `json:"share"` // of 1
}

// A site is where an operation allocates.
type site struct {
	Where string  `json:"where"` // the function, and its caller
	PerOp float64 `json:"per_op"`
	Bytes float64 `json:"bytes_per_op"`
}

const (
	maxSpots  = 12   // functions in the report
	rareAlloc = 0.05 // allocations per operation not worth a line: refills of caches
)

// A subject is work that is profiled.
type subject struct {
	work string
	open func(x *setup) peer.Loop
}

func subjects() []subject {
	server := &echoProcess{}
	of := func(c crew) func(x *setup) peer.Loop {
		return func(x *setup) peer.Loop { return c.loop(x.loops(peer.Respool, c.resources)) }
	}
	exchange := func(scheme string) func(x *setup) peer.Loop {
		return func(x *setup) peer.Loop { return asksOf(poolAskers(x, server.open(x), scheme, 1, nil)[0]) }
	}
	return []subject{
		{"acquire and release, one goroutine", of(crew{goroutines: 1, resources: 1})},
		{"64 goroutines on 4, Gosched while holding", of(crew{goroutines: 64, resources: 4, yield: true, own: true})},
		{"a lease of one exchange, ws", exchange("ws")},
		{"a lease of one exchange, wss", exchange("wss")},
	}
}

// profileAll profiles all subjects.
func profileAll(ctx context.Context, s size, progress func(format string, args ...any)) (out []profiled, err error) {
	for _, work := range subjects() {
		progress("profile of %s", work.work)
		err := scoped(ctx, func(x *setup) { out = append(out, takeProfile(x, work, s)) })
		if err != nil {
			return out, fmt.Errorf("profile of %s: %w", work.work, err)
		}
	}
	return out, nil
}

func takeProfile(x *setup, work subject, s size) profiled {
	p := profiled{Work: work.work}
	l := work.open(x)
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	check(l(ctx, 1000)) // warm
	p.Allocs = allocSites(ctx, l, s.count(5000))
	var raw bytes.Buffer
	check(pprof.StartCPUProfile(&raw))
	err := attempt(func() {
		for begin := time.Now(); time.Since(begin) < s.time(10*time.Second); {
			check(l(ctx, s.count(5000)))
		}
	})
	pprof.StopCPUProfile()
	check(err)
	p.read(must(profile.Parse(&raw)))
	return p
}

// read sums the samples of prof.
func (p *profiled) read(prof *profile.Profile) {
	parts, spots := map[string]int64{}, map[string]int64{}
	for _, s := range prof.Sample {
		names := frames(s)
		if len(names) == 0 || slices.Contains(names, "runtime/pprof.profileWriter") {
			continue
		}
		pkg, spot := classify(names)
		p.Samples += s.Value[0]
		parts[pkg] += s.Value[0]
		spots[spot] += s.Value[0]
	}
	p.Parts, p.Spots = portions(parts, p.Samples), portions(spots, p.Samples)
	p.Spots = p.Spots[:min(len(p.Spots), maxSpots)]
}

func portions(counts map[string]int64, all int64) (out []portion) {
	for _, where := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, portion{where, float64(counts[where]) / float64(all)})
	}
	slices.SortStableFunc(out, func(a, b portion) int { return cmp.Compare(b.Share, a.Share) })
	return out
}

// frames are the functions of a sample, the innermost first.
func frames(s *profile.Sample) (out []string) {
	for _, l := range s.Location {
		for _, line := range l.Line {
			out = append(out, line.Function.Name)
		}
	}
	return out
}

// classify returns the package that a stack is in, and its innermost function or system
// call. Code of the runtime and of locks counts for its caller, if that is in another
// package.
func classify(names []string) (pkg, spot string) {
	spot = strings.TrimPrefix(names[0], "github.com/")
	in := func(name string, prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	kernel := func(name string) bool {
		return in(name, "internal/runtime/syscall", "syscall.RawSyscall", "syscall.Syscall", "syscall.syscall")
	}
	if i := slices.IndexFunc(names, func(name string) bool { return !kernel(name) }); i > 0 {
		return "system calls", "system call " + strings.ToLower(names[i][strings.LastIndexByte(names[i], '.')+1:])
	}
	for _, name := range names {
		if !in(name, "runtime", "internal/", "syscall", "sync", "time.now", "memeqbody", "aeshash") {
			slash := strings.LastIndexByte(name, '/') + 1
			last, _, _ := strings.Cut(name[slash:], ".")
			return strings.TrimPrefix(name[:slash]+last, "github.com/"), spot
		}
	}
	return "the runtime: scheduler, timers, network poller, collector", spot
}

// allocSites are the places that allocate in n operations of l, the most first.
func allocSites(ctx context.Context, l peer.Loop, n int) (out []site) {
	old := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = old }()
	before := allocProfile()
	check(l(ctx, n))
	before.Scale(-1)
	sites := map[string]site{}
	for _, s := range must(profile.Merge([]*profile.Profile{allocProfile(), before})).Sample {
		names := slices.DeleteFunc(frames(s), func(name string) bool { return strings.HasPrefix(name, "runtime.") })
		for i, name := range names {
			names[i] = strings.TrimPrefix(name, "github.com/")
		}
		where := strings.Join(names[:min(2, len(names))], ", from ")
		got := sites[where]
		sites[where] = site{where, got.PerOp + float64(s.Value[0])/float64(n), got.Bytes + float64(s.Value[1])/float64(n)}
	}
	for _, where := range slices.Sorted(maps.Keys(sites)) {
		if sites[where].PerOp >= rareAlloc {
			out = append(out, sites[where])
		}
	}
	slices.SortStableFunc(out, func(a, b site) int { return cmp.Compare(b.PerOp, a.PerOp) })
	return out
}

// allocProfile is what was allocated so far, by stack.
func allocProfile() *profile.Profile {
	runtime.GC() // the profile lags behind by two collections
	runtime.GC()
	var raw bytes.Buffer
	check(pprof.Lookup("allocs").WriteTo(&raw, 0))
	return must(profile.Parse(&raw))
}
