package metrics

import (
	"runtime"
	"slices"
	"strings"
	"sync"
)

// maxStack is how many frames of an acquirer are kept.
const maxStack = 32

const module = "github.com/respool/respool/"

// ours reports whether the function of that name belongs to what stands between
// an acquirer and its meter. A test of those packages is an acquirer.
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

// frames are the lines of a stack, without those that every lease of a pool has:
// the acquirer's is the first. If all are ours, all stay.
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

// maxStacks is how many stacks are kept as lines, of 1 or 2 kB each.
const maxStacks = 1024

// stacks has the lines of stacks that were looked at. Most leases are taken at
// few places, and a page looks at all of them again each second.
type stacks struct {
	mu    sync.Mutex
	known map[[maxStack]uintptr][]Frame // after the last counter are zeros
}

// resolved is of all meters.
var resolved stacks

// frames is frames of pcs up to the first zero, for reading alone. With as many
// as maxStacks all are forgotten, and what is still looked at comes again.
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
	f := frames(slices.Clone(pcs[:depth])) // pcs itself can stay on the caller's stack
	s.known[*pcs] = f
	return f
}

// leading is how many of pcs, from the innermost on, are ours.
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
