// Command smart is bench with two pools more, smartconnpool of vitess and the one in
// go-redis, whose modules want a newer Go than the others:
//
//	GOWORK=off go run -C internal/bench/smart . -rounds 3
package main

import (
	"os"

	"github.com/respool/respool/internal/bench/suite"
)

func main() { os.Exit(suite.Main(os.Args[1:], smart, goRedis)) }
