package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// A book records which sessions of one pool exist, and which tenant holds each, independently of the
// pool.
type book struct {
	name    string
	journal *journal
	most    int64 // sessions that may exist at once
	target  func() (addr string, secure *tls.Config)

	shared *allotment // of several books; nil: none

	slots atomic.Int64 // sessions that exist, are being created or are being destroyed

	mu   sync.Mutex
	live map[*session]bool
}

// session is a resource: a connection of lines to a tcpServer.
type session struct {
	book       *book
	conn       net.Conn
	in         *bufio.Reader
	owner      atomic.Int64 // the tenant that has it; 0: none
	fate       atomic.Int32
	late       bool // its context had ended before Make returned: it has no slot
	invalidate atomic.Pointer[func(error)]
}

const (
	alive int32 = iota
	destroyed
	hijacked
)

var (
	errPlanned = errors.New("soak: planned failure")
	errBusy    = errors.New("soak: the server refuses sessions")
)

func newBook(name string, j *journal, most int, target func() (string, *tls.Config)) *book {
	return &book{name: name, journal: j, most: int64(most), target: target, live: map[*session]bool{}}
}

// allotment is what the pools of several books may have together.
type allotment struct {
	most  int64
	slots atomic.Int64
	// excused reports whether more are no violation now.
	excused func() bool
}

// occupy notes that a session is about to be created.
func (b *book) occupy() {
	if n := b.slots.Add(1); n > b.most {
		b.journal.violation(b.name, "I1: %d sessions exist, are created or destroyed, of at most %d", n, b.most)
	}
	if a := b.shared; a != nil {
		if n := a.slots.Add(1); n > a.most && !a.excused() {
			b.journal.violation(b.name, "%d sessions of all pools exist, are created or destroyed, of at most %d", n, a.most)
		}
	}
}

// free notes that a session has ended.
func (b *book) free() {
	b.slots.Add(-1)
	if b.shared != nil {
		b.shared.slots.Add(-1)
	}
}

// make is the Make of a pool.
func (b *book) make(ctx context.Context) (*session, error) { return b.makeFor(ctx, b.target) }

// makeFor is make for one of several servers.
func (b *book) makeFor(ctx context.Context, target func() (string, *tls.Config)) (*session, error) {
	b.occupy()
	var freed atomic.Bool
	free := func() {
		if freed.CompareAndSwap(false, true) {
			b.free()
		}
	}
	inTime := context.AfterFunc(ctx, free) // the pool soon no longer counts the creation
	x := &session{book: b}
	ok := false
	defer func() {
		if x.late = !inTime(); !ok || x.late {
			free() // also if the other goroutine is about to: the pool counts the creation no more when this returns
		}
	}()
	if rand.IntN(400) == 0 {
		panic(errPlanned)
	}
	if err := x.dial(ctx, target); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.live[x] = true
	b.mu.Unlock()
	ok = true
	return x, nil
}

// dial connects and reads the greeting.
func (x *session) dial(ctx context.Context, target func() (string, *tls.Config)) error {
	addr, secure := target()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	greet := func() error {
		x.conn = raw
		if secure != nil {
			s := tls.Client(raw, secure)
			if err := s.HandshakeContext(ctx); err != nil {
				return err
			}
			x.conn = s
		}
		x.in = bufio.NewReader(x.conn)
		line, err := x.in.ReadString('\n')
		switch {
		case err != nil:
			return err
		case line == "busy\n":
			return errBusy
		case !strings.HasPrefix(line, "hello "):
			x.book.journal.violation(x.book.name, "a session is greeted with %q", line)
			return errPlanned
		}
		return nil
	}
	err = greet()
	if !stop() && err == nil {
		err = context.Cause(ctx) // raw is closed
	}
	if err != nil {
		raw.Close()
	}
	return err
}

// watch is the Watch of a pool.
func (b *book) watch(x *session, invalidate func(error)) { x.invalidate.Store(&invalidate) }

// destroy is the Destroy of a pool.
func (b *book) destroy(x *session, cause error) {
	b.end(x, destroyed, fmt.Sprint("destroyed: ", cause))
	if o := x.owner.Load(); o != 0 {
		b.journal.violation(b.name, "I2: a session is destroyed (%v) while tenant %d has it", cause, o)
	}
	x.conn.Close()
	if !x.late {
		b.free()
	}
	if rand.IntN(500) == 0 {
		panic(errPlanned)
	}
}

// end takes x out of the book.
func (b *book) end(x *session, fate int32, why string) {
	if !x.fate.CompareAndSwap(alive, fate) {
		b.journal.violation(b.name, "I3: a session ends twice: %s, and before %d", why, x.fate.Load())
	}
	b.mu.Lock()
	delete(b.live, x)
	b.mu.Unlock()
}

// alive returns how many sessions exist.
func (b *book) alive() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.live)
}

// some returns a session; nil: there is none.
func (b *book) some() *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	for x := range b.live {
		return x
	}
	return nil
}

// take notes that tenant has x.
func (x *session) take(tenant int64) {
	if o := x.owner.Swap(tenant); o != 0 {
		x.book.journal.violation(x.book.name, "I2: a session is lent to tenant %d while tenant %d has it", tenant, o)
	}
	if f := x.fate.Load(); f != alive {
		x.book.journal.violation(x.book.name, "I3: a session is lent to tenant %d after its end (%d)", tenant, f)
	}
}

// drop notes that tenant no longer has x.
func (x *session) drop(tenant int64) {
	if !x.owner.CompareAndSwap(tenant, 0) {
		x.book.journal.violation(x.book.name, "I2: the session of tenant %d belongs to tenant %d", tenant, x.owner.Load())
	}
}

// ask sends a line and reads the answer. ctx bounds it. If it fails the answer may still come, so
// the session cannot be used any more, though a policy may tolerate a failed check.
func (x *session) ask(ctx context.Context, line string) (answer string, err error) {
	defer func() {
		if err != nil {
			x.conn.Close()
		}
	}()
	if d, ok := ctx.Deadline(); ok {
		_ = x.conn.SetDeadline(d)
	} else {
		_ = x.conn.SetDeadline(time.Now().Add(time.Second))
	}
	if _, err := x.conn.Write([]byte(line + "\n")); err != nil {
		return "", err
	}
	if answer, err = x.in.ReadString('\n'); err != nil {
		return "", err
	}
	return strings.TrimSuffix(answer, "\n"), nil
}

// work makes one call, and checks that the answer is its own.
func (x *session) work(ctx context.Context, tenant int64, call uint64, size int, mode string) error {
	answer, err := x.ask(ctx, fmt.Sprintf("work %d %d %d %s", tenant, call, size, mode))
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%d %d %s", tenant, call, strings.Repeat("x", size)); answer != want {
		x.book.journal.violation(x.book.name, "I13: call %d of tenant %d has the answer %.80q", call, tenant, answer)
	}
	return nil
}

// reset is the OnRelease of a pool.
func (b *book) reset(ctx context.Context, x *session) error {
	if o := x.owner.Load(); o != 0 {
		b.journal.violation(b.name, "I2: a session is reset while tenant %d has it", o)
	}
	answer, err := x.ask(ctx, "reset")
	if err == nil && answer != "clean" {
		b.journal.violation(b.name, "I13: a reset has the answer %.80q", answer)
	}
	return err
}

// ping is a health check.
func (b *book) ping(ctx context.Context, x *session) error {
	if o := x.owner.Load(); o != 0 {
		b.journal.violation(b.name, "I2: a session is checked while tenant %d has it", o)
	}
	if rand.IntN(300) == 0 {
		panic(errPlanned)
	}
	answer, err := x.ask(ctx, "ping")
	if err == nil && answer != "pong" {
		b.journal.violation(b.name, "I13: a ping has the answer %.80q", answer)
	}
	return err
}

// permits counts the permits of an Admission that are out.
type permits struct {
	name    string
	journal *journal
	next    resource.Admission
	plant   bool
	out     atomic.Int64
}

// Admit implements [resource.Admission].
func (p *permits) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	done, err := p.next.Admit(ctx, r)
	if err != nil {
		return nil, err
	}
	p.out.Add(1)
	var returned atomic.Bool
	return func(o resource.Outcome) {
		if !returned.CompareAndSwap(false, true) {
			p.journal.violation(p.name, "I4: a permit is returned twice")
		}
		if !p.plant {
			p.out.Add(-1)
		}
		if done != nil {
			done(o)
		}
	}, nil
}

// FollowSize implements [resource.SizeFollower].
func (p *permits) FollowSize(from, to int) {
	if f, ok := p.next.(resource.SizeFollower); ok {
		f.FollowSize(from, to)
	}
}

// SharedQuotas implements [resource.QuotaReporter].
func (p *permits) SharedQuotas() []resource.SharedQuota {
	if q, ok := p.next.(resource.QuotaReporter); ok {
		return q.SharedQuotas()
	}
	return nil
}
