package explore

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Edit replaces a text of a file, which must be there exactly once.
type Edit struct {
	File string // as go list knows it, without the path of this module
	Old  string
	New  string
}

// Bug is a planted bug: one place of the protocol is changed. All bugs are built into one program, which
// has at most one of them at a time: the function that is changed runs in the old or in the new form.
type Bug struct {
	Name  string
	Scene string // that finds it
	Edit
}

// patches replace what differs from one execution to the next although the program does the same, and
// what only adds schedules that do not differ.
var patches = []Edit{
	// The address of the stack of a goroutine is another one each time.
	{"resource/idle.go", `	var here byte
	h := uint64(uintptr(unsafe.Pointer(&here))) >> 10
	return int(h*0x9E3779B97F4A7C15>>32) & (n - 1)`, `	_ = unsafe.Pointer(nil)
	return xplr.Slot() & (n - 1)`},
	// A caller that finds the lock held only counts that, and the count matters from 160 on, which no
	// scene reaches. Without the attempt a lock is one operation, and to wait for it is none.
	{"resource/dispatch.go", `	if !p.mu.TryLock() {
		p.mu.Lock()
		p.idle.meet()
	}`, `	p.mu.Lock()`},
	// The order of a map is another one each time.
	{"internal/keymap/keymap.go", `	return es
`, `	xplr.SortBy(es, func(e Entry[K, V]) any { return e.Key })
	return es
`},
	{"internal/budget/budget.go", `type Budget struct {
`, `type Budget struct {
	joined int
`},
	{"internal/budget/budget.go", `	return &Share{b: b, m: m, claimIndex: -1, idleIndex: -1}
`, `	b.joined++
	return &Share{b: b, m: m, claimIndex: -1, idleIndex: -1, number: b.joined}
`},
	{"internal/budget/budget.go", `	for s := range b.ending {
`, `	for _, s := range inOrder(b.ending) {
`},
	{"internal/budget/share.go", `type Share struct {
`, `type Share struct {
	number int
`},
	{"internal/budget/settle.go", `const maxSteps = 64
`, `const maxSteps = 64

func inOrder(m map[*Share]struct{}) []*Share {
	return slices.SortedFunc(maps.Keys(m), func(s, t *Share) int { return s.number - t.number })
}
`},
	{"internal/budget/settle.go", `slices.Collect(maps.Keys(b.awake))`, `inOrder(b.awake)`},
	{"internal/budget/settle.go", `	for s := range b.noIdle {
		if seen++`, `	for _, s := range inOrder(b.noIdle) {
		if seen++`},
	{"internal/budget/settle.go", `	for s := range b.noIdle {
		b.restoreLocked(s)`, `	for _, s := range inOrder(b.noIdle) {
		b.restoreLocked(s)`},
	// A connection of a scene stands for a socket, with its own functions for system calls. It rings
	// no bell, so a watcher stays.
	{"wspool/internal/wsconn/socket_unix.go", `	case *net.UnixConn:
		raw, err = c.SyscallConn()
`, `	case *net.UnixConn:
		raw, err = c.SyscallConn()
	case kernel:
		raw, err = c.SyscallConn()
`},
	{"wspool/internal/wsconn/guard.go", `	case *net.TCPConn, *net.UnixConn:
		return c
`, `	case *net.TCPConn, *net.UnixConn, kernel:
		return c
`},
	{"wspool/internal/wsconn/socket_unix.go", `type socket struct {
`, `type kernel interface {
	syscall.Conn
	ReadNow(p []byte) (int, error)
	WriteNow(p []byte) (int, error)
	Look() error
}

type socket struct {
`},
	{"wspool/internal/wsconn/socket_unix.go", `syscall.Read(int(fd), s.p)`, `s.conn.(kernel).ReadNow(s.p)`},
	{"wspool/internal/wsconn/socket_unix.go", `syscall.Write(int(fd), s.out)`, `s.conn.(kernel).WriteNow(s.out)`},
	{"wspool/internal/wsconn/socket_unix.go", `_, _, s.peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)`,
		`_, s.peeked = b, s.conn.(kernel).Look()`},
	{"wspool/link.go", `if s := l.raw.SyscallConn(); s != nil {`, `if s := l.raw.SyscallConn(); false {`},
	// A number that outlives an execution.
	{"wspool/mux/conn.go", `c.cfg.MaxInFlight+c.cfg.mostOrphans()+1, usedIDs.Load())`, `c.cfg.MaxInFlight+c.cfg.mostOrphans()+1, 0)`},
}

// edits applies edits.
type edits struct {
	patches []Edit
	bugs    []Bug
	applied int
}

func newEdits(patches []Edit, bugs []Bug) *edits { return &edits{patches: patches, bugs: bugs} }

// apply returns the source of a file with the edits that belong to it.
func (e *edits) apply(file string, source []byte) ([]byte, error) {
	for _, p := range e.patches {
		if p.File == file {
			at, err := p.find(source)
			if err != nil {
				return nil, err
			}
			source = p.replace(source, at)
			e.applied++
		}
	}
	type insertion struct {
		at   int
		text string
	}
	var all []insertion
	for i, b := range e.bugs {
		if b.File != file {
			continue
		}
		at, text, err := b.variant(i+1, source)
		if err != nil {
			return nil, fmt.Errorf("explore: bug %q: %w", b.Name, err)
		}
		all = append(all, insertion{at, text})
		e.applied++
	}
	slices.SortStableFunc(all, func(a, b insertion) int { return b.at - a.at })
	for _, x := range all {
		source = slices.Concat(source[:x.at], []byte(x.text), source[x.at:])
	}
	return source, nil
}

// replace applies the edit. The lines behind it keep their numbers.
func (x *Edit) replace(source []byte, at int) []byte {
	rest := at + len(x.Old)
	if n := bytes.IndexByte(source[rest:], '\n'); n >= 0 {
		n += rest + 1
		next := bytes.Count(source[:n], []byte("\n"))
		return slices.Concat(source[:at], []byte(x.New), source[rest:n],
			fmt.Appendf(nil, "//line %s:%d\n", path.Base(x.File), lines(source)[next]), source[n:])
	}
	return slices.Concat(source[:at], []byte(x.New), source[rest:])
}

// lines returns the line number of each line of a file as its line directives have it.
func lines(source []byte) (numbers []int) {
	n := 1
	for line := range bytes.Lines(source) {
		numbers = append(numbers, n)
		n++
		if to, ok := bytes.CutPrefix(line, []byte("//line ")); ok {
			if k, err := strconv.Atoi(string(bytes.TrimSpace(to[bytes.LastIndexByte(to, ':')+1:]))); err == nil {
				n = k
			}
		}
	}
	return append(numbers, n)
}

// done returns an error if an edit was not applied.
func (e *edits) done() error {
	if n := len(e.patches) + len(e.bugs); e.applied != n {
		return fmt.Errorf("explore: %d of %d edits were applied: a file is not among those built", e.applied, n)
	}
	return nil
}

// find returns where the old text is.
func (x *Edit) find(source []byte) (int, error) {
	at := bytes.Index(source, []byte(x.Old))
	if at < 0 {
		return 0, fmt.Errorf("%s does not contain %q", x.File, x.Old)
	}
	if bytes.Contains(source[at+1:], []byte(x.Old)) {
		return 0, fmt.Errorf("%s contains %q more than once", x.File, x.Old)
	}
	return at, nil
}

// variant returns a statement that runs the function as it is with the bug, and where it belongs.
func (b *Bug) variant(number int, source []byte) (at int, text string, err error) {
	if at, err = b.find(source); err != nil {
		return 0, "", err
	}
	old, fset, err := enclosing(source, at)
	if err != nil {
		return 0, "", err
	}
	changed := slices.Concat(source[:at], []byte(b.New), source[at+len(b.Old):])
	now, nowSet, err := enclosing(changed, at)
	if err != nil {
		return 0, "", err
	}
	if old.Name.Name != now.Name.Name {
		return 0, "", errors.New("the change is not inside of one function")
	}
	open := fset.Position(old.Body.Lbrace)
	body := changed[nowSet.Position(now.Body.Lbrace).Offset+1 : nowSet.Position(now.Body.Rbrace).Offset]
	var w strings.Builder
	file := path.Base(b.File) // the directory is that of the file
	fmt.Fprintf(&w, "\nif %s.Bug == %d {\n//line %s:%d\n%s\n", alias, number, file, open.Line, body)
	if old.Type.Results == nil {
		w.WriteString("return\n")
	}
	fmt.Fprintf(&w, "}\n//line %s:%d\n", file, open.Line)
	return open.Offset + 1, w.String(), nil
}

// enclosing returns the function that contains an offset.
func enclosing(source []byte, at int) (*ast.FuncDecl, *token.FileSet, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if ok && fn.Body != nil && fset.Position(fn.Body.Lbrace).Offset < at && at < fset.Position(fn.Body.Rbrace).Offset {
			return fn, fset, nil
		}
	}
	return nil, nil, errors.New("no function contains it")
}
