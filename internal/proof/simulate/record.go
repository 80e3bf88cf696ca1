package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/respool/respool/internal/proof/sim"
	"github.com/respool/respool/resource"
)

// A burst is recorded from a real pool of TCP connections to a server on loopback, in real time.
// Three users come and go all the time; every 45 s forty more come for a few seconds, as after
// a notification. A request has the server hash some hundred kilobytes and then wait, as for a disk.

const (
	regulars  = 3
	wave      = 40
	waveEvery = 45 * time.Second
	waveFirst = 10 * time.Second
	requests  = 20 // of each user of a wave
)

// recordTo records into a file.
func recordTo(file string, lasts time.Duration) error {
	all, err := record(lasts)
	if err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	comment := fmt.Sprintf("recorded with: go run ./internal/proof/simulate -record FILE -for %v\n%d leases of TCP connections to a server on loopback: arrival and hold time, in microseconds", lasts, len(all))
	return errors.Join(sim.WriteArrivals(f, comment, all), f.Close())
}

// record returns the arrivals at a pool that is used for that time.
func record(lasts time.Duration) (_ []sim.Arrival, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(conn) })
		}
	})
	recorder := sim.NewRecorder()
	pool, err := resource.New(resource.Config[net.Conn]{
		MaxSize: 2 * (regulars + wave), Trace: recorder.Trace(), SampleLeases: 1,
		Make: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", listener.Addr().String())
		},
		Destroy: func(c net.Conn, _ error) { _ = c.Close() },
	})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	var users sync.WaitGroup
	var failed onceError
	for range regulars {
		users.Go(func() {
			for ctx.Err() == nil {
				failed.set(request(ctx, pool))
				pause(ctx, 300*time.Millisecond)
			}
		})
	}
	timer := time.NewTimer(waveFirst)
	defer timer.Stop()
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			waiting = false
		case <-timer.C:
			timer.Reset(waveEvery)
			for range wave {
				users.Go(func() {
					pause(ctx, time.Second)
					for range requests {
						failed.set(request(ctx, pool))
						pause(ctx, 100*time.Millisecond)
					}
				})
			}
		}
	}
	users.Wait()
	err = errors.Join(failed.err, pool.Close(context.Background()), listener.Close())
	serving.Wait()
	return recorder.Arrivals(), err
}

// onceError keeps the first error.
type onceError struct {
	mu  sync.Mutex
	err error
}

func (e *onceError) set(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
}

// pause waits for a random time with that mean, or until ctx ends.
func pause(ctx context.Context, mean time.Duration) {
	select {
	case <-time.After(time.Duration(rand.ExpFloat64() * float64(mean))):
	case <-ctx.Done():
	}
}

// request makes one request. The end of ctx is no error.
func request(ctx context.Context, pool *resource.Pool[net.Conn]) error {
	err := pool.Do(ctx, func(_ context.Context, c net.Conn) error {
		kilobytes := uint32(100 * (1 + rand.ExpFloat64()))
		if err := binary.Write(c, binary.BigEndian, kilobytes); err != nil {
			return err
		}
		var sum [sha256.Size]byte
		_, err := io.ReadFull(c, sum[:])
		return err
	})
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// serve answers the requests of one connection until it ends.
func serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	block := make([]byte, 1024)
	for {
		var kilobytes uint32
		if binary.Read(r, binary.BigEndian, &kilobytes) != nil {
			return
		}
		h := sha256.New()
		for range kilobytes {
			h.Write(block)
		}
		time.Sleep(time.Duration((0.5 + rand.ExpFloat64()) * float64(30*time.Millisecond)))
		if _, err := c.Write(h.Sum(nil)); err != nil {
			return
		}
	}
}
