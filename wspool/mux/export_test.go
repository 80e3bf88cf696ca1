package mux

import "fmt"

// CheckLoad returns an error if the load of a connection is not the cost of what is in flight on it.
func CheckLoad(c *Client) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range c.all {
		n.mu.Lock()
		var cost int64
		for i := range n.slots.all {
			if s := &n.slots.all[i]; s.state == queued || s.state == flying {
				cost += s.owner.cost
			}
		}
		load, state := n.load.Load(), n.state
		n.mu.Unlock()
		if load != cost && state != ended {
			return fmt.Errorf("connection %d has a load of %d, and what is in flight costs %d", n.id, load, cost)
		}
	}
	return nil
}
