package otel

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/respool/respool/resource"
)

// recorder keeps the spans that have ended.
func recorder(t testing.TB, more ...sdktrace.TracerProviderOption) (*tracetest.InMemoryExporter, trace.Tracer) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(append(more, sdktrace.WithSyncer(kept))...)
	t.Cleanup(func() { provider.Shutdown(context.Background()) })
	return kept, provider.Tracer("test")
}

func named(t testing.TB, kept *tracetest.InMemoryExporter, name string) (all []tracetest.SpanStub) {
	t.Helper()
	for _, s := range kept.GetSpans() {
		if s.Name == name {
			all = append(all, s)
		}
	}
	return all
}

func attr(s tracetest.SpanStub, key attribute.Key) string {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value.Emit()
		}
	}
	return ""
}

// The wait for a creation is a span below that of the caller. The creation is a root
// span with a link. An acquire that finds an idle resource has no span.
func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, tracer := recorder(t)
		p, err := resource.New(resource.Config[int]{
			MaxSize: 1, Trace: Trace(tracer, "db", ""),
			Make: func(context.Context) (int, error) { time.Sleep(3 * time.Second); return 1, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		begin := time.Now()
		for range 2 {
			ctx, span := tracer.Start(context.Background(), "request")
			l, err := p.AcquireWith(ctx, resource.Request{Class: "batch"})
			if err != nil {
				t.Fatal(err)
			}
			l.Release()
			synctest.Wait()
			span.End()
		}

		request := named(t, kept, "request")[0].SpanContext
		waits, makes := named(t, kept, WaitSpan), named(t, kept, MakeSpan)
		if len(waits) != 1 || len(makes) != 1 {
			t.Fatalf("%d waits and %d makes", len(waits), len(makes))
		}
		w, m := waits[0], makes[0]
		if w.Parent.SpanID() != request.SpanID() || w.SpanContext.TraceID() != request.TraceID() || len(w.Links) != 0 {
			t.Errorf("the wait is below %v, not %v", w.Parent, request)
		}
		if m.Parent.IsValid() || m.SpanContext.TraceID() == request.TraceID() {
			t.Errorf("the make is below %v in %v", m.Parent, m.SpanContext.TraceID())
		}
		if len(m.Links) != 1 || m.Links[0].SpanContext.SpanID() != request.SpanID() {
			t.Errorf("the make has the links %v", m.Links)
		}
		for _, s := range []tracetest.SpanStub{w, m} {
			if !s.StartTime.Equal(begin) || s.EndTime.Sub(begin) != 3*time.Second {
				t.Errorf("%s is from %v to %v, begun at %v", s.Name, s.StartTime, s.EndTime, begin)
			}
			if attr(s, "resource.pool.name") != "db" || attr(s, "resource.pool.resource.id") == "" || s.Status.Code != codes.Unset {
				t.Errorf("%s: %v %v", s.Name, s.Attributes, s.Status)
			}
		}
		if attr(w, "resource.pool.class") != "batch" {
			t.Errorf("the wait has %v", w.Attributes)
		}
	})
}

// serverError is as long as a server likes, and not UTF-8 where it is cut.
type serverError struct{}

func (serverError) Error() string { return strings.Repeat("é", 10_000) + "\xff" }

// panicking is such as a nil pointer in an error can be.
type panicking struct{}

func (panicking) Error() string { panic("no text") }
func (panicking) Is(error) bool { panic("no kin") }

func TestFailures(t *testing.T) {
	kept, tracer := recorder(t)
	tr := Trace(tracer, "chat\xff", "ws.client.connection")
	ctx := context.Background()
	for _, c := range []struct {
		err  error
		kind string
	}{
		{context.DeadlineExceeded, "timeout"},
		{context.Canceled, "canceled"},
		{errors.Join(resource.ErrRejected, serverError{}), "rejected"},
		{resource.ErrClosed, "closed"},
		{resource.ErrOutage, "outage"},
		{serverError{}, "_OTHER"},
		{&url.Error{Op: "Get", URL: "https://joe:secret@host?key=secret", Err: context.Canceled}, "canceled"},
		{panicking{}, "_OTHER"},
	} {
		kept.Reset()
		tr.Waited(ctx, resource.WaitEvent{Waited: time.Second, Err: c.err})
		tr.Made(ctx, resource.MakeEvent{Took: time.Second, Err: c.err})
		spans := kept.GetSpans()
		if len(spans) != 2 {
			t.Fatalf("%d spans", len(spans))
		}
		for _, s := range spans {
			text := s.Status.Description
			if s.Status.Code != codes.Error || text == "" || len(text) > 200 || strings.Contains(text, "\xff") || strings.Contains(text, "secret") {
				t.Errorf("%s: %v %q", s.Name, s.Status.Code, text)
			}
			if got := attr(s, "error.type"); got != c.kind {
				t.Errorf("%.40v is of type %q, want %q", c.err, got, c.kind)
			}
			if attr(s, "ws.client.connection.pool.name") != `chat\xff` || len(s.Links) != 0 || s.Parent.IsValid() {
				t.Errorf("%s: %+v", s.Name, s)
			}
		}
	}
}

// The sampler knows the pool; what it does not want costs a little and is not
// kept.
func TestNotSampled(t *testing.T) {
	kept, tracer := recorder(t, sdktrace.WithSampler(without("db")))
	for _, pool := range []string{"db", "chat"} {
		Trace(tracer, pool, "").Waited(context.Background(), resource.WaitEvent{Waited: time.Second})
	}
	spans := kept.GetSpans()
	if len(spans) != 1 || attr(spans[0], "resource.pool.name") != "chat" {
		t.Errorf("kept %v", spans)
	}
}

// without is a sampler that drops what is of one pool.
type without string

func (w without) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for _, kv := range p.Attributes {
		if kv.Key == "resource.pool.name" && kv.Value.AsString() == string(w) {
			return sdktrace.SamplingResult{Decision: sdktrace.Drop}
		}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
}

func (w without) Description() string { return "without " + string(w) }

// Without a tracer it is the global one, which does nothing unless it is set.
func TestGlobal(t *testing.T) {
	tr := Trace(nil, "db", "")
	tr.Waited(context.Background(), resource.WaitEvent{Waited: time.Second})
	tr.Made(context.Background(), resource.MakeEvent{Err: errors.New("refused")})
	if tr.Leased != nil || tr.Ended != nil || tr.Checked != nil {
		t.Error("it asks for more than it uses")
	}
}
