package policy

import (
	"sync"

	"github.com/respool/respool/resource"
)

// held is what one request was given by several policies so far.
type held struct {
	one  resource.Done // if it is one
	more *chain        // if it is more
}

func (h *held) add(done resource.Done) {
	switch {
	case done == nil:
	case h.more != nil:
		h.more.dones = append(h.more.dones, done)
	case h.one != nil:
		h.more = newChain()
		h.more.dones = append(h.more.dones, h.one, done)
		h.one = nil
	default:
		h.one = done
	}
}

// permit is the Done for all that is held; nil if that is nothing.
func (h *held) permit() resource.Done {
	if h.more != nil {
		return h.more.done
	}
	return h.one
}

// chain is several Dones that one function calls. That function is made once
// and used again, with the chain, for later requests.
type chain struct {
	dones []resource.Done // in the order given
	done  resource.Done   // calls them
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

// run calls every Done, the last one first, and ends the chain. One that panics
// or ends its goroutine keeps none of the others from being called.
func (c *chain) run(o resource.Outcome) {
	defer c.rest(o)
	for last := len(c.dones) - 1; last >= 0; last-- {
		done := c.dones[last]
		c.dones[last] = nil
		c.dones = c.dones[:last]
		done(o)
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
