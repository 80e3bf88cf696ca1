//go:build unix

package live

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// CPU time and memory that viewers cost which reconnect with another view each
// time, over real sockets, with 10,000 resources. It measures and asserts nothing.
func BenchmarkReconnecting(b *testing.B) {
	m := many(10_000)
	p := Handler(Config{Meters: func() []Meter { return []Meter{m} }, Limit: 10_000})
	srv := httptest.NewServer(p)
	defer srv.Close()
	defer p.Close()
	var shown atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	begun := cpuTime()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				r, _ := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/events?pool=many&find=%d", srv.URL, n*40+i), nil)
				got, err := srv.Client().Do(r)
				if err != nil {
					continue
				}
				if n, _ := io.CopyN(io.Discard, got.Body, 2000); n == 2000 {
					shown.Add(1)
				}
				got.Body.Close()
				if got.StatusCode != http.StatusOK { // what a refusal costs is not what is measured
					time.Sleep(100 * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.HeapSys)/(1<<20), "MiB")
	b.ReportMetric((cpuTime() - begun).Seconds(), "cpu-s")
	b.ReportMetric(float64(shown.Load()), "shown")
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
