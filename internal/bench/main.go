// Command bench measures respool beside other pools, in turns, on the machine
// it runs on, and holds the figures against the project's goals.
//
//	go run ./internal/bench                   # every row, five rounds: half an hour
//	go run ./internal/bench -only 'spike|storm' -rounds 9
//	go run ./internal/bench -only museum      # who has which defect: under a minute
//	go run ./internal/bench -check            # fails and names what missed its goal
//
// A whole run, from the root of the repository, writes internal/bench/REPORT.md
// and its plots. What -json printed can be completed or done again in part:
//
//	go run ./internal/bench -json >run.json
//	go run ./internal/bench -only '^ws-hot' -with run.json -report internal/bench
//
// With -samples every sample goes into a file for benchstat. The loops are Go
// benchmarks too, with key=value names:
//
//	go test -run='^$' -bench=. ./internal/bench/suite
//
// Within a round the pools take turns, and the ratio is taken round by round:
// nanoseconds drift with the machine, ratios much less. The folder smart is the
// same program with two pools more, whose modules want a newer Go.
package main

import (
	"os"

	"github.com/respool/respool/internal/bench/suite"
)

func main() { os.Exit(suite.Main(os.Args[1:])) }
