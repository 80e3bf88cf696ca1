// Command smart is bench with one pool more, smartconnpool of vitess, whose module
// is too large for the others to require:
//
//	GOWORK=off go run -C internal/bench/smart . -rounds 3
package main

import (
	"os"

	"github.com/respool/respool/internal/bench/suite"
)

func main() { os.Exit(suite.Main(os.Args[1:], smart)) }
