package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/internal/random"
	"github.com/respool/respool/resource"
)

// Stream receives the messages of one subscription. Make one with [Client.Stream]. One goroutine
// at a time calls Next; Close and Reply may be called from any.
type Stream struct {
	client *Client
	cfg    StreamConfig
	w      waiter

	// Guarded by mu, which is locked after that of a connection.
	mu              sync.Mutex
	conn            *conn // that it is on; nil: none
	id              uint64
	key             string // "": its messages have the id
	reply           Message
	buffer          streamBuffer
	last            Message
	err             error              // why no more messages come; nil: they may
	reading         context.Context    // of the Next that reads; nil: none has
	cancel          context.CancelFunc // interrupts that Next
	quit            context.CancelFunc // ends the attempts to resume; nil: there are none
	gap             *Gap               // since it has no connection
	lostAt          time.Time
	cause           error         // why it was lost last
	opening, moving bool          // a goroutine opens it, or resumes it
	resumedAt       time.Time     // when it was resumed last; zero: it was not
	pause           time.Duration // the upper bound of the pause before that
}

// waiting is a message in the buffer of a stream.
type waiting struct {
	Item
	key  []byte // by which Latest replaces it
	lost int    // messages that were dropped right before it
}

// streamBuffer holds the messages that wait to be read, and the gaps between them. No two gaps are
// neighbors, so there is at most one more than messages: else a server that accepts a request and
// ends the connection, again and again, would fill the buffer of a stream that is not read. Its user
// serializes the calls.
type streamBuffer struct {
	all   []waiting
	gaps  int // of all
	bytes int
	lost  int // messages that were dropped behind the last
	max   int
	most  int // bytes
}

// full reports whether there is no room for a message of n bytes. Gaps take no room: they must not be
// dropped.
func (b *streamBuffer) full(n int) bool {
	messages := len(b.all) - b.gaps
	return messages >= b.max || messages > 0 && b.bytes+n > b.most
}

// put adds a message. It returns how many messages were dropped, and false if the stream fails
// because there was no room.
func (b *streamBuffer) put(i Item, how Overflow, key []byte) (dropped int, ok bool) {
	if how == Latest {
		for k := range b.all {
			if e := &b.all[k]; e.Gap == nil && e.key != nil && bytes.Equal(e.key, key) {
				b.bytes += len(i.Data) - len(e.Data)
				e.Item = i
				for ; b.bytes > b.most && len(b.all)-b.gaps > 1; dropped++ {
					b.dropOldest()
				}
				return dropped, true
			}
		}
	}
	for b.full(len(i.Data)) {
		switch how {
		case Fail:
			return 0, false
		case DropNewest:
			b.lost++
			return 1, true
		}
		b.dropOldest()
		dropped++
	}
	b.add(i, key)
	return dropped, true
}

// add adds a message or a gap, whether or not there is room.
func (b *streamBuffer) add(i Item, key []byte) {
	if n := len(b.all); i.Gap != nil && n > 0 && b.all[n-1].Gap != nil {
		b.all[n-1].Gap.merge(b.lost, i.Gap)
		b.lost = 0
		return
	}
	b.all = append(b.all, waiting{Item: i, key: key, lost: b.lost})
	if i.Gap != nil {
		b.gaps++
	}
	b.bytes += len(i.Data)
	b.lost = 0
}

// merge makes g stand for next too, and for the lost messages between them. g is in a buffer, so the
// reader does not have it yet.
func (g *Gap) merge(lost int, next *Gap) {
	g.Cause, g.Reply = next.Cause, next.Reply
	g.Dropped += lost + next.Dropped
	g.Lasted += next.Lasted
}

// dropOldest drops the message that has waited longest; there is one. The gap before it stays, since
// the reader must get it; it is merged with a gap behind the message.
func (b *streamBuffer) dropOldest() {
	i := 0
	if b.all[0].Gap != nil {
		i = 1
	}
	b.bytes -= len(b.all[i].Data)
	lost := b.all[i].lost + 1
	b.remove(i)
	switch {
	case i == len(b.all):
		b.lost += lost
	case i == 1 && b.all[1].Gap != nil:
		b.all[0].Gap.merge(b.all[1].lost+lost, b.all[1].Gap)
		b.gaps--
		b.remove(1)
	default:
		b.all[i].lost += lost
	}
}

// remove removes the item at i, which is 0 or 1.
func (b *streamBuffer) remove(i int) {
	copy(b.all[1:], b.all[:i])
	b.all[0] = waiting{}
	b.all = b.all[1:]
}

// next takes out the next item. A gap comes before the message behind it.
func (b *streamBuffer) next() (i Item, ok bool) {
	lost := &b.lost
	if len(b.all) > 0 {
		lost = &b.all[0].lost
	}
	if n := *lost; n > 0 {
		*lost = 0
		return Item{Gap: &Gap{Dropped: n}}, true
	}
	if len(b.all) == 0 {
		return i, false
	}
	i = b.all[0].Item
	if i.Gap != nil {
		b.gaps--
	}
	b.bytes -= len(i.Data)
	b.all[0] = waiting{}
	if b.all = b.all[1:]; len(b.all) == 0 {
		b.all = nil
	}
	return i, true
}

// check names every bad field.
func (c *StreamConfig) check() error {
	switch {
	case c.Buffer < 0 || c.Bytes < 0:
		return errors.New("mux: bad StreamConfig: Buffer and Bytes must be at least 0")
	case c.Overflow > Latest:
		return errors.New("mux: bad StreamConfig: Overflow must be Fail, DropOldest, DropNewest or Latest")
	case c.Overflow == Latest && c.LatestBy == nil:
		return errors.New("mux: bad StreamConfig: LatestBy is required with Latest")
	}
	return nil
}

func newStream(c *Client, cfg StreamConfig) *Stream {
	s := &Stream{client: c, cfg: cfg, opening: true}
	s.w.init()
	s.buffer.max, s.buffer.most = cfg.Buffer, cfg.Bytes
	if cfg.Buffer == 0 {
		s.buffer.max = DefaultStreamBuffer
	}
	if cfg.Bytes == 0 {
		s.buffer.most = DefaultStreamBytes
	}
	return s
}

// Next returns the next message, or a gap. It blocks until there is one, and fails with ctx's
// error, which harms nothing; with [io.EOF] after the message with which the server ended the
// stream; with [ErrStreamClosed] after Close; with [ErrOverflow]; with [ErrClosed]; and with
// the error that ended its connection, or that a Resume met. What had arrived before is
// returned first, unless Close was called. The bytes of a message are the caller's.
func (s *Stream) Next(ctx context.Context) (Item, error) {
	for {
		s.w.ready.Store(false) // before looking: what arrives later sets it again
		s.mu.Lock()
		if s.err == ErrStreamClosed {
			s.mu.Unlock()
			return Item{}, ErrStreamClosed
		}
		if i, ok := s.buffer.next(); ok {
			s.mu.Unlock()
			return i, nil
		}
		if s.err != nil {
			defer s.mu.Unlock()
			return Item{}, s.err
		}
		// Not derived from ctx: with locks held the stream is interrupted, and ctx, which may be a
		// type of the user, would be asked for that.
		if s.reading == nil || s.reading.Err() != nil {
			s.reading, s.cancel = context.WithCancel(context.Background())
		}
		c, reading, cancel := s.conn, s.reading, s.cancel
		s.mu.Unlock()
		if ctx.Err() != nil {
			return Item{}, causeOf(ctx)
		}
		s.wait(ctx, c, reading, cancel)
	}
}

// wait waits until something has arrived, the stream has another connection than c, or ctx ends.
func (s *Stream) wait(ctx context.Context, c *conn, reading context.Context, cancel context.CancelFunc) {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, cancel)()
	}
	if c != nil {
		c.await(reading, &s.w)
		return
	}
	select {
	case <-s.w.wake:
	case <-reading.Done():
	}
}

// All returns the items of the stream, as Next does, up to its end: [io.EOF] ends the sequence,
// any other error is its last element. It closes the stream when the loop ends. Each step blocks
// as Next does.
func (s *Stream) All(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		defer s.Close()
		for {
			i, err := s.Next(ctx)
			if err == io.EOF || !yield(i, err) || err != nil {
				return
			}
		}
	}
}

// Reply returns the server's reply to the request of the stream, or to that with which it was
// resumed last. It is empty if the codec is no [Subscriber].
func (s *Stream) Reply() Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reply
}

// Close ends the stream, at the server too as far as the codec is a [Canceler], and does not
// wait for that. A Next that waits returns [ErrStreamClosed]. Close returns nil; another Close
// does nothing.
func (s *Stream) Close() error {
	s.finish(ErrStreamClosed, true)
	return nil
}

// finish ends the stream with err, unless it has ended before. If cancel is true, the codec's
// cancel message goes to the server.
func (s *Stream) finish(err error, cancel bool) {
	s.mu.Lock()
	if s.err != nil {
		if err == ErrStreamClosed {
			s.err = err
		}
		s.mu.Unlock()
		return
	}
	s.err = err
	c := s.conn
	s.interruptLocked()
	if s.quit != nil {
		s.quit()
	}
	s.mu.Unlock()
	if c != nil {
		c.detach(s, cancel)
	}
	s.w.arrived()
}

// interruptLocked makes a Next that reads look at the stream again.
func (s *Stream) interruptLocked() {
	if s.cancel != nil {
		s.cancel()
	}
}

// errLeft: the stream has ended, or has left the connection of the message.
var errLeft = errors.New("mux: stream is not on the connection")

// receive takes in a message from the connection. It returns how many were dropped, and errLeft, or
// an error with which the stream must end: its buffer was full or LatestBy failed.
func (s *Stream) receive(c *conn, m Message, end bool) (dropped int, err error) {
	var key []byte
	if s.cfg.Overflow == Latest {
		if err := s.client.guard("LatestBy", func() error { key = slices.Clone(s.cfg.LatestBy(m)); return nil }); err != nil {
			return 0, err
		}
		if key == nil {
			key = []byte{}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.conn != c { // Resume may have been asked already what follows the last one
		return 0, errLeft
	}
	s.resumedLocked()
	s.last = m
	if end {
		s.buffer.add(Item{Message: m, End: true}, nil)
		s.err, s.conn = io.EOF, nil
	} else if n, ok := s.buffer.put(Item{Message: m}, s.cfg.Overflow, key); !ok {
		return 0, ErrOverflow
	} else {
		dropped = n
	}
	s.w.arrived()
	return dropped, nil
}

// lost is called when the connection of the stream has ended.
func (s *Stream) lost(c *conn, cause error) { s.leave(c, cause, false) }

// move is called when the connection of the stream is drained, because the client is being closed or
// because of cause.
func (s *Stream) move(c *conn, cause error, closing bool) {
	switch {
	case closing:
		s.finish(ErrClosed, true)
	case s.cfg.Resume != nil:
		s.leave(c, cause, true)
	}
}

// leave has the stream resumed on another connection, or ends it.
func (s *Stream) leave(c *conn, cause error, alive bool) {
	s.mu.Lock()
	if s.err != nil || s.conn != c {
		s.mu.Unlock()
		return
	}
	settled := !s.opening && !s.moving // else the goroutine that moves it goes on
	if settled && s.cfg.Resume == nil {
		s.mu.Unlock()
		s.finish(cause, alive)
		return
	}
	s.conn, s.cause = nil, cause
	if !s.opening {
		s.moving = true
		if s.gap == nil {
			s.gap, s.lostAt = &Gap{Cause: cause}, time.Now()
		}
	}
	s.interruptLocked()
	s.mu.Unlock()
	c.detach(s, alive)
	if settled {
		s.startResume()
	}
}

// opened is called when the stream was opened.
func (s *Stream) opened() {
	s.mu.Lock()
	s.opening = false
	if s.conn != nil || s.err != nil {
		s.mu.Unlock()
		return
	}
	cause := s.cause // it was lost already
	s.gap, s.lostAt, s.moving = &Gap{Cause: cause}, time.Now(), true
	s.mu.Unlock()
	if s.cfg.Resume == nil {
		s.finish(cause, false)
		return
	}
	s.startResume()
}

func (s *Stream) startResume() {
	if !s.client.background(s.resume) {
		s.finish(ErrClosed, false)
	}
}

// The pauses between attempts to resume a stream. They go on growing if it is lost again within
// provenAfter: a server that accepts each request and ends the connection must not be asked without end.
const (
	firstPause  = 50 * time.Millisecond
	maxPause    = 5 * time.Second
	provenAfter = maxPause
)

// resume subscribes again, until that succeeds or the stream or the client ends.
func (s *Stream) resume() {
	// A stream that is closed must not wait for a connection any more, or send its request.
	ctx, cancel := context.WithCancel(s.client.ctx)
	defer cancel()
	pause := firstPause
	s.mu.Lock()
	s.quit = cancel
	if time.Since(s.resumedAt) < provenAfter {
		pause = min(2*s.pause, maxPause)
	}
	s.mu.Unlock()
	for ; ; pause = min(2*pause, maxPause) {
		t := time.NewTimer(random.N(pause)) // streams that were lost together do not come back together
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			s.finish(ErrClosed, false)
			return
		}
		s.mu.Lock()
		last, over, cause := s.last, s.err != nil, s.cause
		s.mu.Unlock()
		if over {
			return
		}
		var r Request
		again := false
		err := s.client.guard("Resume", func() error { r, again = s.cfg.Resume(last); return nil })
		switch {
		case err != nil:
			s.finish(err, false)
			return
		case !again:
			s.finish(cause, false)
			return
		}
		s.client.stats.resumes.Add(1)
		err = s.client.subscribe(ctx, s, &r)
		_, failed := err.(*CallError) // not errors.As: it may be the error of the user's StreamKey
		switch {
		case err == nil:
			s.mu.Lock()
			s.resumedAt, s.pause = time.Now(), pause
			s.moving = s.conn == nil && s.err == nil // it was lost again already
			if !s.moving && s.err == nil {
				s.resumedLocked()
			}
			c, over, done := s.conn, s.err != nil, !s.moving
			s.mu.Unlock()
			if over && c != nil { // it was closed meanwhile
				c.detach(s, true)
			}
			if done {
				return
			}
		case !failed: // the server refuses
			s.finish(err, false)
			return
		}
	}
}

// attachLocked puts the stream on the connection.
func (c *conn) attachLocked(s *Stream, id uint64, key string, reply Message) {
	if c.streams == nil {
		c.streams, c.keys = make(map[*Stream]struct{}), make(map[string]*Stream)
	}
	c.streams[s] = struct{}{}
	if key != "" {
		c.keys[key] = s
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.id, s.key, s.reply = c, id, key, reply
	if c.client.subscriber != nil {
		s.resumedLocked()
	}
	s.interruptLocked()
}

// resumedLocked reports the gap to the reader once the stream has been resumed: the server has
// accepted the request, or, if nothing says that it has, the request is written or a message has
// arrived. If the connection is lost before that, the same gap goes on.
func (s *Stream) resumedLocked() {
	if s.gap == nil {
		return
	}
	s.gap.Lasted, s.gap.Reply = time.Since(s.lostAt), s.reply
	s.buffer.add(Item{Gap: s.gap}, nil)
	s.gap = nil
	s.client.stats.gaps.Add(1)
	s.w.arrived()
	s.interruptLocked() // the Next that reads
}

// detachLocked takes the stream whose request k was off the connection, if it was put there
// before the server had accepted it.
func (c *conn) detachLocked(k *call) {
	if k.stream == nil || c.client.subscriber != nil {
		return
	}
	s := k.stream
	delete(c.streams, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == c {
		s.conn = nil
	}
}

// detach removes the stream from the connection. If cancel is true, the codec's cancel message
// goes to the server.
func (c *conn) detach(s *Stream, cancel bool) {
	c.mu.Lock()
	if _, on := c.streams[s]; !on {
		c.mu.Unlock()
		return
	}
	delete(c.streams, s)
	s.mu.Lock()
	id, key := s.id, ""
	for k, of := range c.keys {
		if of == s {
			key = k
			delete(c.keys, k)
		}
	}
	if s.conn == c {
		s.conn = nil
	}
	s.mu.Unlock()
	if e := c.slots.find(id); key == "" && e != nil && e.owner != nil && e.owner.stream == s {
		c.load.Add(-e.owner.cost)
		if cancel && c.client.final {
			c.dirty = true
			c.slots.release(id)
		} else {
			c.slots.abandon(id, c.client.ticks.Load(), false)
		}
	}
	if key != "" {
		c.dirty = true // no message says that the server has ended it
	}
	alone := c.exclusive
	c.unlock(true)
	if cancel {
		var k []byte
		if key != "" {
			k = []byte(key)
		}
		c.sendCancel(id, k)
	}
	if alone {
		c.drain(ErrStreamClosed)
	}
}

// answerStream deals with a message that has the id of a stream's request. k is the request; nil:
// the stream was given up before the server replied. It unlocks mu.
//
// If a stream that was given up has been accepted it is canceled, and the connection is dirty: the
// server may have sent messages of it. A refusal leaves nothing. A stream with the key of another one is
// treated alike, but fails with ErrDuplicateKey, and the cancel message has no key, which would end the
// other one.
func (c *conn) answerStream(k *call, f Frame, m Message) {
	if c.client.subscriber == nil {
		s := k.stream
		if f.Kind != Part {
			c.slots.release(f.ID)
			c.load.Add(-k.cost)
			delete(c.streams, s)
			f.Kind = End
		}
		c.unlock(f.Kind != Part)
		c.toStream(s, f, m)
		return
	}
	if f.Kind == Part {
		c.mu.Unlock()
		c.drop(f, len(m.Data), DropUnwanted, nil)
		return
	}
	c.mu.Unlock()
	m.Data = slices.Clone(m.Data)
	var key []byte
	broke, err := true, fmt.Errorf("%w: Subscriber.StreamKey", resource.ErrGoexit) // unless it returns
	defer func() { c.startStream(k, f, m, key, broke, err) }()
	key, broke, err = c.client.streamKey(m)
}

// startStream puts the stream of k on the connection, or has its request fail with err. For the other
// arguments see answerStream and Client.streamKey.
func (c *conn) startStream(k *call, f Frame, m Message, key []byte, broke bool, err error) {
	c.mu.Lock()
	e := c.slots.find(f.ID)
	if e == nil {
		c.mu.Unlock() // the connection has ended
		return
	}
	given := e.state == orphan // until here, so that rest has not given the connection back as clean
	accepted := err == nil
	if accepted && len(key) > 0 && c.keys[string(key)] != nil {
		key, err = nil, ErrDuplicateKey
	}
	c.dirty = c.dirty || accepted && (given || err != nil) || broke
	c.slots.release(f.ID)
	var late *Stream // on a connection whose streams have left it
	if !given {
		c.load.Add(-k.cost)
		if k.reply, k.err, k.fate = m, err, nil; err == nil {
			c.attachLocked(k.stream, f.ID, string(key), m)
			if c.state != open || c.closing {
				late = k.stream
			}
		}
		c.stats.calls++
		k.arrived()
	}
	cause, closing := c.cause, c.closing
	c.unlock(true)
	if late != nil {
		late.move(c, cause, closing)
	}
	if accepted && (given || err != nil) {
		c.sendCancel(f.ID, key)
	}
	if given {
		c.drop(f, len(m.Data), DropLate, nil)
	}
}

// toStream delivers a message to a stream; nil: it has ended, or there was none.
func (c *conn) toStream(s *Stream, f Frame, m Message) {
	if s == nil {
		c.drop(f, len(m.Data), DropLate, nil)
		return
	}
	m.Data = slices.Clone(m.Data)
	dropped, err := s.receive(c, m, f.Kind == End)
	switch {
	case err == errLeft:
		c.drop(f, len(m.Data), DropLate, nil)
	case dropped > 0 || err != nil:
		c.drop(f, len(m.Data), DropOverflow, nil)
	}
	switch {
	case err == errLeft:
	case err != nil:
		s.finish(err, true)
	case f.Kind == End:
		c.mu.Lock()
		delete(c.streams, s)
		for k, of := range c.keys {
			if of == s {
				delete(c.keys, k)
			}
		}
		alone := c.exclusive
		c.unlock(false)
		if alone {
			c.drain(ErrStreamClosed)
		}
	}
}
