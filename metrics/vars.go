package metrics

import "encoding/json"

// Vars is an expvar.Var: a JSON object with the [Snapshot] of each meter of the
// process by name, without resources, waiting callers, leases and events.
//
//	expvar.Publish("respool", metrics.Vars{})
//
// This package does not import expvar: the import alone would serve /debug/vars, with
// the command line, in every program that has a pool.
type Vars struct{}

// String returns the JSON.
func (Vars) String() string {
	all := make(map[string]Snapshot)
	for _, m := range All() {
		s := m.Snapshot(0)
		s.Events = nil
		all[m.name] = s
	}
	text, err := json.Marshal(all)
	if err != nil { // cannot happen
		return "{}"
	}
	return string(text)
}
