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

// The size of the screenshots.
const width, height = 640, 400

// takeTime bounds one screenshot, and the opening of one tab.
const takeTime = 30 * time.Second

// tabs lends the tabs of a browser. A tab is slow to open and loads one page at a time, so
// it suits a pool. Each tab keeps a connection to the browser for its whole life, since its
// events are sent on the connection that opened it.
type tabs struct {
	conns *wspool.Pool
	pool  *resource.Pool[*tab]
}

func newTabs(url string, size int) (*tabs, error) {
	conns, err := wspool.New(wspool.Config{
		URL:       url,
		MaxSize:   size,
		Exchange:  wspool.Unpaired, // events arrive at any time
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

// take waits for a tab and writes a screenshot of the page at url to the file of that name.
func (t *tabs) take(ctx context.Context, url, name string) error {
	ctx, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	return t.pool.Do(ctx, func(ctx context.Context, t *tab) error {
		png, err := t.screenshot(ctx, url)
		if err != nil {
			return fmt.Errorf("%s: %w", url, err) // the error closes the tab
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

// screenshot loads url and returns a PNG of the page.
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
	var shot struct{ Data []byte } // base64, decoded by encoding/json
	err := t.call(ctx, "Page.captureScreenshot", values{"format": "png"}, &shot)
	return shot.Data, err
}

// close closes the tab and its connection, on which events of the tab may still arrive.
func (t *tab) close(cause error) {
	if t.target != "" {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		t.session = ""                                                       // the browser closes the tab
		t.call(ctx, "Target.closeTarget", values{"targetId": t.target}, nil) // fails only if the browser has ended
	}
	t.conn.Discard(cause)
}
