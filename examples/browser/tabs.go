package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/respool/respool/resource"
)

// The size of the screenshots.
const width, height = 640, 400

// takeTime bounds one screenshot, and the opening of one tab.
const takeTime = 30 * time.Second

// tabs lends the tabs of a browser. A tab is slow to open and loads one page at a time, so
// it suits a pool. The tabs share one connection to the browser.
type tabs struct {
	client *client
	pool   *resource.Pool[*tab]
}

func newTabs(url string, size int) (*tabs, error) {
	c, err := newClient(url)
	if err != nil {
		return nil, err
	}
	pool, err := resource.New(resource.Config[*tab]{
		Make:        func(ctx context.Context) (*tab, error) { return openTab(ctx, c) },
		Destroy:     func(t *tab, _ error) { t.close() },
		MaxSize:     size,
		MakeTimeout: takeTime,
	})
	if err != nil {
		return nil, errors.Join(err, c.close(context.Background()))
	}
	return &tabs{c, pool}, nil
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

// close closes all tabs, and then their connection.
func (t *tabs) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), takeTime)
	defer cancel()
	return errors.Join(t.pool.Close(ctx), t.client.close(ctx))
}

// tab is one tab and the session through which it is controlled.
type tab struct {
	client          *client
	lost            <-chan struct{} // closed when the session's connection has ended
	target, session string
}

func openTab(ctx context.Context, c *client) (*tab, error) {
	t := &tab{client: c, lost: c.connection()}
	if err := t.open(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tab) open(ctx context.Context) error {
	var made struct{ TargetID string }
	if err := t.client.call(ctx, "", "Target.createTarget", values{"url": "about:blank", "newWindow": true}, &made); err != nil {
		return err
	}
	t.target = made.TargetID
	var attached struct{ SessionID string }
	if err := t.client.call(ctx, "", "Target.attachToTarget", values{"targetId": t.target, "flatten": true}, &attached); err != nil {
		return err
	}
	t.session = attached.SessionID
	if err := t.call(ctx, "Page.enable", values{}, nil); err != nil {
		return err
	}
	if err := t.call(ctx, "Page.setLifecycleEventsEnabled", values{"enabled": true}, nil); err != nil {
		return err
	}
	return t.call(ctx, "Emulation.setDeviceMetricsOverride",
		values{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// call executes a command in the tab.
func (t *tab) call(ctx context.Context, method string, params values, result any) error {
	return t.client.call(ctx, t.session, method, params, result)
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
	select {
	case <-t.client.load(page{t.session, to.LoaderID}):
		t.client.forget(t.session)
	case <-t.lost:
		return nil, errors.New("the connection to the browser was lost")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var shot struct{ Data []byte } // base64, decoded by encoding/json
	err := t.call(ctx, "Page.captureScreenshot", values{"format": "png"}, &shot)
	return shot.Data, err
}

// close closes the tab.
func (t *tab) close() {
	if t.target != "" {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		t.client.call(ctx, "", "Target.closeTarget", values{"targetId": t.target}, nil) // fails only if the browser has ended
	}
	t.client.forget(t.session)
	t.client.mux.EndSession(t.session)
}
