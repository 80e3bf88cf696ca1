package fleet_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// containsField reports whether err says what is wrong with the field.
func containsField(err error, field string) bool {
	return strings.Contains(err.Error(), field+" must") || strings.Contains(err.Error(), field+" is required")
}

// claim claims, or fails the test.
func claim(t *testing.T, m *fleet.Memory, holder string, seq uint64, has, want int) fleet.Grant {
	t.Helper()
	g, err := m.Claim(ctx, fleet.Claim{Quota: "q", Holder: holder, Seq: seq, Has: has, Want: want, Limit: 10, Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet.NewMemory()
		if g := claim(t, m, "a", 1, 3, 8); !g.Learning || g.Granted != 3 || g.Target != 8 || g.Next != lease || g.Lease != lease || g.Holders != 1 || g.Total != 3 || g.Limit != 10 {
			t.Errorf("while learning: %+v", g)
		}
		time.Sleep(lease / 2)
		claim(t, m, "a", 2, 3, 8)
		time.Sleep(lease / 2)
		g := claim(t, m, "a", 3, 3, 8)
		if g.Learning || g.Granted != 8 || g.Next != 0 {
			t.Errorf("afterwards: %+v", g)
		}
		fence := g.Fence
		if g := claim(t, m, "b", 1, 0, 8); g.Granted != 2 || g.Target != 5 || g.Total != 10 || g.Holders != 2 || g.Next != lease || g.Fence <= fence {
			t.Errorf("of the second: %+v", g)
		}
		if g := claim(t, m, "a", 4, 5, 8); g.Granted != 5 || g.Target != 5 || g.Total != 7 {
			t.Errorf("of the first, which gave 3 up: %+v", g)
		}
		if g := claim(t, m, "b", 2, 2, 8); g.Granted != 5 || g.Total != 10 {
			t.Errorf("of the second: %+v", g)
		}
		if g := claim(t, m, "a", 5, 0, 0); g.Granted != 0 || g.Target != 0 || g.Total != 5 || g.Holders != 1 {
			t.Errorf("of one that leaves: %+v", g)
		}
		if _, err := m.Claim(ctx, fleet.Claim{Quota: "q", Holder: "b", Seq: 2, Limit: 10, Lease: lease}); err != fleet.ErrStale {
			t.Errorf("a claim again: %v", err)
		}
		time.Sleep(lease)
		if g := claim(t, m, "c", 1, 12, 12); g.Granted != 12 || g.Total != 12 || g.Holders != 1 || g.Target != 10 {
			t.Errorf("beyond the limit: %+v", g)
		}
		m.Forget()
		if g := claim(t, m, "c", 2, 12, 12); !g.Learning || g.Granted != 12 {
			t.Errorf("after a loss: %+v", g)
		}
	})
}

func TestMemory_Bad(t *testing.T) {
	m := fleet.NewMemory()
	_, err := m.Claim(ctx, fleet.Claim{Quota: " ", Has: 2, Want: 1, Min: -1, Lease: 1, Priority: -fleet.MaxUnits - 1})
	caused(t, err, fleet.ErrClaim)
	for _, field := range []string{"Quota", "Holder", "Seq", "Want", "Min", "Limit", "Lease", "Priority"} {
		if err == nil || !containsField(err, field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
	_, err = m.Take(ctx, fleet.Draw{Rate: strings.Repeat("x", 201), Burst: -1})
	caused(t, err, fleet.ErrClaim)
	for _, field := range []string{"Rate", "Tokens", "Per", "Burst", "Want"} {
		if err == nil || !containsField(err, field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := m.Claim(ended, fleet.Claim{Quota: "q", Holder: "a", Seq: 1, Limit: 10, Lease: lease}); err != context.Canceled {
		t.Errorf("the error is %v", err)
	}
	if _, err := m.Take(ended, fleet.Draw{Rate: "q", Tokens: 1, Per: lease, Want: 1}); err != context.Canceled {
		t.Errorf("the error is %v", err)
	}
}

// The bounds of each field are accepted, and what is beyond them is not.
func TestClaim_Bounds(t *testing.T) {
	good := fleet.Claim{Quota: "q", Holder: "h", Seq: 1, Limit: 1, Lease: time.Millisecond}
	for field, set := range map[string]func(*fleet.Claim){
		"":          func(*fleet.Claim) {},
		"Seq":       func(c *fleet.Claim) { c.Seq = 0 },
		"Has":       func(c *fleet.Claim) { c.Has, c.Want = -1, 0 },
		"Want":      func(c *fleet.Claim) { c.Has = 1 },
		"Min":       func(c *fleet.Claim) { c.Min = -1 },
		"Limit":     func(c *fleet.Claim) { c.Limit = 0 },
		"Lease":     func(c *fleet.Claim) { c.Lease-- },
		"Lease ":    func(c *fleet.Claim) { c.Lease = 24*time.Hour + 1 },
		"Priority ": func(c *fleet.Claim) { c.Priority = -fleet.MaxUnits - 1 },
		"Quota":     func(c *fleet.Claim) { c.Quota = strings.Repeat("x", 201) },
		"Holder":    func(c *fleet.Claim) { c.Holder = "" },
	} {
		c := good
		set(&c)
		err := c.Check()
		if field = strings.TrimSpace(field); (err == nil) != (field == "") || err != nil && !strings.HasPrefix(err.Error(), fleet.ErrClaim.Error()+": "+field+" must") {
			t.Errorf("%+v: %v, want %q", c, err, field)
		}
	}
	most := fleet.Claim{
		Quota: strings.Repeat("x", 200), Holder: "~", Seq: 1, Has: fleet.MaxUnits, Want: fleet.MaxUnits, Min: fleet.MaxUnits,
		Priority: fleet.MaxUnits, Limit: fleet.MaxUnits, Lease: 24 * time.Hour,
	}
	if err := most.Check(); err != nil {
		t.Error(err)
	}
	if most.Priority = -fleet.MaxUnits; most.Check() != nil {
		t.Error(most.Check())
	}
	draw := fleet.Draw{Rate: "r", Tokens: 1, Per: time.Millisecond, Want: 1}
	if err := draw.Check(); err != nil {
		t.Error(err)
	}
	for field, set := range map[string]func(*fleet.Draw){
		"Rate":   func(d *fleet.Draw) { d.Rate = "" },
		"Tokens": func(d *fleet.Draw) { d.Tokens = 0 },
		"Per":    func(d *fleet.Draw) { d.Per-- },
		"Burst":  func(d *fleet.Draw) { d.Burst = -1 },
		"Want":   func(d *fleet.Draw) { d.Want = 0 },
	} {
		d := draw
		set(&d)
		if err := d.Check(); err == nil || !strings.HasPrefix(err.Error(), fleet.ErrClaim.Error()+": "+field+" must") {
			t.Errorf("%+v: %v, want %q", d, err, field)
		}
	}
}

// The bucket neither loses nor invents tokens, also where a token does not take a whole
// number of nanoseconds.
func TestMemory_Take(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fleet.NewMemory()
		d := fleet.Draw{Rate: "r", Tokens: 7, Per: time.Second, Burst: 3, Want: 1}
		took := 0
		began := time.Now()
		for time.Since(began) < 100*time.Second {
			got, err := m.Take(ctx, d)
			if err != nil {
				t.Fatal(err)
			}
			if took += got.Granted; got.Granted == 0 {
				if got.RetryAfter <= 0 || got.RetryAfter > time.Second/7+time.Nanosecond {
					t.Fatalf("RetryAfter is %v", got.RetryAfter)
				}
				time.Sleep(got.RetryAfter)
			}
		}
		if took < 699 || took > 700 {
			t.Errorf("%d tokens in 100 s, want 700", took)
		}
		time.Sleep(time.Hour)
		if got, _ := m.Take(ctx, fleet.Draw{Rate: "r", Tokens: 7, Per: time.Second, Burst: 3, Want: 100}); got.Granted != 3 {
			t.Errorf("%d tokens at once, want the burst of 3", got.Granted)
		}
		if got, err := m.Take(ctx, fleet.Draw{Rate: "huge", Tokens: 1, Per: 24 * time.Hour, Burst: fleet.MaxUnits, Want: fleet.MaxUnits}); err != nil || got.Granted != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
