package puddlecompat_test

import (
	"context"
	"fmt"

	puddle "github.com/respool/respool/resource/puddlecompat"
)

// A program that uses puddle changes one import.
func Example() {
	n := 0
	pool, err := puddle.NewPool(&puddle.Config[int]{
		Constructor: func(context.Context) (int, error) { n++; return n, nil },
		Destructor:  func(n int) { fmt.Println("closed", n) },
		MaxSize:     4,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := pool.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("acquired", res.Value())
	res.Release()

	s := pool.Stat()
	fmt.Println(s.IdleResources(), "idle of", s.MaxResources())
	pool.Close()
	// Output:
	// acquired 1
	// 1 idle of 4
	// closed 1
}
