// Package metrics watches pools: see [Meter].
package metrics
