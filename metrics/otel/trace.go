package otel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// The names of spans.
const (
	WaitSpan = "wait_for_resource" // a caller waited
	MakeSpan = "make_resource"     // a resource was created, or its creation failed
)

// Trace returns a Trace that makes spans, for the Config of a pool or as the argument
// of the Trace method of its Meter. name is the name of the pool, as [Meter] shows it;
// prefix is that of [Config], and "" means [DefaultPrefix].
//
// An acquire that waits is a span, [WaitSpan], below that of the caller. An acquire
// that finds an idle resource has no span and costs nothing. A creation is a root span,
// [MakeSpan], with a link to the span of the caller for which it was begun: it may
// outlive that caller and serve another. It is made when the creation has ended, so
// spans that Make itself begins with its ctx are below the span of the caller. The
// status of a span that failed is the text of the error, at most 200 bytes; URLs in it
// lose user, password and query.
//
// A nil tracer means that of the global provider.
func Trace(tracer trace.Tracer, name, prefix string) *resource.Trace {
	if tracer == nil {
		tracer = otel.Tracer(Scope)
	}
	if prefix == "" {
		prefix = DefaultPrefix
	}
	s := spans{tracer: tracer, prefix: prefix, pool: poolKey(prefix).String(label.Clean(name))}
	return &resource.Trace{Waited: s.waited, Made: s.made}
}

type spans struct {
	tracer trace.Tracer
	prefix string
	pool   attribute.KeyValue
}

func (s *spans) waited(ctx context.Context, e resource.WaitEvent) {
	more := make([]attribute.KeyValue, 0, 2)
	if e.Request.Class != "" {
		more = append(more, attribute.String(s.prefix+".class", text.Clean(e.Request.Class, text.MaxLabel)))
	}
	s.span(ctx, WaitSpan, e.Waited, e.ID, e.Err, more)
}

func (s *spans) made(ctx context.Context, e resource.MakeEvent) {
	how := []trace.SpanStartOption{trace.WithNewRoot()}
	if l := trace.LinkFromContext(ctx); l.SpanContext.IsValid() {
		how = append(how, trace.WithLinks(l))
	}
	s.span(ctx, MakeSpan, e.Took, e.ID, e.Err, nil, how...)
}

// span makes a span that ends now.
func (s *spans) span(ctx context.Context, name string, took time.Duration, id uint64, err error, more []attribute.KeyValue, how ...trace.SpanStartOption) {
	now := time.Now()
	// A sampler sees the attribute of the pool.
	how = append(how, trace.WithTimestamp(now.Add(-took)), trace.WithAttributes(s.pool))
	_, span := s.tracer.Start(ctx, name, how...)
	if span.IsRecording() {
		if id != 0 {
			more = append(more, attribute.Int64(s.prefix+".resource.id", int64(id)))
		}
		if err != nil {
			more = append(more, attribute.String("error.type", kindOf(err)))
			span.SetStatus(codes.Error, text.Of(err))
		}
		span.SetAttributes(more...)
	}
	span.End(trace.WithTimestamp(now))
}

// kindOf returns the error.type of err, one of a fixed set. It contains a panic in a
// method of err, after which the span would never end.
func kindOf(err error) (kind string) {
	defer func() {
		if recover() != nil {
			kind = "_OTHER"
		}
	}()
	var failed *resource.AcquireError
	if errors.As(err, &failed) && failed.Reason != resource.ReasonCanceled && failed.Reason != resource.ReasonMaxWait {
		return failed.Reason.String()
	}
	for _, k := range []struct {
		err  error
		word string
	}{
		{context.DeadlineExceeded, "timeout"},
		{context.Canceled, "canceled"},
		{resource.ErrRejected, "rejected"},
		{resource.ErrClosed, "closed"},
		{resource.ErrOutage, "outage"},
	} {
		if errors.Is(err, k.err) {
			return k.word
		}
	}
	return "_OTHER" // as the conventions of OpenTelemetry have it
}
