package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// What the screenshots measure.
const width, height = 640, 400

// takeTime bounds one screenshot, and the opening of one tab.
const takeTime = 30 * time.Second

// tabs lends the tabs of a browser. A tab is slow to open and works on one page
// at a time: that is what a pool is for. Each keeps a connection to the
// browser for as long as it lives, since a tab's events come on the connection
// that it was opened on.
type tabs struct {
	conns *wspool.Pool
	pool  *resource.Pool[*tab]
}

func newTabs(url string, size int) (*tabs, error) {
	conns, err := wspool.New(wspool.Config{
		URL:       url,
		MaxSize:   size,
		Exchange:  wspool.Unpaired, // events come when they like
		ReadLimit: 64 << 20,        // of a screenshot
	})
	if err != nil {
		return nil, err
	}
	pool, err := resource.New(resource.Config[*tab]{
		Make:        func(ctx context.Context) (*tab, error) { return openTab(ctx, conns) },
		Destroy:     func(t *tab, cause error) { t.close(cause) },
		MaxSize:     size,
		MakeTimeout: takeTime,
	})
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), takeTime)
		defer cancel()
		return nil, errors.Join(err, conns.Close(ctx))
	}
	return &tabs{conns, pool}, nil
}

// take writes a screenshot of the page at url to the file of that name. It
// waits for a tab.
func (t *tabs) take(ctx context.Context, url, name string) error {
	ctx, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	return t.pool.Do(ctx, func(ctx context.Context, t *tab) error {
		png, err := t.screenshot(ctx, url)
		if err != nil {
			return fmt.Errorf("%s: %w", url, err) // and the tab is closed
		}
		return os.WriteFile(name, png, 0o666)
	})
}

// close closes all tabs, and then their connections.
func (t *tabs) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), takeTime)
	defer cancel()
	return errors.Join(t.pool.Close(ctx), t.conns.Close(ctx))
}

// tab is one tab and the connection that it was opened on.
type tab struct {
	devtools
	target string
}

func openTab(ctx context.Context, conns *wspool.Pool) (*tab, error) {
	conn, err := conns.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	t := &tab{devtools: devtools{conn: conn, loaded: map[string]bool{}}}
	if err := t.open(ctx); err != nil {
		t.close(err)
		return nil, err
	}
	return t, nil
}

func (t *tab) open(ctx context.Context) error {
	var made struct{ TargetID string }
	if err := t.call(ctx, "Target.createTarget", values{"url": "about:blank", "newWindow": true}, &made); err != nil {
		return err
	}
	t.target = made.TargetID
	var attached struct{ SessionID string }
	if err := t.call(ctx, "Target.attachToTarget", values{"targetId": t.target, "flatten": true}, &attached); err != nil {
		return err
	}
	t.session = attached.SessionID
	if err := t.call(ctx, "Page.enable", nil, nil); err != nil {
		return err
	}
	if err := t.call(ctx, "Page.setLifecycleEventsEnabled", values{"enabled": true}, nil); err != nil {
		return err
	}
	return t.call(ctx, "Emulation.setDeviceMetricsOverride",
		values{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// screenshot goes to url and returns what it looks like, as PNG.
func (t *tab) screenshot(ctx context.Context, url string) ([]byte, error) {
	var to struct{ LoaderID, ErrorText string }
	if err := t.call(ctx, "Page.navigate", values{"url": url}, &to); err != nil {
		return nil, err
	}
	if to.ErrorText != "" {
		return nil, errors.New(to.ErrorText)
	}
	if err := t.load(ctx, to.LoaderID); err != nil {
		return nil, err
	}
	var shot struct{ Data []byte } // base64 on the wire, as encoding/json has it
	err := t.call(ctx, "Page.captureScreenshot", values{"format": "png"}, &shot)
	return shot.Data, err
}

// close closes the tab and gives its connection up: events of the tab may still
// come on it.
func (t *tab) close(cause error) {
	if t.target != "" {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		t.session = ""                                                       // the browser closes it, not the tab itself
		t.call(ctx, "Target.closeTarget", values{"targetId": t.target}, nil) // if it fails, the browser is gone
	}
	t.conn.Discard(cause)
}
