package metrics

// Label is under what a destroyed resource is counted.
func (m *Meter) Label(cause error) string { return m.label(cause) }

// Refuser is under what a refusal is counted.
var Refuser = refuser
