// Package proof tests the contract of package resource from outside, through its exported
// API. It contains only tests, and is a module of its own so that no other module needs
// its libraries.
//
// Three harnesses test the same contract in three ways:
//
//   - TestModel runs random scripts in virtual time and compares the pool with a sequential
//     model after every step. A failing script is minimized, printed, and stored in a file
//     that replays it.
//   - TestLinear records concurrent calls in real time and checks with porcupine that they
//     are linearizable.
//   - TestStress runs random operations on many goroutines and checks the totals.
//
// Each harness must also detect planted faults: the plain pool in plain_test.go, which is
// slow and simple, passes all three, and fails them with each fault that it can be given.
//
// The packages below test other parts: compose combines admissions at random, adapters runs
// the adapters of package policy with the libraries that they are made for, sim runs whole
// pools through outages and overload, isolation and scenes test package wspool, mux tests
// package wspool/mux, endpoints and resolvers run random histories through package endpoint,
// and ledger checks histories of the ledgers of policy/fleet. The program soak runs all packages
// together against hostile servers, for hours.
//
// The command mutants, a module of its own, changes the code of the packages under test in one
// place at a time and lists the changes that none of their tests notices.
//
// To run them longer, or with the same random choices:
//
//	go test ./internal/proof -run TestModel -rapid.checks=100000
//	RESPOOL_STRESS=10m go test ./internal/proof -run TestStress
//	RESPOOL_SEED=7 go test ./internal/proof -run 'TestStress|TestLinear'
//	go test ./internal/proof/mux -run TestModel -rapid.checks=100000
//	go run ./internal/proof/soak -for 8h -seed 7
//	RESPOOL_LEDGER_CLAIMS=1000000 go test ./internal/proof/ledger -timeout 1h
package proof
