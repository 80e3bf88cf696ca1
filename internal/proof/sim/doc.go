// Package sim plays scenes in virtual time: clients, a backend with its failures, and between
// them the real pools, policies, balancers and quotas of this module. Minutes of outage or
// overload take about a second. Each [Scene] is a promise, with goals that it must meet beside
// the obvious alternative that does not:
//
//	go test ./internal/proof/sim
//	go run ./internal/proof/simulate -list
//
// A scene runs in bubbles of testing/synctest. The pool uses package time, so only the runtime
// can make its time virtual, and only a test can open a bubble: package simulate therefore
// runs the scenes as tests of package testing, without the go command.
//
// A scene is repeated exactly by its seed. For that, within a bubble, one processor runs all
// goroutines, the random numbers of this module follow from the seed (package
// internal/random), and no two things happen at the same virtual instant, because the
// runtime orders the timers of one instant at random. Which of several idle resources a pool
// lends depends on the addresses of stacks; where that matters a scene sets
// resource.OldestFirst. The race detector has goroutines run in random order, so under it a
// scene varies a little.
package sim
