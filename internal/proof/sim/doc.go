// Package sim simulates whole pools with their policies and a backend in virtual time:
// minutes of outage or overload take about a second. It contains only tests. Each checks
// stated goals, and logs a table that compares the results with the obvious alternative:
//
//	go test ./internal/proof/sim -v
//
// Arrivals and service times are drawn from a seed, which is logged; RESPOOL_SEED repeats
// them.
package sim
