package metrics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// tellAll calls every function of a Trace that is not of a hit.
func tellAll(tr *resource.Trace) {
	ctx, err := context.Background(), errors.New("no\nroute")
	info := resource.Info{ID: 4, Age: time.Minute, Leases: 3}
	tr.Waited(ctx, resource.WaitEvent{Waited: time.Second, ID: 4, Request: resource.Request{Class: "batch"}})
	tr.Waited(ctx, resource.WaitEvent{Waited: time.Second, Err: err})
	tr.Rejected(ctx, &resource.Rejection{Policy: "share", Err: err})
	tr.Made(ctx, resource.MakeEvent{ID: 4, Took: time.Second})
	tr.Made(ctx, resource.MakeEvent{Took: time.Second, Err: errors.New(strings.Repeat("x", 1000))})
	tr.Refused(ctx, &resource.Rejection{Policy: "gate"})
	tr.Checked(resource.CheckEvent{Info: info, Took: time.Second})
	tr.Checked(resource.CheckEvent{Info: info, Took: time.Second, Err: err})
	tr.Destroyed(resource.DestroyEvent{Info: info, Took: time.Second, Cause: resource.ErrReset})
	tr.Outage(err)
	tr.Outage(nil)
	tr.Panicked(badError{})
}

func logged(level slog.Level) string {
	var b bytes.Buffer
	tellAll(metrics.Slog(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))))
	return b.String()
}

func TestSlog(t *testing.T) {
	want := `level=DEBUG msg="caller waited" waited=1s class=batch resource=4
level=DEBUG msg="caller waited" waited=1s err="no route"
level=DEBUG msg="caller refused" policy=share err="rejected by share: no route"
level=DEBUG msg=created resource=4 took=1s
level=WARN msg="creation failed" took=1s err=` + strings.Repeat("x", 197) + `…
level=DEBUG msg="creation refused" policy=gate err="rejected by gate"
level=INFO msg="health check failed" resource=4 took=1s err="no route"
level=DEBUG msg=destroyed resource=4 age=1m0s leases=3 took=1s cause="resource: reset"
level=ERROR msg="outage: resource creation is failing" err="no route"
level=INFO msg="outage ended"
level=ERROR msg="panic contained" err="an error whose text panics"
`
	if got := logged(slog.LevelDebug); got != want {
		t.Errorf("it is\n%s\nnot\n%s", got, want)
	}
	for level, lines := range map[slog.Level]int{slog.LevelInfo: 5, slog.LevelWarn: 3, slog.LevelError: 2} {
		if got := logged(level); strings.Count(got, "\n") != lines {
			t.Errorf("from %v on it is\n%s", level, got)
		}
	}
}

// A hit is not logged, so that it costs nothing.
func TestSlog_HitPath(t *testing.T) {
	if tr := metrics.Slog(nil); tr.Leased != nil || tr.Ended != nil {
		t.Error("leases are told")
	}
}

// A nil logger is the default of the time of the call.
func TestSlog_Default(t *testing.T) {
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	var b bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	tr := metrics.Slog(nil)
	tr.Outage(nil)
	if !strings.Contains(b.String(), "outage ended") {
		t.Errorf("it is %q", b.String())
	}
}

// The error of a request has all of its URL: what is secret in that is in no log,
// event or snapshot.
func TestMeter_SecretsOfURLs(t *testing.T) {
	const secret = "hunter2"
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	m := newMeter(t, metrics.Config{Logger: logger})
	bad := &url.Error{Op: "Get", URL: "https://joe:" + secret + "@host/?token=" + secret, Err: errors.New("no route")}
	src := &source{}
	src.set(func(i *resource.Inspection) { i.LastMake = bad })
	if err := m.Watch(src); err != nil {
		t.Fatal(err)
	}
	tr := m.Trace(metrics.Slog(logger))
	tr.Waited(t.Context(), resource.WaitEvent{Err: bad})
	tr.Rejected(t.Context(), bad)
	tr.Made(t.Context(), resource.MakeEvent{Err: bad})
	tr.Refused(t.Context(), bad)
	tr.Checked(resource.CheckEvent{Err: bad})
	tr.Destroyed(resource.DestroyEvent{Cause: bad})
	tr.Outage(bad)
	tr.Panicked(bad)
	shown, err := json.Marshal(m.Snapshot(10))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"the log": log.String(), "the snapshot": string(shown)} {
		if strings.Contains(text, secret) || strings.Count(text, "…@host/?…") < 8 {
			t.Errorf("%s is\n%s", what, text)
		}
	}
}
