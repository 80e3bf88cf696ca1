// Command smart is bench with two more pools, vitess's smartconnpool and go-redis's,
// whose modules need a newer Go than the others:
//
//	GOWORK=off go run -C internal/bench/smart . -rounds 3
package main

import (
	"os"

	"github.com/respool/respool/internal/bench/suite"
)

func main() { os.Exit(suite.Main(os.Args[1:], smart, goRedis)) }
