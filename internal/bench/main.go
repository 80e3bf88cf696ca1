// Command bench measures respool beside other pools, in turns, on the machine
// it runs on, and holds the figures against the project's goals.
//
//	go run ./internal/bench                   # every row, five rounds
//	go run ./internal/bench -only 'spike|storm' -rounds 9
//	go run ./internal/bench -check            # fails and names what missed its goal
//
// The small rows are also Go benchmarks, with key=value names for benchstat:
//
//	go test -run='^$' -bench=. ./internal/bench/suite
//
// Within a round the pools take turns, and the ratio is taken round by round:
// nanoseconds drift with the machine, ratios much less.
package main

import (
	"os"

	"github.com/respool/respool/internal/bench/suite"
)

func main() { os.Exit(suite.Main(os.Args[1:])) }
