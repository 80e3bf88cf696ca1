package scene

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
	pools "github.com/respool/respool/metrics/prometheus"
)

// livePath is the path of the live page, metricsPath that of the Prometheus scrape.
const (
	livePath    = "/debug/pools/"
	metricsPath = "/metrics"
)

// show serves the page of the pools at an address until stop is called. An address
// without a host is on loopback only: the page shows stacks.
func show(address string) (url string, stop func(), err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", nil, err
	}
	if host == "" {
		host = "localhost"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return "", nil, err
	}
	page := live.Handler(live.Config{})
	mux := http.NewServeMux()
	mux.Handle(livePath, page)
	registry := prometheus.NewRegistry()
	registry.MustRegister(pools.Of())
	mux.Handle(metricsPath, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/{$}", http.RedirectHandler(livePath, http.StatusFound))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	srv.RegisterOnShutdown(page.Close)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(listener) }) // until stop
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return "http://" + net.JoinHostPort(host, port) + livePath, func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close() // cuts off the remaining connections
		}
		page.Close()
		served.Wait()
	}, nil
}

// live serves the page if -live is set. The caller calls linger when the scene is over:
// it keeps the page up until ctx ends.
func (r *run) live(ctx context.Context) (linger func(), err error) {
	if r.set.live == "" {
		return func() {}, nil
	}
	url, stop, err := show(r.set.live)
	if err != nil {
		return nil, fmt.Errorf("-live: %w", err)
	}
	r.progress.note("live: %s shows the pools", url)
	return func() {
		if ctx.Err() == nil {
			r.progress.note("live: %s still shows them; interrupt to end", url)
		}
		<-ctx.Done()
		stop()
	}, nil
}

// meter makes the meter of a part.
func (r *run) meter(part string) (*metrics.Meter, error) {
	m, err := metrics.New("quickstart, "+part, metrics.Config{})
	if err == nil {
		r.meters = append(r.meters, m)
	}
	return m, err
}

// forget closes the meters.
func (r *run) forget() {
	for _, m := range r.meters {
		m.Close()
	}
}
