// Package resource lends expensive resources: connections, sessions,
// subprocesses, anything that is slow to make and worth keeping.
//
//	pool, err := resource.New(resource.Config[*Session]{
//		Make:    dial,                                        // how to make one
//		Destroy: func(s *Session, cause error) { s.Close() }, // how to end one
//		Broken:  func(err error) bool { return !errors.Is(err, ErrNotFound) }, // which errors of Do cost it
//		MaxSize: 8,
//	})
//	...
//	err = pool.Do(ctx, func(ctx context.Context, s *Session) error {
//		return s.Ask(ctx, "anything")
//	})
//
// Use [Pool.Do] where the work fits a function, and [Pool.Acquire] where the
// lease must outlive one.
//
// A caller waits for whichever comes first: a resource that another
// caller gives back, one that the pool has just created, the end of the caller's
// context, or [Pool.Close]. No caller is tied to a creation, and how many to create
// is the pool's decision: see [Config.Make].
//
// The states of a resource, and what changes them:
//
//	creating   ── Make and Watch return ───────▶ idle, or leased to a waiter
//	           ── Make fails or is abandoned ──▶ there is no resource
//	idle       ── an acquire takes it ─────────▶ leased
//	           ── a check is due ──────────────▶ checking
//	checking   ── Check passes ────────────────▶ idle or leased
//	leased     ── Release, ReleaseUnused ──────▶ idle, or leased to a waiter
//	           ── the same with OnRelease, or
//	              ReleaseAfter ────────────────▶ resetting
//	           ── Hijack ──────────────────────▶ the caller's own
//	resetting  ── the function returns nil ────▶ idle, or leased to a waiter
//	any        ── Discard, Fail, an Eviction,
//	              a failed check or OnRelease,
//	              invalidate, Reset, Resize,
//	              Close ───────────────────────▶ destroying
//	destroying ── Destroy returns ─────────────▶ gone; its slot is free
//
// A resource that is to be destroyed while it is leased is destroyed when its lease
// ends: see [Lease].
//
// The life of a resource is puddle's: each is created, counted, hijacked and destroyed
// through github.com/jackc/puddle/v2. Lending is this package's own.
//
// Policies decide which callers may acquire, when a resource may be created, which is
// too old, which is broken and which waiter is served first: [Admission], [Eviction],
// [Health] and [Queue]. A nil policy costs nothing. Ready-made ones are in package policy.
package resource
