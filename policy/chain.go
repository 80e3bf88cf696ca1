package policy

import (
	"sync"

	"github.com/respool/respool/resource"
)

// chain is the permits that one request has of several policies. The function
// that gives them all back is made once and used again, with the chain, for
// later requests.
type chain struct {
	dones []resource.Done // in the order given
	done  resource.Done   // runs them all
}

var chains sync.Pool

func newChain() *chain {
	if c, ok := chains.Get().(*chain); ok {
		return c
	}
	c := &chain{dones: make([]resource.Done, 0, 4)}
	c.done = c.run
	return c
}

// permit is the Done for all that c holds. What is one or nothing needs no chain.
func (c *chain) permit() resource.Done {
	var done resource.Done
	switch len(c.dones) {
	case 0:
	case 1:
		done = c.pop()
	default:
		return c.done
	}
	chains.Put(c)
	return done
}

func (c *chain) pop() resource.Done {
	last := len(c.dones) - 1
	done := c.dones[last]
	c.dones[last] = nil
	c.dones = c.dones[:last]
	return done
}

// run tells every Done, the last one first, and ends the chain. One that panics
// or ends its goroutine keeps none of the others from being told.
func (c *chain) run(o resource.Outcome) {
	defer c.rest(o)
	for len(c.dones) > 0 {
		c.pop()(o)
	}
}

// rest is what run does after its loop, or after it was torn out of it.
func (c *chain) rest(o resource.Outcome) {
	if len(c.dones) > 0 {
		c.run(o)
		return
	}
	chains.Put(c)
}
