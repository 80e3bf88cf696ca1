package suite

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/respool/respool/internal/bench/peer"
)

// A profiled is where the time of some work goes.
type profiled struct {
	Work    string    `json:"work"`
	Samples int64     `json:"samples"`
	Parts   []portion `json:"parts"` // whose code, the most first
	Spots   []portion `json:"spots"` // which function, the most first
	Allocs  []site    `json:"allocs"`
}

// A portion is how much of the processor's time is spent somewhere.
type portion struct {
	Where string  `json:"where"`
	Share float64 `json:"share"` // of 1
}

// maxSpots is how many functions are told.
const maxSpots = 12

// A subject is work that is worth a profile.
type subject struct {
	work string
	open func(ctx context.Context, s size) (l peer.Loop, end func() error, err error)
}

func subjects() []subject {
	server := &echoPeer{}
	of := func(c crew) func(ctx context.Context, _ size) (peer.Loop, func() error, error) {
		return func(ctx context.Context, _ size) (peer.Loop, func() error, error) {
			l, err := peer.Respool.Loops(ctx, c.resources)
			return c.loop(l), l.Close, err
		}
	}
	exchange := func(scheme string) func(ctx context.Context, _ size) (peer.Loop, func() error, error) {
		return func(ctx context.Context, _ size) (peer.Loop, func() error, error) {
			a, err := server.open(ctx)
			if err != nil {
				return nil, nil, err
			}
			ask, end, err := poolAskers(ctx, a, scheme, 1, nil)
			if err != nil {
				return nil, nil, errors.Join(err, server.close())
			}
			return func(ctx context.Context, n int) error {
				for range n {
					if err := ask[0](ctx, 1); err != nil {
						return err
					}
				}
				return nil
			}, func() error { return errors.Join(end(), server.close()) }, nil
		}
	}
	return []subject{
		{"acquire and release, one goroutine", of(crew{goroutines: 1, resources: 1})},
		{"64 goroutines on 4, Gosched while holding", of(crew{goroutines: 64, resources: 4, yield: true, own: true})},
		{"a lease of one exchange, ws", exchange("ws")},
		{"a lease of one exchange, wss", exchange("wss")},
	}
}

// profileAll takes the profiles of all subjects.
func profileAll(ctx context.Context, s size, progress func(format string, args ...any)) (out []profiled, err error) {
	for _, x := range subjects() {
		progress("profile of %s", x.work)
		p, err := takeProfile(ctx, x, s)
		if err != nil {
			return out, fmt.Errorf("profile of %s: %w", x.work, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func takeProfile(ctx context.Context, x subject, s size) (p profiled, err error) {
	p.Work = x.work
	l, end, err := x.open(ctx, s)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, end()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := l(ctx, 1000); err != nil { // warm
		return p, err
	}
	if p.Allocs, err = allocSites(ctx, l, s.profileOps); err != nil {
		return p, err
	}
	var raw bytes.Buffer
	if err := pprof.StartCPUProfile(&raw); err != nil {
		return p, err
	}
	for begin := time.Now(); time.Since(begin) < s.profileFor && err == nil; {
		err = l(ctx, s.profileOps)
	}
	pprof.StopCPUProfile()
	if err != nil {
		return p, err
	}
	prof, err := profile.Parse(&raw)
	if err != nil {
		return p, err
	}
	p.read(prof)
	return p, nil
}

// read adds up the samples of prof.
func (p *profiled) read(prof *profile.Profile) {
	parts, spots := map[string]int64{}, map[string]int64{}
	for _, s := range prof.Sample {
		n := s.Value[0]
		names := frames(s)
		if len(names) == 0 || slices.Contains(names, "runtime/pprof.profileWriter") {
			continue
		}
		p.Samples += n
		parts[partOf(names)] += n
		spots[spotOf(names)] += n
	}
	p.Parts, p.Spots = portions(parts, p.Samples), portions(spots, p.Samples)
	p.Spots = p.Spots[:min(len(p.Spots), maxSpots)]
}

func portions(counts map[string]int64, all int64) (out []portion) {
	for where, n := range counts {
		out = append(out, portion{where, float64(n) / float64(all)})
	}
	slices.SortFunc(out, func(a, b portion) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), strings.Compare(a.Where, b.Where))
	})
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

// packageOf is the import path of a function.
func packageOf(name string) string {
	slash := strings.LastIndexByte(name, '/') + 1
	if dot := strings.IndexByte(name[slash:], '.'); dot >= 0 {
		return name[:slash+dot]
	}
	return name
}

// partOf says whose the time of a stack is: the first that is known, from the
// inside out.
func partOf(names []string) string {
	for i, name := range names {
		pkg := packageOf(name)
		switch {
		case isSyscall(name):
			return "system calls: " + callOf(names[i:])
		case slices.Contains([]string{"runtime.mallocgc", "runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.gcAssistAlloc"}, name):
			return "memory: allocation and collection"
		case slices.Contains([]string{"runtime.schedule", "runtime.park_m", "runtime.ready", "runtime.gosched_m", "runtime.mstart", "runtime.goready", "runtime.selectgo", "runtime.chansend", "runtime.chanrecv"}, name):
			return "the Go scheduler and its channels"
		case strings.HasPrefix(name, "runtime.lock2"):
			return "the Go scheduler and its channels"
		case strings.HasPrefix(pkg, "github.com/respool/respool/"):
			if ours := strings.TrimPrefix(pkg, "github.com/respool/respool/"); strings.HasPrefix(ours, "internal/bench") {
				return "the loop that measures"
			} else {
				return "respool: " + ours
			}
		case strings.HasPrefix(pkg, "github.com/gorilla/websocket"):
			return "gorilla/websocket"
		case strings.HasPrefix(pkg, "crypto/"), strings.HasPrefix(pkg, "vendor/golang.org/x/crypto"):
			return "crypto"
		case pkg == "net" || pkg == "internal/poll":
			return "net"
		case pkg == "context", pkg == "time":
			return pkg
		}
	}
	return "the rest of the runtime"
}

// isSyscall says whether name is where Go enters the kernel.
func isSyscall(name string) bool {
	switch packageOf(name) {
	case "internal/runtime/syscall", "internal/runtime/syscall/linux":
		return true
	}
	return slices.Contains([]string{
		"syscall.RawSyscall6", "syscall.rawVforkSyscall", "syscall.syscall", "syscall.syscall6",
		"runtime.futex", "runtime.epollwait", "runtime.usleep", "runtime.write1", "runtime.osyield",
	}, name)
}

// callOf names the system call that a stack is in.
func callOf(names []string) string {
	for _, name := range names {
		if isSyscall(name) && packageOf(name) != "runtime" {
			continue
		}
		base := path.Base(name)
		if name == "syscall.Syscall" || name == "syscall.Syscall6" || name == "syscall.RawSyscall" || name == "syscall.RawSyscall6" {
			continue
		}
		return strings.ToLower(base[strings.LastIndexByte(base, '.')+1:])
	}
	return "others"
}

// spotOf is the innermost function, or of a system call which.
func spotOf(names []string) string {
	if isSyscall(names[0]) {
		return "system call " + callOf(names)
	}
	return strings.TrimPrefix(names[0], "github.com/")
}
