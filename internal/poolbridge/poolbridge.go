// Package poolbridge gives package wspool what it needs of package resource and what is no part of
// the API of resource. Package resource sets the functions when it is initialized.
package poolbridge

// TurnAway has a *resource.Pool refuse all callers that wait, and all that come to wait, with that
// cause, as if its MakeGate had refused a creation. It does so until TurnAway is called with nil. What
// is idle is still lent.
var TurnAway func(pool any, cause error)
