// Package endpoints runs random histories of endpoints through an endpoint.Set in virtual
// time: answers of the resolver, failures, probes, drains, uses. After each step it checks what must
// always hold: the limit of ejections, that something is ranked while there is anything, that nothing
// that drains is ranked, that only a probe readmits. Planted faults show that it would notice.
package endpoints
