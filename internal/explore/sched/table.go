package sched

import (
	"fmt"
	"path"
	"runtime"
	"strings"
	"text/tabwriter"
)

// Step is an operation of a replayed schedule.
type Step struct {
	Goroutine int
	Name      string // of the goroutine
	Where     string // file:line
	Function  string
	Op        string
	Object    string

	obj *Obj // nil: it blocks
}

// note adds an operation that the goroutine that runs has done on o, once for each operation.
func (e *exec) note(o *Obj, write bool) {
	me := e.cur
	if me.noted || me.id < 0 {
		return
	}
	me.noted = true
	if o.number == 0 {
		e.objects++
		o.number = e.objects
	}
	s := Step{Goroutine: me.id, Name: me.name, Op: me.op.kind.String(), Object: fmt.Sprintf("#%d", o.number), obj: o}
	if k := me.op.kind; !write && (k == CompareAndSwap || k == TryLock) {
		s.Op += " fails"
	}
	s.Where, s.Function = caller()
	e.trace = append(e.trace, s)
}

// noteBlocked adds that the goroutine that runs is blocked.
func (e *exec) noteBlocked() {
	s := Step{Goroutine: e.cur.id, Name: e.cur.name, Op: e.cur.op.kind.String() + " blocks"}
	s.Where, s.Function = caller()
	e.trace = append(e.trace, s)
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

// Table writes operations as a table: those on objects that several goroutines use and one changes,
// and those at which another goroutine continues or one is blocked.
func Table(steps []Step) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "step\tgoroutine\tat\tin\toperation\tobject")
	last := -1
	for i, s := range steps {
		resumed := s.Goroutine != last
		last = s.Goroutine
		if !resumed && s.obj != nil && !(s.obj.several && s.obj.written) {
			continue
		}
		who := ""
		if resumed {
			who = fmt.Sprintf("%d %s", s.Goroutine, s.Name)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", i+1, who, s.Where, s.Function, s.Op, s.Object)
	}
	_ = w.Flush()
	return b.String()
}
