package sched

import (
	"fmt"
	"path"
	"runtime"
	"strings"
	"text/tabwriter"
)

// Step is one step of a replayed schedule.
type Step struct {
	N         int
	Goroutine int
	Name      string
	Where     string // file:line
	Function  string
	Op        string
	Object    string
	Shared    bool // several goroutines use the object, and one changes it
	Resumed   bool // another goroutine ran before

	obj *Obj
}

// note adds the step of an operation that is about to be done.
func (e *exec) note(p op) {
	if !e.search.trace {
		return
	}
	s := Step{N: e.steps, Goroutine: e.cur.id, Name: e.cur.name, Op: p.kind.String(), obj: p.obj}
	s.Where, s.Function = caller()
	e.trace = append(e.trace, s)
}

// done completes the step of an operation on o.
func (e *exec) done(o *Obj, write bool) {
	if o.number == 0 {
		e.objects++
		o.number = e.objects
	}
	for i := len(e.trace) - 1; i >= 0 && i >= len(e.trace)-8; i-- {
		s := &e.trace[i]
		if s.obj == o && s.Goroutine == e.cur.id && s.Object == "" {
			s.Object = fmt.Sprintf("#%d", o.number)
			if !write && (s.Op == "CompareAndSwap" || s.Op == "TryLock") {
				s.Op += " fails"
			}
			return
		}
	}
}

// caller returns where the operation is in the program.
func caller() (where, function string) {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "/explore/sched.") && !strings.Contains(f.Function, "/explore/sim/") &&
			!strings.HasPrefix(f.Function, "runtime.") {
			dir, file := path.Split(f.File)
			return fmt.Sprintf("%s/%s:%d", path.Base(dir), file, f.Line), f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		}
		if !more {
			return "", ""
		}
	}
}

// Table writes steps as a table: those on objects that several goroutines use, and those at
// which another goroutine continues.
func Table(steps []Step) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "step\tgoroutine\tat\tin\toperation\tobject")
	last := -1
	for _, s := range steps {
		resumed := s.Goroutine != last
		last = s.Goroutine
		if !resumed && !(s.obj != nil && s.obj.several && s.obj.written) {
			continue
		}
		who := ""
		if resumed {
			who = fmt.Sprintf("%d %s", s.Goroutine, s.Name)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", s.N, who, s.Where, s.Function, s.Op, s.Object)
	}
	_ = w.Flush()
	return b.String()
}
