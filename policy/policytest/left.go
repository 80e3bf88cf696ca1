package policytest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"
)

// Goroutines inherit the profiler labels of the goroutine that started them. So
// those that a policy has started can be told from all others of the process.

const labelKey = "policytest"

var labels atomic.Int64

// label runs f on a goroutine of its own, which is labelled with what it
// returns; done is closed when f has ended, in whatever way.
func label(f func()) (id string, done <-chan struct{}) {
	id = fmt.Sprint(labels.Add(1))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(labelKey, id)))
		f()
	}()
	return id, ended
}

// wantNoneLeft waits until the goroutines labelled id have ended, and reports
// those that do not.
func (k *kit) wantNoneLeft(id string) {
	k.Helper()
	var left string
	for pause := moment; pause < prompt; pause *= 2 {
		if left = goroutines(id); left == "" {
			return
		}
		time.Sleep(pause)
	}
	k.errorf("goroutines are left behind (a policy that needs some for life has a method Close() error):\n%s", left)
}

// goroutines returns the stacks of the goroutines labelled id.
func goroutines(id string) string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return err.Error()
	}
	mine := fmt.Sprintf("%q:%q", labelKey, id)
	var left []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, mine) {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}
