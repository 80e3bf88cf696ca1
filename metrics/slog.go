package metrics

import (
	"context"
	"log/slog"

	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// Slog returns what logs, to logger, what a pool does that is slow anyway: nothing
// for an acquire that finds an idle resource, nor for its release. It may be the
// Trace of several pools; logger.With("pool", name) tells them apart. A nil
// logger is slog.Default() at the time of the call.
//
// Errors are an outage that begins and a panic. Warnings are makes that fail.
// Info is an outage that ends, and a health check that fails. The rest is Debug:
// what is made and destroyed and why, what policies refuse, and who waited, for
// how long. Texts of errors, which can come from servers, are at most 200 bytes,
// without user, password and query of a URL in them.
func Slog(logger *slog.Logger) *resource.Trace {
	if logger == nil {
		logger = slog.Default()
	}
	l := slogger{logger}
	return &resource.Trace{
		Waited: l.waited,
		Failed: func(ctx context.Context, e *resource.AcquireError) {
			l.say(ctx, slog.LevelDebug, "acquire failed", func() []slog.Attr {
				return []slog.Attr{slog.String("reason", e.Reason.String()), slog.Duration("waited", e.Waited), errAttr(e.Err)}
			})
		},
		Rejected: func(ctx context.Context, err error) {
			l.say(ctx, slog.LevelDebug, "caller refused", func() []slog.Attr { return refusalAttrs(err) })
		},
		Made: l.made,
		Refused: func(ctx context.Context, err error) {
			l.say(ctx, slog.LevelDebug, "make refused", func() []slog.Attr { return refusalAttrs(err) })
		},
		Checked:   l.checked,
		Destroyed: l.destroyed,
		Outage:    l.outage,
		Panicked: func(err error) {
			l.say(context.Background(), slog.LevelError, "panic contained", func() []slog.Attr { return []slog.Attr{errAttr(err)} })
		},
	}
}

type slogger struct{ to *slog.Logger }

// say logs, if that is wanted; only then are attrs made.
func (l slogger) say(ctx context.Context, level slog.Level, what string, attrs func() []slog.Attr) {
	if l.to.Enabled(ctx, level) {
		l.to.LogAttrs(ctx, level, what, attrs()...)
	}
}

func (l slogger) waited(ctx context.Context, e resource.WaitEvent) {
	l.say(ctx, slog.LevelDebug, "caller waited", func() []slog.Attr {
		a := []slog.Attr{slog.Duration("waited", e.Waited)}
		if e.Request.Class != "" {
			a = append(a, slog.String("class", text.Clean(e.Request.Class, text.MaxLabel)))
		}
		if e.Err != nil {
			return append(a, errAttr(e.Err))
		}
		return append(a, slog.Uint64("resource", e.ID))
	})
}

func (l slogger) made(ctx context.Context, e resource.MakeEvent) {
	if e.Err != nil {
		l.say(ctx, slog.LevelWarn, "make failed", func() []slog.Attr {
			return []slog.Attr{slog.Duration("took", e.Took), errAttr(e.Err)}
		})
		return
	}
	l.say(ctx, slog.LevelDebug, "made", func() []slog.Attr {
		return []slog.Attr{slog.Uint64("resource", e.ID), slog.Duration("took", e.Took)}
	})
}

func (l slogger) checked(e resource.CheckEvent) {
	if e.Err == nil {
		return
	}
	l.say(context.Background(), slog.LevelInfo, "health check failed", func() []slog.Attr {
		return []slog.Attr{slog.Uint64("resource", e.Info.ID), slog.Duration("took", e.Took), errAttr(e.Err)}
	})
}

func (l slogger) destroyed(e resource.DestroyEvent) {
	l.say(context.Background(), slog.LevelDebug, "destroyed", func() []slog.Attr {
		return []slog.Attr{
			slog.Uint64("resource", e.Info.ID), slog.Duration("age", e.Info.Age), slog.Int64("leases", e.Info.Leases),
			slog.Duration("took", e.Took), slog.String("cause", text.Of(e.Cause)),
		}
	})
}

func (l slogger) outage(cause error) {
	if cause == nil {
		l.say(context.Background(), slog.LevelInfo, "outage has ended", func() []slog.Attr { return nil })
		return
	}
	l.say(context.Background(), slog.LevelError, "outage: makes keep failing", func() []slog.Attr {
		return []slog.Attr{errAttr(cause)}
	})
}

func refusalAttrs(err error) []slog.Attr {
	return []slog.Attr{slog.String("policy", refuser(err)), errAttr(err)}
}

func errAttr(err error) slog.Attr { return slog.String("err", text.Of(err)) }
