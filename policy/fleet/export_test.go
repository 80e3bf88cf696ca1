package fleet

import "time"

// NewStoppable is New. Every step of the Quota's own goroutines waits in stopped first.
func NewStoppable(cfg Config, stopped func()) (*Quota, error) { return newQuota(cfg, stopped) }

// Granted returns what the ledger has granted to each holder whose lease lasts.
func (m *Memory) Granted(quota string) map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]int)
	if b := m.books[quota]; b != nil {
		b.expire(time.Now())
		for _, r := range b.order {
			all[r.claim.Holder] = r.granted
		}
	}
	return all
}

// Divide is divide for members of these weights that want so many units; it returns their shares.
func Divide(units int, weights, wants []int) []int {
	parts := make([]part, len(weights))
	for i := range parts { // divide sorts them: begin with another order
		parts[len(parts)-1-i] = part{member: i, number: i, weight: weights[i], want: wants[i]}
	}
	divide(units, parts)
	shares := make([]int, len(weights))
	for _, p := range parts {
		shares[p.member] = p.share
	}
	return shares
}
