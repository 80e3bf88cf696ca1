package metrics

import "encoding/json"

// Vars is an expvar.Var: what all meters of the process say, as JSON by name,
// each as its [Snapshot] is written, without resources, callers, leases and
// events.
//
//	expvar.Publish("respool", metrics.Vars{})
//
// This package does not import expvar itself: that would serve /debug/vars, with
// the command line, from every program that has a pool.
type Vars struct{}

// String writes the meters of [All].
func (Vars) String() string {
	all := make(map[string]Snapshot)
	for _, m := range All() {
		s := m.Snapshot(0)
		s.Events = nil
		all[m.name] = s
	}
	text, err := json.Marshal(all)
	if err != nil { // nothing in it can fail
		return "{}"
	}
	return string(text)
}
