package scene

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var small = []string{"-clients=6", "-utterances=4", "-chunks=3", "-chunk-bytes=100", "-size=2",
	"-handshake-delay=0", "-inference-delay=0", "-json"}

// play runs the scene with a side in the pool's place that may misbehave.
func play(t *testing.T, open Open, more ...string) (int, *result) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), append(append([]string(nil), small...), more...), &stdout, &stderr, open)
	var res result
	if err := json.Unmarshal(stdout.Bytes(), &res); err != nil {
		t.Fatalf("exit %d, not JSON: %v\n%s\n%s", code, err, &stdout, &stderr)
	}
	if res.Exit != code || res.OK != (len(res.Problems) == 0) {
		t.Errorf("exit %d, but the result says %d, ok %v, problems %q", code, res.Exit, res.OK, res.Problems)
	}
	return code, &res
}

func (res *result) blames(t *testing.T, what string) {
	t.Helper()
	if !strings.Contains(strings.Join(res.Problems, "\n"), what) {
		t.Errorf("%q is not among the problems %q", what, res.Problems)
	}
}

// With dialed in the pool's place too, the scene notices that the limit is not asked.
func TestBurstWithoutAdmission(t *testing.T) {
	code, res := play(t, dialed)
	if code != 1 || res.Pool.Replies != 24 || res.Dial.Replies != 24 {
		t.Errorf("exit %d, %+v, %+v", code, res.Pool, res.Dial)
	}
	res.blames(t, "burst: callers admitted by the limit is 0, want 2")
}

// swapped gives the first two callers of each half each other's reply.
func swapped(s Server) (Side, error) {
	side, err := dialed(s)
	say := side.Say
	var mu sync.Mutex
	n := 0
	first, second := make(chan []byte, 1), make(chan []byte, 1)
	side.Say = func(ctx context.Context, u Utterance) ([]byte, error) {
		data, err := say(ctx, u)
		mu.Lock()
		n++
		me := n
		mu.Unlock()
		switch me {
		case 1:
			first <- data
			return <-second, err
		case 2:
			second <- data
			return <-first, err
		}
		return data, err
	}
	return side, err
}

func TestCrossedReplies(t *testing.T) {
	code, res := play(t, swapped)
	if code != 1 || res.Pool.Wrong != 2 || res.Pool.Replies != 22 || res.Pool.Lost != 0 {
		t.Errorf("exit %d, %+v", code, res.Pool)
	}
	res.blames(t, "got the reply to")
}

func TestLostReply(t *testing.T) {
	errGone := errors.New("gone")
	var mu sync.Mutex
	n := 0
	code, res := play(t, func(s Server) (Side, error) {
		side, err := dialed(s)
		say := side.Say
		side.Say = func(ctx context.Context, u Utterance) ([]byte, error) {
			data, err := say(ctx, u)
			mu.Lock()
			defer mu.Unlock()
			if n++; n == 3 {
				return nil, errGone
			}
			return data, err
		}
		return side, err
	})
	if code != 1 || res.Pool.Lost != 1 || res.Pool.Asked != res.Pool.Replies+1 || res.Pool.Asked > 24 {
		t.Errorf("exit %d, %+v", code, res.Pool)
	}
	res.blames(t, "gone")
	res.blames(t, "the server answered")
}

// The run fails if a side cannot be opened or closed.
func TestBadSide(t *testing.T) {
	errBad := errors.New("bad side")
	code, res := play(t, func(Server) (Side, error) { return Side{}, errBad })
	if code != 1 || res.Pool != nil || res.Dial != nil {
		t.Errorf("exit %d, %+v", code, res)
	}
	res.blames(t, "pool: bad side")

	code, res = play(t, func(s Server) (Side, error) {
		side, err := dialed(s)
		side.Close = func(context.Context) error { return errBad }
		return side, err
	})
	if code != 1 {
		t.Errorf("exit %d with a side that does not close", code)
	}
	res.blames(t, "pool: bad side")
}

// TLS is real: the handshake of a client without the run's certificate fails.
func TestTLSIsChecked(t *testing.T) {
	code, res := play(t, func(s Server) (Side, error) {
		s.TLS = nil
		return dialed(s)
	}, "-tls")
	if code != 1 || res.Pool.Replies != 0 {
		t.Errorf("exit %d, %+v", code, res.Pool)
	}
	res.blames(t, "certificate")
}

func TestLimit(t *testing.T) {
	l := newLimit(2)
	ask := func() (resource.Done, error) { return l.Admit(t.Context(), resource.Request{}) }
	first, err1 := ask()
	_, err2 := ask()
	_, err3 := ask()
	if err1 != nil || err2 != nil || !errors.Is(err3, resource.ErrRejected) || !errors.Is(err3, errFull) {
		t.Fatalf("errors %v, %v, %v", err1, err2, err3)
	}
	first(resource.Outcome{})
	if _, err := ask(); err != nil {
		t.Errorf("a freed slot is not given out: %v", err)
	}
	if a, r := l.admitted.Load(), l.refused.Load(); a != 3 || r != 1 {
		t.Errorf("admitted %d, refused %d", a, r)
	}
}

// An admitted caller of a burst that stops waiting for the others frees its slot.
func TestTogetherCancelled(t *testing.T) {
	l := newLimit(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done, err := newTogether(l, 2).Admit(ctx, resource.Request{})
	if done != nil || !errors.Is(err, context.Canceled) || len(l.slots) != 0 {
		t.Errorf("done %v, error %v, %d slots taken", done != nil, err, len(l.slots))
	}
}
