//go:build race

package sim_test

// scrambled is whether goroutines that are ready at the same time run in random order.
const scrambled = true
