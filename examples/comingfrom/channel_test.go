package comingfrom_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/respool/respool/resource"
)

// channelPool is the pool that fits on a page: a channel of sessions, and one of slots.
type channelPool struct {
	open  func(context.Context) (*Session, error)
	idle  chan *Session
	slots chan struct{}
}

func newChannelPool(max int, open func(context.Context) (*Session, error)) *channelPool {
	return &channelPool{open, make(chan *Session, max), make(chan struct{}, max)}
}

func (p *channelPool) get(ctx context.Context) (*Session, error) {
	select {
	case s := <-p.idle:
		return s, nil
	default:
	}
	select {
	case s := <-p.idle:
		return s, nil
	case p.slots <- struct{}{}:
		s, err := p.open(ctx) // the caller waits for it, even if another session comes back
		if err != nil {
			<-p.slots
		}
		return s, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *channelPool) put(s *Session) { p.idle <- s }

// The only session is in use, and opening another one takes long. When the session is put
// back, the caller of the channel still waits for the one that it opens itself.
func Example_lateRelease() {
	var s service
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	opening, finish := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context) (*Session, error) {
		opening <- struct{}{}
		<-finish
		return s.open(ctx)
	}

	theirs := newChannelPool(2, slow)
	theirs.put(&Session{}) // the only one
	first, _ := theirs.get(ctx)
	got := make(chan *Session)
	go func() {
		session, _ := theirs.get(ctx)
		got <- session
	}()
	<-opening
	theirs.put(first)
	select {
	case <-got:
		fmt.Println("channel: the caller has the session that came back")
	case <-time.After(10 * time.Millisecond):
		fmt.Println("channel: the caller waits, although a session is idle:", len(theirs.idle))
	}
	finish <- struct{}{}
	<-got

	ours, err := resource.New(resource.Config[*Session]{Make: slow, MaxSize: 2})
	if err != nil {
		log.Fatal(err)
	}
	go func() { <-opening; finish <- struct{}{} }()
	lease, err := ours.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	session := lease.Value()
	second := make(chan resource.Lease[*Session])
	go func() {
		lease, _ := ours.Acquire(ctx)
		second <- lease
	}()
	<-opening
	lease.Release()
	same := <-second
	fmt.Println("resource: the caller has the session that came back:", same.Value() == session)
	same.Release()
	finish <- struct{}{} // the other one is idle, for the next caller
	fmt.Println(ours.Close(ctx))
	// Output:
	// channel: the caller waits, although a session is idle: 1
	// resource: the caller has the session that came back: true
	// <nil>
}
