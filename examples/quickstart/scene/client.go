package scene

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// client is one speaker and the results of its utterances. Only its own goroutine uses
// it until that has ended.
type client struct {
	*speaker
	timeout time.Duration
	strict  bool
	said    func() // called after each utterance

	asked, right, wrong, lost, refused, unchecked int             // refused: by the Admission
	latencies                                     []time.Duration // of right replies
	err                                           error           // the first one, refusals excepted
}

// talk says n utterances one after the other. It stops early between two utterances
// when ctx ends, and after a lost one: if every utterance is lost, n timeouts are too
// long to wait.
func (c *client) talk(ctx context.Context, side Side, n int) {
	for i := range n {
		if ctx.Err() != nil || c.lost > 0 {
			return
		}
		c.say(ctx, side, i)
		c.said()
	}
}

// say sends the i-th utterance and checks the reply. It finishes the utterance even if
// ctx ends: that is what draining means.
func (c *client) say(ctx context.Context, side Side, i int) {
	u, h := c.next(i)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	c.asked++
	begun := time.Now()
	data, err := side.Say(ctx, u)
	took := time.Since(begun)
	// A MakeGate refuses a dial while the server is down: that is not a refusal of the
	// limiter, and the utterance is lost.
	if errors.Is(err, resource.ErrRejected) && !errors.Is(err, resource.ErrMakeRefused) {
		c.refused++
		return
	}
	if err != nil {
		c.lost++
		c.blame(err)
		return
	}
	checked, err := check(data, u.ID, h, c.strict)
	if err != nil {
		c.wrong++
		c.blame(err)
		return
	}
	if !checked {
		c.unchecked++
	}
	c.right++
	c.latencies = append(c.latencies, took)
}

func (c *client) blame(err error) {
	if c.err == nil {
		c.err = err
	}
}

// crowd makes the clients of one part of the scene; done counts their utterances.
func crowd(s setting, seed uint32, part string, n, utterances int, done *atomic.Int64) []*client {
	all := make([]*client, n)
	for i := range all {
		all[i] = &client{
			speaker:   newSpeaker(clientName(part, i), seed, s.chunks, s.chunkBytes),
			timeout:   s.timeout,
			strict:    s.url == "",
			said:      func() { done.Add(1) },
			latencies: make([]time.Duration, 0, utterances),
		}
	}
	return all
}
