package comingfrom_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/respool/respool/resource"
)

func Example_withPuddle() {
	var s service
	ctx := context.Background()
	pool, err := puddle.NewPool(&puddle.Config[*Session]{
		Constructor: s.open,
		Destructor:  func(s *Session) { s.Close() },
		MaxSize:     8,
	})
	if err != nil {
		log.Fatal(err)
	}
	res, err := pool.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := res.Value().Ask(ctx, "well")
	if err != nil {
		res.Destroy()
	} else {
		res.Release()
	}
	fmt.Println(answer, err)
	pool.Close() // waits for every resource, however long
	// Output:
	// well? yes, says 1 <nil>
}

func Example_afterPuddle() {
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
	err = pool.Do(ctx, func(ctx context.Context, s *Session) error {
		answer, err := s.Ask(ctx, "well")
		fmt.Println(answer, err)
		return err // nil releases the session, an error destroys it
	})
	if err != nil {
		log.Print(err)
	}
	if err := pool.Close(ctx); err != nil {
		log.Print(err) // says what has not ended
	}
	// Output:
	// well? yes, says 1 <nil>
}

// With puddle a handle that was released becomes valid again when another caller acquires
// the resource: a second release takes the resource from its new holder.
func Example_staleHandle() {
	var s service
	ctx := context.Background()
	theirs, err := puddle.NewPool(&puddle.Config[*Session]{Constructor: s.open, MaxSize: 8})
	if err != nil {
		log.Fatal(err)
	}
	a, _ := theirs.Acquire(ctx)
	a.Release()
	b, _ := theirs.Acquire(ctx)
	a.Release() // by mistake
	c, _ := theirs.Acquire(ctx)
	fmt.Println("puddle: two holders of one session:", b.Value() == c.Value())

	ours, err := resource.New(resource.Config[*Session]{Make: s.open, MaxSize: 8})
	if err != nil {
		log.Fatal(err)
	}
	d, _ := ours.Acquire(ctx)
	d.Release()
	e, _ := ours.Acquire(ctx)
	d.Release() // by mistake
	f, _ := ours.Acquire(ctx)
	fmt.Println("resource: two holders of one session:", e.Value() == f.Value())
	e.Release()
	f.Release()
	fmt.Println(ours.Close(ctx))
	// Output:
	// puddle: two holders of one session: true
	// resource: two holders of one session: false
	// <nil>
}
