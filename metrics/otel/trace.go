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
	MakeSpan = "make_resource"     // a resource was made, or was to be
)

// Trace returns what makes spans, for the Config of a pool, or to be given to the
// Trace of its Meter as the next. name is the pool's, as [Meter] would show it,
// and prefix is as in [Config]; "" is "resource.pool".
//
// An acquire that had to wait is a span, WaitSpan, below the caller's own; one
// that found a resource idle is none and costs nothing. A make is a span too,
// MakeSpan, but a root: it is nobody's part, as it may outlive the caller for
// whom it was begun and serve another. It has a link to that caller's span. What
// Make does with its own ctx is below the caller's span, not below this one,
// which is made when the make has ended. A failure's text is the status of its
// span, 200 bytes at most, without user, password and query of a URL in it.
//
// A nil tracer is the global provider's.
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

// span makes one that has just ended.
func (s *spans) span(ctx context.Context, name string, took time.Duration, id uint64, err error, more []attribute.KeyValue, how ...trace.SpanStartOption) {
	now := time.Now()
	// The sampler is told which pool it is.
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

// kindOf is a word for err, of few. Its methods are not ours: they may panic, and
// the span would never end.
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
	return "_OTHER" // as the conventions have it
}
