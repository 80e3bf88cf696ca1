// Package proof holds package resource to its contract from outside, through
// its public face alone. It has no code of its own, only tests, and is a
// module of its own so that the libraries it needs are nobody else's.
//
// Three harnesses look at the same promises from three sides:
//
//   - TestModel runs random scripts in virtual time and compares the pool with
//     a sequential model after every step. A failing script is printed, made
//     small, and kept in a file that replays it.
//   - TestLinear records what concurrent callers saw in real time and asks
//     porcupine whether some order of those calls explains it.
//   - TestStress lets many goroutines do anything at once, and counts.
//
// Each of them must also catch planted bugs: the plain pool of plain_test.go,
// which is slow and simple, passes all three, and fails them once for each way
// in which it can be broken.
//
// The policies are held to theirs in packages below: compose puts admissions
// together at random, adapters runs them around the libraries that they are made
// for, and sim runs whole pools through outages and overload. Package wspool is
// held to its in tenants and scenes.
//
// How long they run:
//
//	go test ./internal/proof -run TestModel -rapid.checks=100000
//	RESPOOL_STRESS=10m go test ./internal/proof -run TestStress
//	RESPOOL_SEED=7 go test ./internal/proof -run 'TestStress|TestLinear'
package proof
