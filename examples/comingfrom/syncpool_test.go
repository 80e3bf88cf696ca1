package comingfrom_test

import (
	"context"
	"fmt"
	"log"
	"runtime"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// A sync.Pool is for memory. It drops what is idle when the garbage collector runs, without
// a call that could close it, and bounds nothing.
func Example_syncPool() {
	var s service
	pool := sync.Pool{New: func() any {
		session, _ := s.open(context.Background()) // New cannot fail
		return session
	}}
	for range 2 {
		session := pool.Get().(*Session)
		if _, err := session.Ask(context.Background(), "well"); err != nil {
			log.Print(err)
		}
		pool.Put(session)
		runtime.GC() // may run at any time; what is idle is gone
		runtime.GC() // after the second collection at the latest
	}
	fmt.Println(s.opened.Load(), "opened,", s.closed.Load(), "closed")
	// Output:
	// 2 opened, 0 closed
}

func Example_afterSyncPool() {
	var s service
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := resource.New(resource.Config[*Session]{
		Make:    s.open,
		Destroy: func(s *Session, cause error) { s.Close() },
		MaxSize: 8,
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		err := pool.Do(ctx, func(ctx context.Context, s *Session) error {
			_, err := s.Ask(ctx, "well")
			return err
		})
		if err != nil {
			log.Print(err)
		}
		runtime.GC()
	}
	fmt.Println(pool.Close(ctx))
	fmt.Println(s.opened.Load(), "opened,", s.closed.Load(), "closed")
	// Output:
	// <nil>
	// 1 opened, 1 closed
}
