package metrics

import (
	"context"
	"log/slog"

	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// Slog returns a Trace that logs the slow operations of a pool to logger. An acquire
// that finds an idle resource logs nothing, nor does its release. Several pools can
// share the Trace; logger.With("pool", name) distinguishes them. A nil logger is
// slog.Default() at the time of the call.
//
// The level is Error for the beginning of an outage and for a panic, Warn for a
// creation that failed, Info for the end of an outage and for a health check that
// failed. It is Debug for the rest: waits, acquires that failed, refusals, and
// resources created and destroyed. The text of an error, which a server may have
// written, is cut to 200 bytes, and URLs in it lose user, password and query.
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
			l.say(ctx, slog.LevelDebug, "creation refused", func() []slog.Attr { return refusalAttrs(err) })
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

// say logs if the level is enabled, and calls attrs only then.
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
		l.say(ctx, slog.LevelWarn, "creation failed", func() []slog.Attr {
			return []slog.Attr{slog.Duration("took", e.Took), errAttr(e.Err)}
		})
		return
	}
	l.say(ctx, slog.LevelDebug, "created", func() []slog.Attr {
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
		l.say(context.Background(), slog.LevelInfo, "outage ended", func() []slog.Attr { return nil })
		return
	}
	l.say(context.Background(), slog.LevelError, "outage: resource creation is failing", func() []slog.Attr {
		return []slog.Attr{errAttr(cause)}
	})
}

func refusalAttrs(err error) []slog.Attr {
	return []slog.Attr{slog.String("policy", refuser(err)), errAttr(err)}
}

func errAttr(err error) slog.Attr { return slog.String("err", text.Of(err)) }
