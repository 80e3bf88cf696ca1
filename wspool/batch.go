package wspool

import (
	"context"
	"fmt"
	"runtime"
	"slices"
)

// WriteBatch sends whole messages in order, with one system call if the network takes them at
// once, where [Conn.WriteMessage] makes one for each. Batches of up to 64 KiB (maxKept) reuse
// their buffer. It blocks and fails as WriteMessage.
//
// whole is how many messages may have left whole: all with a nil error. With an error, those
// from batch[whole] on have certainly not, so the peer cannot have read them: none if the write
// had not begun. The messages before batch[whole] may or may not have reached the peer. On a plain
// connection whole is exact; with TLS it may be too high.
func (c *Conn) WriteBatch(ctx context.Context, batch []Message) (whole int, err error) {
	defer runtime.KeepAlive(c)
	if len(batch) == 0 {
		return 0, nil
	}
	if err := c.checkBatch(batch); err != nil {
		return 0, err
	}
	l := c.link
	if err := c.readyToWrite(ctx, batch[0].Type); err != nil {
		return 0, err
	}
	defer c.finish()
	defer l.writeTurn.give()
	err = l.put(ctx, func() error { return c.writeAll(batch) })
	whole = l.frames.EndBatch()
	if err == nil {
		return len(batch), nil
	}
	return whole, c.orReleased(c.writeError(ctx, err))
}

// StartBatch is WriteBatch that never waits for the network. If it returns true it has returned
// before the batch was written, and calls done when it is, or has failed, on a goroutine of its
// own, with what WriteBatch returns; otherwise whole and err are that. done must not be nil.
// The bytes of the batch are not used any more when StartBatch has returned.
//
// While the batch is being written other writes of the lease wait for it; pings, pongs and the
// close frame are queued behind it. No context bounds the write: if the network takes nothing
// for [Config.WriteTimeout] it fails.
func (c *Conn) StartBatch(batch []Message, done func(whole int, err error)) (later bool, whole int, err error) {
	defer runtime.KeepAlive(c)
	if len(batch) == 0 {
		return false, 0, nil
	}
	if err := c.checkBatch(batch); err != nil {
		return false, 0, err
	}
	l := c.link
	l.mu.Lock()
	c.state.running++
	err = c.tryWriteLocked()
	if err == nil {
		c.state.sent()
		l.mu.Unlock()
		return c.deferAll(batch, done)
	}
	c.state.running--
	l.mu.Unlock()
	if err == errNotYet {
		own := cloned(batch)
		go func() {
			whole, err := c.WriteBatch(context.Background(), own)
			done(whole, err)
		}()
		return true, 0, nil
	}
	return false, 0, c.orReleased(err)
}

// deferAll writes the batch, for which the lease has the turn, without waiting.
func (c *Conn) deferAll(batch []Message, done func(whole int, err error)) (bool, int, error) {
	l := c.link
	l.raw.Defer()
	err := c.writeAll(batch)
	if l.heartbeat != nil {
		l.heartbeat.wrote(l.hub.clock.Now())
	}
	l.mu.Lock()
	l.senders++ // before it may end: destroy waits for it
	l.mu.Unlock()
	ended, left, broken := l.raw.TryEndDefer()
	if !ended {
		c.deferRest(batch, done)
		return true, 0, nil
	}
	if err == nil && broken == nil {
		l.frames.EndBatch()
		l.writeTurn.give()
		l.mu.Lock()
		l.sentLocked()
		c.state.running--
		l.mu.Unlock()
		return false, len(batch), nil
	}
	c.endDeferred(batch, left, err, broken, done)
	return true, 0, nil
}

// deferRest has done called when the batch, of which a part is written in the background, has
// ended.
func (c *Conn) deferRest(batch []Message, done func(whole int, err error)) {
	later, left, broken := c.link.raw.EndDefer(func(left uint64, broken error) {
		whole, err := c.deferred(batch, left, nil, broken)
		done(whole, err)
	})
	if !later { // it has ended meanwhile
		c.endDeferred(batch, left, nil, broken, done)
	}
}

// endDeferred is deferred on a goroutine of its own, since finding the reason of a failure may
// take a while.
func (c *Conn) endDeferred(batch []Message, left uint64, err, broken error, done func(whole int, err error)) {
	go func() {
		whole, err := c.deferred(batch, left, err, broken)
		done(whole, err)
	}()
}

// deferred ends a batch that was written in the background. left is how many bytes were not
// written, err and broken are the errors of gorilla's and of the deferred write.
func (c *Conn) deferred(batch []Message, left uint64, err, broken error) (whole int, _ error) {
	l := c.link
	whole = l.frames.EndBatch()
	if err == nil && left == 0 {
		whole++ // what follows the last message in the backlog is control frames
	}
	if err == nil {
		err = broken
	}
	if err != nil {
		l.markDirty(fmt.Errorf("%w: a write was broken off", ErrUnfinished), true)
	}
	l.writeTurn.give()
	l.mu.Lock()
	l.sentLocked()
	l.mu.Unlock()
	if err != nil {
		err = c.orReleased(c.writeError(context.Background(), err))
	} else {
		whole = len(batch)
	}
	c.finish()
	return whole, err
}

// writeAll writes the last message, and the others before it in the same call.
func (c *Conn) writeAll(batch []Message) error {
	l := c.link
	last := len(batch) - 1
	for _, m := range batch[:last] {
		l.frames.AddToBatch(m.Type, m.Data, l.hub.cfg.WriteFrameSize)
	}
	if last > 0 {
		l.mu.Lock()
		c.state.sentAll(last) // readyToWrite has counted one
		l.mu.Unlock()
	}
	return write(l, batch[last])
}

// cloned returns a copy of batch, with its bytes.
func cloned(batch []Message) []Message {
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Data = slices.Clone(batch[i].Data)
	}
	return batch
}

// checkBatch returns why a message cannot be sent.
func (c *Conn) checkBatch(batch []Message) error {
	for i, m := range batch {
		if !isData(m.Type) {
			return fmt.Errorf("wspool: write: message %d: %w", i, badType(m.Type))
		}
		if err := c.link.hub.checkText(m.Type, m.Data); err != nil {
			return fmt.Errorf("wspool: write: message %d: %w", i, err)
		}
	}
	return nil
}
