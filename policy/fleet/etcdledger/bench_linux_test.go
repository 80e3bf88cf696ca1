package etcdledger

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/respool/respool/policy/fleet"
)

// counted counts the requests of a store.
type counted struct {
	store
	commits *atomic.Int64
}

func (c counted) commit(ctx context.Context, t txn) (committed, content, error) {
	c.commits.Add(1)
	return c.store.commit(ctx, t)
}

// BenchmarkClaim makes claims of that many holders on one real member, at most so many at
// once. Renewals change nothing; changes alternate between one unit and two. Each holder has
// a ledger of its own, as in processes of their own; they share a connection.
func BenchmarkClaim(b *testing.B) {
	for _, c := range []struct{ holders, atOnce, most int }{
		{10, 1, 1}, {100, 1, 1}, {200, 1, 1}, {200, 200, 1},
		{10, 1, 2}, {100, 1, 2}, {200, 1, 2}, {10, 10, 2}, {100, 100, 2}, {200, 200, 2},
	} {
		n, atOnce := c.holders, c.atOnce
		kind := []string{1: "renewals", 2: "changes"}[c.most]
		{
			b.Run(fmt.Sprintf("%s/holders=%d/at-once=%d", kind, n, atOnce), func(b *testing.B) {
				m := servers(b, 1)[0]
				client, err := clientv3.New(config(m))
				if err != nil {
					b.Fatal(err)
				}
				defer client.Close()
				var commits atomic.Int64
				ledgers := make([]*Ledger, n)
				claims := make([]fleet.Claim, n)
				for i := range n {
					ledgers[i] = newLedger(counted{newEtcd(client), &commits}, Options{})
					claims[i] = claim(fmt.Sprint("h", i), 1, 1, 1)
					claims[i].Lease, claims[i].Limit = time.Hour, 2*n
					if _, err := ledgers[i].Claim(b.Context(), claims[i]); err != nil {
						b.Fatal(err)
					}
				}
				commits.Store(0)
				b.ResetTimer()
				var longest atomic.Int64
				var next atomic.Int64
				var wg sync.WaitGroup
				for w := range atOnce {
					wg.Go(func() {
						for i := w; next.Add(1) <= int64(b.N); i = (i + atOnce) % n {
							if atOnce == n {
								i = w
							}
							claims[i].Seq++
							claims[i].Want = 1 + int(claims[i].Seq)%c.most
							began := time.Now()
							if _, err := ledgers[i].Claim(b.Context(), claims[i]); err != nil {
								b.Error(err)
								return
							}
							d := int64(time.Since(began))
							for old := longest.Load(); d > old && !longest.CompareAndSwap(old, d); old = longest.Load() {
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
				b.ReportMetric(float64(commits.Load())/float64(b.N), "txns/claim")
				b.ReportMetric(float64(longest.Load())/1e6, "longest-ms")
			})
		}
	}
}
