package resource_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// session is a connection to a server that may have forgotten it.
type session struct{ forgotten bool }

func (s *session) ping(context.Context) error {
	if s.forgotten {
		return errors.New("the server does not know this session")
	}
	return nil
}

// pingIdle is a Health that pings a session, before it is lent and in the background, if it was
// idle for that time and was not checked in that time: Due decides so at no cost, and Check
// does the work.
type pingIdle struct{ idle time.Duration }

// Due makes pingIdle a Scheduled.
func (h *pingIdle) Due(i resource.Info) bool { return i.Idle >= h.idle && i.Checked >= h.idle }

func (h *pingIdle) Check(ctx context.Context, s *session, _ resource.Info) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // otherwise a silent server takes all of the caller's time
	defer cancel()
	return s.ping(ctx)
}

// A session that has died while it was idle is not lent. One that was just in use is lent
// without a check.
func ExampleHealth() {
	made := 0
	pool, err := resource.New(resource.Config[*session]{
		Make:    func(context.Context) (*session, error) { made++; return &session{}, nil },
		Health:  &pingIdle{500 * time.Millisecond},
		MaxSize: 4,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer pool.Close(ctx)

	var last *session
	use := func() {
		err := pool.Do(ctx, func(_ context.Context, s *session) error {
			fmt.Println("the same session:", s == last)
			last = s
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	use()
	use()
	last.forgotten = true
	time.Sleep(time.Second) // it is idle for long enough to be checked
	use()
	fmt.Println("made:", made)
	// Output:
	// the same session: false
	// the same session: true
	// the same session: false
	// made: 2
}
