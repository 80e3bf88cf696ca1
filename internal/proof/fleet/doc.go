// Package fleet tests package policy/fleet with real processes, real servers and real
// failures. It contains only tests.
//
// TestFleet runs child processes, each with a fleet.Quota and a pool of TCP sessions, against
// a server in the parent process that counts the sessions: it is the judge. Children are
// killed and stopped, the engine is killed, stopped, and restarted with its data, with old
// data and without data, and children are cut off from it. The choices follow from a seed,
// which is printed. TestHistories checks claims of concurrent clients for linearizability.
//
//	RESPOOL_E2E=1 RESPOOL_FLEET=5m go test ./internal/proof/fleet -run TestFleet -timeout 30m
//	RESPOOL_E2E=1 RESPOOL_SEED=7 go test ./internal/proof/fleet
package fleet
