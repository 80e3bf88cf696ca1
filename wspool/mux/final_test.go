package mux_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/wspool/mux"
)

// The first Part is the reply to a call that is no stream, once the End has arrived.
func TestCall_Parts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, listenMem(t, func(p *peer) {
			for {
				_, id, what, ok := p.read()
				if !ok {
					return
				}
				switch what {
				case "result":
					p.send("P%s first", id)
					p.send("P%s second", id)
					p.send("Z%s end", id)
				case "none":
					p.send("Z%s end", id)
				case "unfinished":
					p.send("P%s first", id)
				}
			}
		}), mux.Config{Codec: plain{}})
		for range 3 {
			for what, want := range map[string]string{"result": "first", "none": "end"} {
				if m, err := c.Call(t.Context(), mux.Request{Body: what}); err != nil || text(m) != want {
					t.Errorf("%s: got %q, %v; want %q", what, m.Data, err, want)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if m, err := c.Call(ctx, mux.Request{Body: "unfinished"}); !errors.Is(err, mux.ErrMayHaveRun) || !errors.Is(err, context.DeadlineExceeded) || m.Data != nil {
			t.Errorf("without the End: got %q, %v", m.Data, err)
		}
		if s := c.Stats(); s.Unwanted != 3 || s.Calls != 6 {
			t.Errorf("%+v", s)
		}
	})
}

// finalPlain is plain with a server that sends nothing for what was canceled.
type finalPlain struct{ plain }

func (finalPlain) CancelFinal() bool { return true }

// What was canceled at a server that sends nothing more for it leaves no orphan, and a reply
// that was under way reaches no other call.
func TestFinalCanceler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		canceled := make(chan string, 100)
		c, p := newClient(t, listenMem(t, func(p *peer) {
			var late []string
			for {
				kind, id, what, ok := p.read()
				switch {
				case !ok:
					return
				case kind == 'X':
					canceled <- id
				case what == "silent":
					late = append(late, id)
				default:
					for _, id := range late {
						p.send("R%s late", id)
					}
					late = nil
					p.send("R%s %s", id, what)
				}
			}
		}), mux.Config{Codec: finalPlain{}, MaxOrphans: 2, MaxInFlight: 4})
		const calls = 20
		for i := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := c.Call(ctx, mux.Request{Body: "silent"}); !errors.Is(err, mux.ErrMayHaveRun) {
				t.Error(err)
			}
			cancel()
			<-canceled
			if s := c.Stats(); s.Orphans != 0 || s.InFlight != 0 {
				t.Fatalf("%+v", s)
			}
			ask(t, c, fmt.Sprint(i))
		}
		if s := c.Stats(); s.Late != calls || s.Acquired != 1 || s.Unknown != 0 {
			t.Errorf("%+v, %v", s, p.Stats())
		}
	})
}
