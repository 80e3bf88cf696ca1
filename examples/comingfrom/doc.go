// Package comingfrom shows programs with other pools, or without one, beside the same
// programs with this one: with puddle, database/sql, a channel, a sync.Pool, and a mutex
// around WebSocket connections. It consists of tested examples, which docs/coming-from-go.md
// quotes.
package comingfrom
