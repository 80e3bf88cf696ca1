package suite

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
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
	Work    string  `json:"work"`
	Samples int64   `json:"samples"`
	Parts   []place `json:"parts"` // by package
	Spots   []place `json:"spots"` // by function
	Allocs  []place `json:"allocs"`
}

// A place in the code has its sum of each value of a profile: of CPU time a share of the
// samples, of allocations the objects and the bytes of an operation.
type place struct {
	Where  string    `json:"where"`
	Values []float64 `json:"values"`
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
	of := func(c crew) func(x *setup) peer.Loop {
		return func(x *setup) peer.Loop { return c.loop(x.loops(peer.Respool, c.resources)) }
	}
	exchange := func(scheme string) func(x *setup) peer.Loop {
		return func(x *setup) peer.Loop { return asksOf(pooled(lease, nil)(x, x.server(), scheme, 1)[0]) }
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
	p.Allocs = allocations(ctx, l, s.count(5000))
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
	for _, s := range prof.Sample {
		if names := frames(s); len(names) == 0 || slices.Contains(names, "runtime/pprof.profileWriter") {
			s.Value[0] = 0
		}
		p.Samples += s.Value[0]
	}
	p.Parts, p.Spots = placesOf(prof, 1, float64(p.Samples), packageOf), placesOf(prof, 1, float64(p.Samples), spotOf)
	p.Spots = p.Spots[:min(len(p.Spots), maxSpots)]
}

// placesOf sums the first values of the samples of prof by where they are, and divides
// the sums. The most come first.
func placesOf(prof *profile.Profile, values int, by float64, where func(names []string) string) (out []place) {
	sums := map[string][]float64{}
	for _, s := range prof.Sample {
		if names := frames(s); s.Value[0] != 0 && len(names) > 0 {
			at := where(names)
			sums[at] = append(sums[at], make([]float64, values-len(sums[at]))...)
			for i := range sums[at] {
				sums[at][i] += float64(s.Value[i]) / by
			}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, place{at, sums[at]})
	}
	slices.SortStableFunc(out, func(a, b place) int { return cmp.Compare(b.Values[0], a.Values[0]) })
	return out
}

// frames are the functions of a sample, the innermost first.
func frames(s *profile.Sample) (out []string) {
	for _, l := range s.Location {
		for _, line := range l.Line {
			out = append(out, typeArgs.ReplaceAllString(strings.TrimPrefix(line.Function.Name, "github.com/"), "[...]"))
		}
	}
	return out
}

var (
	profiler    = regexp.MustCompile(`(^|from )(runtime|google)/pprof`) // allocates while it profiles
	typeArgs    = regexp.MustCompile(`\[.*\]`)                          // they may contain paths
	kernelCode  = regexp.MustCompile(`^(internal/runtime/syscall|syscall\.(Raw)?[Ss]yscall)`)
	runtimeCode = regexp.MustCompile(`^(runtime|internal/|syscall|sync|time\.now|memeqbody|aeshash)`)
)

// outside is the innermost function that is not in code; "": there is none.
func outside(code *regexp.Regexp, names []string) string {
	for _, name := range names {
		if !code.MatchString(name) {
			return name
		}
	}
	return ""
}

// packageOf is the package that a stack is in. Code of the runtime and of locks counts
// for its caller, if that is in another package.
func packageOf(names []string) string {
	name := outside(runtimeCode, names)
	switch {
	case kernelCode.MatchString(names[0]):
		return "system calls"
	case name == "":
		return "the runtime: scheduler, timers, network poller, collector"
	}
	slash := strings.LastIndexByte(name, '/') + 1
	last, _, _ := strings.Cut(name[slash:], ".")
	return name[:slash] + last
}

// spotOf is the innermost function or system call of a stack.
func spotOf(names []string) string {
	if !kernelCode.MatchString(names[0]) {
		return names[0]
	}
	name := outside(kernelCode, names)
	return "system call " + strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
}

// allocations are the functions that allocate in n operations of l, with their callers.
func allocations(ctx context.Context, l peer.Loop, n int) []place {
	old := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = old }()
	before := allocProfile()
	check(l(ctx, n))
	before.Scale(-1)
	prof := must(profile.Merge([]*profile.Profile{allocProfile(), before}))
	return slices.DeleteFunc(placesOf(prof, 2, float64(n), func(names []string) string {
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "runtime.") })
		return strings.Join(names[:min(2, len(names))], ", from ")
	}), func(p place) bool { return p.Values[0] < rareAlloc || profiler.MatchString(p.Where) })
}

// allocProfile is what was allocated so far, by stack.
func allocProfile() *profile.Profile {
	runtime.GC() // the profile lags behind by two collections
	runtime.GC()
	var raw bytes.Buffer
	check(pprof.Lookup("allocs").WriteTo(&raw, 0))
	return must(profile.Parse(&raw))
}
