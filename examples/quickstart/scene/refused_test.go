package scene

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// The limiter refuses callers. A dial that a MakeGate refused, as in a pause of
// Redial, costs an utterance and is no refusal of the limiter.
func TestClient_Refused(t *testing.T) {
	refuse := gate(func() error { return &resource.Rejection{Policy: "test", RetryAfter: time.Hour} })
	for name, tc := range map[string]struct {
		cfg           resource.Config[int]
		refused, lost int
	}{
		"admission": {resource.Config[int]{Admission: refuse}, 1, 0},
		"make gate": {resource.Config[int]{MakeGate: refuse}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.MaxSize = 1
			tc.cfg.Make = func(context.Context) (int, error) { return 0, errors.New("not reached") }
			p, err := resource.New(tc.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close(t.Context())
			c := &client{speaker: newSpeaker("c", 1, 1, 8), timeout: time.Minute}
			c.say(t.Context(), Side{Say: func(ctx context.Context, _ Utterance) ([]byte, error) {
				return nil, p.Do(ctx, nil)
			}}, 0)
			if c.refused != tc.refused || c.lost != tc.lost {
				t.Errorf("%d refused and %d lost, want %d and %d: %v", c.refused, c.lost, tc.refused, tc.lost, c.err)
			}
		})
	}
}

// gate is an Admission that answers with what the function returns.
type gate func() error

func (g gate) Admit(context.Context, resource.Request) (resource.Done, error) { return nil, g() }
