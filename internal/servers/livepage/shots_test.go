package livepage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// load lets callers come and go in waves until ctx ends. hold is how long a
// lease lasts, more or less.
func load(ctx context.Context, t *testing.T, p *resource.Pool[*thing], callers int, hold, pause time.Duration) {
	var all sync.WaitGroup
	begun := time.Now()
	for c := range callers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(c), 1))
			for ctx.Err() == nil {
				wave := 1 + 0.8*math.Sin(2*math.Pi*time.Since(begun).Seconds()/40)
				some := func(d time.Duration) time.Duration {
					return time.Duration(float64(d) * math.Exp(random.NormFloat64()*0.5))
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(float64(some(pause)) / wave)): // callers that come and go
				}
				r := resource.Request{Class: []string{"interactive", "batch"}[c%2], Priority: c % 2}
				l, err := p.AcquireWith(ctx, r)
				if err != nil {
					continue
				}
				select {
				case <-ctx.Done():
				case <-time.After(some(hold)):
				}
				if random.Float64() < 0.002 {
					l.Discard(errBroken)
				}
				l.Release()
			}
		})
	}
	all.Wait()
}

// nightlyReport is the function that leaks, in the picture.
//
//go:noinline
func nightlyReport(t *testing.T, p *resource.Pool[*thing]) resource.Lease[*thing] {
	l, err := p.AcquireWith(t.Context(), resource.Request{Class: "nightly"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// slowMake is a make that takes about so long.
func slowMake(d time.Duration) func(ctx context.Context) (*thing, error) {
	return func(ctx context.Context) (*thing, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(float64(d) * (0.7 + rand.Float64()))):
			return &thing{n: rand.Int64N(40)}, nil
		}
	}
}

// scenery is pools as an operator has them: two at work, of which one leaks,
// one that rests, and one with an outage.
func scenery(t *testing.T) (eu *resource.Pool[*thing], stop func()) {
	describe := func(v *thing) string { return fmt.Sprintf("rtt %.1f ms", 1+float64(v.n)/20) }
	destroy := func(*thing, error) { time.Sleep(time.Duration(rand.Int64N(int64(3 * time.Millisecond)))) } // a goodbye
	eu = watched(t, "speech eu-central", resource.Config[*thing]{
		MaxSize: 32, Make: slowMake(50 * time.Millisecond), Destroy: destroy, Describe: describe, SampleLeases: 1,
		Admission: policy.Shares(60, map[string]int{"interactive": 20}), Eviction: policy.MaxAge(20*time.Second, 0.2), SweepInterval: time.Second,
	})
	us := watched(t, "speech us-east", resource.Config[*thing]{
		MaxSize: 24, Make: slowMake(90 * time.Millisecond), Destroy: destroy, Describe: describe, MinIdle: 2,
	})
	watched(t, "sandboxes", resource.Config[*thing]{MaxSize: 8, MinIdle: 3, Make: slowMake(time.Second), Describe: describe})
	down := watched(t, "embeddings", resource.Config[*thing]{MaxSize: 8, Make: func(context.Context) (*thing, error) {
		return nil, errors.New("dial tcp 192.0.2.7:443: connect: connection refused")
	}})
	ctx, cancel := context.WithCancel(t.Context())
	leaked := []resource.Lease[*thing]{nightlyReport(t, eu), nightlyReport(t, eu), nightlyReport(t, eu)}
	var all sync.WaitGroup
	all.Go(func() { load(ctx, t, eu, 48, 18*time.Millisecond, 14*time.Millisecond) })
	all.Go(func() { load(ctx, t, us, 20, 9*time.Millisecond, 16*time.Millisecond) })
	all.Go(func() { load(ctx, t, down, 2, time.Millisecond, time.Second) })
	return eu, func() {
		cancel()
		all.Wait()
		for _, l := range leaked {
			l.Release()
		}
	}
}

// What the page looks like, in a directory if one is given: then it is watched
// for as long as its charts take to be worth a picture.
func TestScreenshots(t *testing.T) {
	dir, enough, every := os.Getenv("RESPOOL_SCREENSHOTS"), 90*time.Second, time.Second
	if dir == "" {
		dir, enough, every = t.TempDir(), 2*time.Second, often
	}
	b := open(t)
	h := serving(t, every)
	_, stop := scenery(t)
	defer stop()
	b.size(1280, 800, "light")
	b.do(chromedp.Navigate(h.at("")))
	b.do(chromedp.WaitVisible(chromedp.CSS("#pools tbody a")))
	time.Sleep(enough) // for the sake of the picture
	b.shots(dir, "pools")
	b.size(1280, 800, "light")
	b.do(chromedp.Click(chromedp.CSS(`#pools tbody a[href*="eu-central"]`)))
	b.until(`document.querySelector(".site summary")?.textContent.includes("nightlyReport")`)
	b.do(chromedp.Click(chromedp.CSS(".site summary")))
	time.Sleep(enough / 10) // some more of it
	eval[bool](b, `(scrollTo(0, 0), document.activeElement.blur(), true)`)
	b.shots(dir, "pool")
	b.good()
}

// shots writes what is seen, in light and dark and on a phone.
func (b *tab) shots(dir, name string) {
	b.t.Helper()
	for _, s := range []struct {
		width, height int64
		scheme        string
		name          string
		take          chromedp.Action[[]byte]
	}{
		{1280, 800, "light", "light", chromedp.FullScreenshot(100)},
		{1280, 800, "dark", "dark", chromedp.FullScreenshot(100)},
		{360, 800, "light", "phone", chromedp.FullScreenshot(100)},
		{1180, 1160, "light", "first", chromedp.CaptureScreenshot()}, // what is seen without scrolling
	} {
		b.size(s.width, s.height, s.scheme)
		b.do(chromedp.Sleep(500 * time.Millisecond)) // until the charts have their new size
		b.fits(s.width, name)
		b.call(name, func(ctx context.Context) error {
			text, err := chromedp.Run(ctx, s.take)
			if err != nil {
				return err
			}
			image, err := png.Decode(bytes.NewReader(text))
			if err != nil {
				return err
			}
			if got := image.Bounds().Dx(); got != int(s.width) {
				return fmt.Errorf("the picture is %d wide, not %d", got, s.width)
			}
			return os.WriteFile(filepath.Join(dir, name+"-"+s.name+".png"), text, 0o644)
		})
	}
}
