// Package sim runs whole pools with their policies against a made-up backend,
// in virtual time: minutes of outage or overload in a second or so. It has no
// code of its own, only tests. Each holds the goals that it names, and logs a
// table of what it saw, beside that of the obvious way to do it:
//
//	go test ./internal/proof/sim -v
//
// Arrivals and services are drawn from a seed, which is logged; RESPOOL_SEED
// in the environment replays it.
package sim
