package metrics

// For the tests of what has no face of its own.
var (
	Clean = clean
	Words = words
)

// Label is under what a destroyed resource is counted.
func (m *Meter) Label(cause error) string { return m.label(cause) }

// Refuser is under what a refusal is counted.
var Refuser = refuser

// StacksKept is how many stacks are kept as lines.
func StacksKept() int {
	resolved.mu.Lock()
	defer resolved.mu.Unlock()
	return len(resolved.known)
}
