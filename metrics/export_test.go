package metrics

// Label is under what a destroyed resource is counted.
func (m *Meter) Label(cause error) string {
	l, _ := m.label(cause)
	return l
}

// Refuser is under what a refusal is counted.
var Refuser = refuser

// StacksKept is how many stacks are kept as lines.
func StacksKept() int {
	resolved.mu.Lock()
	defer resolved.mu.Unlock()
	return len(resolved.known)
}

// Bounds of histories.
const (
	HistoryEvery = historyEvery
	MaxPoints    = maxPoints
	MaxHistories = maxHistories
)

// Histories is the number of histories that are being kept.
func Histories() int64 { return histories.Load() }

// HistoryRoom is the number of points that the history has memory for.
func (m *Meter) HistoryRoom() int { return cap(m.history.points) }

// Remember takes a point at once.
func (m *Meter) Remember() { m.remember() }
