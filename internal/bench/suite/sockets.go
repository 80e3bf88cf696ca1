package suite

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// socketsRow has callers send a few bytes over a lent TCP connection and wait for
// the echo, as queries over a pool of database connections do.
func socketsRow(name string, kinds []peer.Kind, server *echoPeer, callers, conns int) row {
	r := row{name: name}
	for _, k := range kinds {
		r.entrants = append(r.entrants, entrant{k.Name, func(ctx context.Context, s size) (session, error) {
			a, err := server.open(ctx)
			if err != nil {
				return session{}, err
			}
			return session{
				measure: func(ctx context.Context) (sample, error) {
					return askSockets(ctx, k, a.TCP, callers, conns, s.micro)
				},
				close: server.close,
			}, nil
		}})
	}
	return r
}

// sockets are the connections that a pool made, by the ID of their item.
type sockets struct {
	mu  sync.Mutex
	all []net.Conn
}

func (x *sockets) dial(ctx context.Context, addr string) (*peer.Item, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = append(x.all, c)
	return &peer.Item{ID: len(x.all) - 1}, nil
}

func (x *sockets) conn(it *peer.Item) net.Conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all[it.ID]
}

func (x *sockets) close() (err error) {
	for _, c := range x.all {
		err = errors.Join(err, c.Close())
	}
	return err
}

// socketTimes is what one caller, or all, measured.
type socketTimes struct{ ops, releases []time.Duration }

func askSockets(ctx context.Context, k peer.Kind, addr string, callers, conns int, d time.Duration) (sample, error) {
	var made sockets
	make := func(ctx context.Context) (*peer.Item, error) { return made.dial(ctx, addr) }
	got, err := with(k, conns, make, func(p peer.Pool) (sample, error) {
		if err := p.Warm(ctx, conns); err != nil {
			return nil, err
		}
		each := slices.Repeat([]socketTimes{{}}, callers)
		begin, err := crowd(ctx, callers, func(ctx context.Context, i int) error {
			return each[i].ask(ctx, p, &made, d)
		})
		if err != nil {
			return nil, err
		}
		took := time.Since(begin)
		var all socketTimes
		for _, t := range each {
			all.ops = append(all.ops, t.ops...)
			all.releases = append(all.releases, t.releases...)
		}
		slices.Sort(all.ops)
		slices.Sort(all.releases)
		return sample{
			"op/s":           float64(len(all.ops)) / took.Seconds(),
			"p50 us":         micros(quantile(all.ops, 0.5)),
			"p99 us":         micros(quantile(all.ops, 0.99)),
			"release p99 us": micros(quantile(all.releases, 0.99)),
		}, nil
	})
	return got, errors.Join(err, made.close())
}

// ask makes round trips for d, at least one.
func (t *socketTimes) ask(ctx context.Context, p peer.Pool, made *sockets, d time.Duration) error {
	b := []byte("select 1")
	for begin := time.Now(); ; {
		asked := time.Now()
		l, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		c := made.conn(l.Item())
		if _, err = c.Write(b); err == nil {
			_, err = io.ReadFull(c, b)
		}
		answered := time.Now()
		l.Release()
		ended := time.Now()
		if err != nil {
			return err
		}
		t.ops = append(t.ops, ended.Sub(asked))
		t.releases = append(t.releases, ended.Sub(answered))
		if ended.Sub(begin) >= d {
			return nil
		}
	}
}

// quantile of sorted, of which there is at least one.
func quantile(sorted []time.Duration, share float64) time.Duration {
	return sorted[int(share*float64(len(sorted)-1))]
}

// serveEcho sends back what it reads, on each connection that l accepts.
func serveEcho(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(onlyWriter{c}, c)
		}()
	}
}

// onlyWriter hides that a connection can splice: a system call more for each echo.
type onlyWriter struct{ io.Writer }
