package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
)

// A viewer has the live page of all pools served, and reads it.
type viewer struct {
	page   *live.Page
	server *http.Server
	at     string
	client http.Client
	all    sync.WaitGroup
}

func newViewer(l *load) (*viewer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &viewer{page: live.Handler(live.Config{Every: 200 * time.Millisecond}), at: "http://" + listener.Addr().String() + "/"}
	v.client.Transport = &http.Transport{DisableKeepAlives: true} // nothing of it is left at a checkpoint
	v.server = &http.Server{Handler: v.page}
	v.all.Go(func() { _ = v.server.Serve(listener) })
	return v, nil
}

func (v *viewer) start(l *load) {
	l.keep(700*time.Millisecond, func(w *worker) {
		if err := v.read(w); err != nil {
			w.violation("live page", "%v", err)
		}
	})
}

// read reads the page once, in one of its forms.
func (v *viewer) read(w *worker) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	switch w.rand.IntN(3) {
	case 0:
		var got struct {
			Pools []struct{ Name, Problem string }
		}
		if err := v.get(ctx, "pools.json", &got); err != nil {
			return err
		}
		if len(got.Pools) == 0 {
			return fmt.Errorf("pools.json has no pool")
		}
		for _, p := range got.Pools {
			if p.Problem != "" {
				return fmt.Errorf("pool %s is not shown: %s", p.Name, p.Problem)
			}
		}
		return nil
	case 1:
		all := metrics.All()
		if len(all) == 0 {
			return fmt.Errorf("no meter is registered")
		}
		name := all[w.rand.IntN(len(all))].Name()
		var got struct {
			Pool struct{ Name, Problem string }
		}
		err := v.get(ctx, "pool.json?pool="+url.QueryEscape(name), &got)
		if err == errGone { // it was closed in the meantime
			return nil
		}
		if err == nil && (got.Pool.Problem != "" || got.Pool.Name != name) {
			return fmt.Errorf("pool %s is not shown: %+v", name, got.Pool)
		}
		return err
	default: // the stream, for some updates
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.at+"events", nil)
		if err != nil {
			return err
		}
		resp, err := v.client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		n, err := io.CopyN(io.Discard, resp.Body, 4<<10)
		if err != nil {
			return fmt.Errorf("the stream of the page ends after %d bytes: %w", n, err)
		}
		return nil
	}
}

var errGone = fmt.Errorf("soak: no such pool")

// get reads JSON.
func (v *viewer) get(ctx context.Context, path string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.at+path, nil)
	if err != nil {
		return err
	}
	resp, err := v.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errGone
	default:
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (v *viewer) close() {
	v.page.Close()
	_ = v.server.Close()
	v.all.Wait()
}
