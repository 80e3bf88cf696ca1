// Command bench measures respool beside other pools, in turns, on the machine it runs
// on, and compares the figures with the project's goals.
//
//	go run ./internal/bench                    # every row, five rounds: half an hour
//	go run ./internal/bench -list              # the rows and their entrants
//	go run ./internal/bench -only 'spike|storm' -rounds 9
//	go run ./internal/bench -only conformance  # which pool has which known defect: under a minute
//	go run ./internal/bench -check             # fails and names the goals that are missed
//
// A whole run, from the root of the repository, writes internal/bench/REPORT.md and its
// plots, unless the machine is busy with other programs. A run that -json printed can
// be completed, measured again in part, or only rendered again:
//
//	go run ./internal/bench -json >run.json
//	go run ./internal/bench -only '^ws-hot' -with run.json -report internal/bench
//	go run ./internal/bench -render run.json
//
// With -samples every sample goes into a file for benchstat. The loops are Go
// benchmarks too, with key=value names:
//
//	go test -run='^$' -bench=. ./internal/bench/suite
//
// The pools take turns within a round, and the ratio is taken round by round:
// nanoseconds drift with the machine, ratios much less. The folder smart is the same
// program with two more pools, whose modules need a newer Go.
package main

import (
	"os"

	"github.com/respool/respool/internal/bench/suite"
)

func main() { os.Exit(suite.Main(os.Args[1:])) }
