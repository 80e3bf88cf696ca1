// Package mux shares a few connections of a [wspool.Pool] among many calls: requests and
// replies are matched by ids, so that many are in flight on one connection at once.
package mux
