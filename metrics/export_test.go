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
