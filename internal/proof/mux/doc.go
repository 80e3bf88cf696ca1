// Package mux tests package wspool/mux from outside. It contains only tests:
//
//   - TestModel runs random scripts of calls, streams, cancels, repeated, late and unknown replies,
//     lost and drained connections in virtual time, and compares the client with a sequential
//     model after each step. A failing script is minimized, printed, and stored in a file that
//     replays it.
//   - TestLinear makes calls from many goroutines to a server with lists, while connections are cut,
//     and checks with porcupine that the history is linearizable by the fates that the callers were
//     told: a call that was not sent has no effect, one that may have run has at most one.
package mux
