package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// sizes are the models, with the memory in GiB that a context of each takes.
var sizes = map[string]int{"small": 4, "medium": 8, "large": 16}

var (
	errNoMemory = errors.New("out of memory")
	errModel    = errors.New("no such model")
)

// modelContext is a model that is loaded on the device. Only the holder of its lease uses it.
type modelContext struct {
	model string
	conn  net.Conn
	lines *bufio.Reader
}

// newPool returns a Keyed of contexts by model.
func newPool(addr string) (*resource.Keyed[string, *modelContext], error) {
	room := newMemory(deviceMemory)
	return resource.NewKeyed(resource.KeyedConfig[string, *modelContext]{
		MaxTotal: deviceMemory, // contexts; the memory is the limit that counts
		Config: func(model string) (c resource.Config[*modelContext], err error) {
			size, ok := sizes[model]
			if !ok {
				return c, fmt.Errorf("%w: %q", errModel, model)
			}
			part := room.part(size)
			return resource.Config[*modelContext]{
				Make:    func(ctx context.Context) (*modelContext, error) { return load(ctx, addr, model, size) },
				Destroy: func(c *modelContext, _ error) { c.unload() },
				Quota:   part,
				// Idle contexts are ended after a minute anyway, and at once where another model
				// waits for memory: the sweep is what finds them.
				Eviction:      policy.AnyOf(part, policy.MaxIdle(time.Minute)),
				SweepInterval: 20 * time.Millisecond,
				Describe:      func(c *modelContext) string { return c.model },
				MaxSize:       deviceMemory / size,
			}, nil
		},
	})
}

// load is Config.Make: it has the device load the model, which takes long, and ends with ctx.
func load(ctx context.Context, addr, model string, size int) (*modelContext, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &modelContext{model: model, conn: conn, lines: bufio.NewReader(conn)}
	answer, err := c.exchange(ctx, fmt.Sprintf("load %s %d", model, size))
	if err == nil && answer != loaded {
		err = errNoMemory
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// run has the model answer. When ctx ends the connection is closed, since the late answer must not be
// taken for that to the next question: the context is lost, as after any other error.
func (c *modelContext) run(ctx context.Context, text string) (string, error) {
	return c.exchange(ctx, "run "+text)
}

// unload has the device free the memory, and waits for that: the permit of the memory is returned
// when Destroy returns. If the connection has failed the device frees the memory by itself.
func (c *modelContext) unload() {
	ctx, cancel := context.WithTimeout(context.Background(), unloadTimeout)
	defer cancel()
	_, _ = c.exchange(ctx, "unload")
	c.conn.Close()
}

// unloadTimeout bounds one unload.
const unloadTimeout = time.Second

func (c *modelContext) exchange(ctx context.Context, line string) (answer string, err error) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer func() {
		if !stop() {
			answer, err = "", context.Cause(ctx)
		}
	}()
	if _, err := fmt.Fprintln(c.conn, line); err != nil {
		return "", err
	}
	answer, err = c.lines.ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}
