// Package runtime stands for runtime in a program under the scheduler.
package runtime

import (
	"runtime"

	"github.com/respool/respool/internal/explore/sched"
)

// Constants of package runtime.
const (
	GOOS     = runtime.GOOS
	GOARCH   = runtime.GOARCH
	Compiler = runtime.Compiler
)

// Functions of package runtime that are the same under the scheduler.
var (
	Goexit       = runtime.Goexit
	GC           = runtime.GC
	Caller       = runtime.Caller
	Callers      = runtime.Callers
	FuncForPC    = runtime.FuncForPC
	Stack        = runtime.Stack
	ReadMemStats = runtime.ReadMemStats
	Version      = runtime.Version
)

// MemStats is runtime.MemStats.
type MemStats = runtime.MemStats

// Gosched is that of package runtime.
func Gosched() { sched.Gosched() }

// GOMAXPROCS returns 1: what depends on it is the same in every execution and on every machine.
func GOMAXPROCS(int) int { return 1 }

// NumCPU returns 1.
func NumCPU() int { return 1 }

// KeepAlive does nothing.
func KeepAlive(any) {}

// SetFinalizer does nothing: no finalizer runs in an execution.
func SetFinalizer(any, any) {}

// Cleanup is runtime.Cleanup.
type Cleanup struct{}

// Stop does nothing.
func (Cleanup) Stop() {}

// AddCleanup does nothing: nothing is collected in an execution.
func AddCleanup[T, S any](*T, func(S), S) Cleanup { return Cleanup{} }
