package metrics

import (
	"runtime"
	"slices"
	"strings"
	"sync"
)

// maxStack is the number of frames that are kept of the stack of an acquire.
const maxStack = 32

const module = "github.com/respool/respool/"

// ours reports whether the function is in a package between the caller of an acquire
// and the meter. A function in a test of those packages is a caller.
func ours(function string) bool {
	rest, ok := strings.CutPrefix(function, module)
	if !ok {
		return false
	}
	last := strings.LastIndexByte(rest[:max(0, strings.IndexAny(rest+"(", "(["))], '/') + 1
	pkg, _, _ := strings.Cut(rest[last:], ".")
	room, _, _ := strings.Cut(rest[:last]+pkg, "/")
	return (room == "resource" || room == "wspool" || room == "metrics") && !strings.HasSuffix(pkg, "_test")
}

// frames returns the frames of a stack without the innermost ones that are ours, so
// that the first frame is that of the caller of the acquire. If all are ours, it
// returns all.
func frames(pcs []uintptr) []Frame {
	if len(pcs) == 0 {
		return nil
	}
	all := make([]Frame, 0, len(pcs))
	skip, leading := 0, true
	for it := runtime.CallersFrames(pcs); ; {
		f, more := it.Next()
		if f.Function != "" || f.File != "" {
			if leading = leading && ours(f.Function); leading {
				skip++
			}
			all = append(all, Frame{Func: f.Function, File: f.File, Line: f.Line})
		}
		if !more {
			break
		}
	}
	if skip == len(all) {
		skip = 0
	}
	return all[skip:]
}

// maxStacks is the number of stacks whose frames are kept, 1 or 2 kB each.
const maxStacks = 1024

// stacks caches the frames of stacks. Most leases have one of a few stacks, and a live
// page needs all of them again each second.
type stacks struct {
	mu    sync.Mutex
	known map[[maxStack]uintptr][]Frame // a shorter stack is followed by zeros
}

// resolved is shared by all meters.
var resolved stacks

// frames returns the frames of pcs up to the first zero, which the caller must not
// change. When maxStacks are kept, all are dropped; those in use are resolved again.
func (s *stacks) frames(pcs *[maxStack]uintptr) []Frame {
	if pcs[0] == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.known[*pcs]; ok {
		return f
	}
	depth := 0
	for depth < len(pcs) && pcs[depth] != 0 {
		depth++
	}
	if s.known == nil || len(s.known) >= maxStacks {
		s.known = make(map[[maxStack]uintptr][]Frame)
	}
	f := frames(slices.Clone(pcs[:depth])) // so that pcs does not escape to the heap
	s.known[*pcs] = f
	return f
}

// leading returns the number of innermost frames of pcs that are ours.
func leading(pcs []uintptr) (n int) {
	for it := runtime.CallersFrames(pcs); n < len(pcs); n++ {
		f, more := it.Next()
		if !ours(f.Function) {
			return n
		}
		if !more {
			break
		}
	}
	return 0
}
