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
// What a caller waits for is whichever comes first: a resource that another
// caller gives back, one that the pool has just made, the end of the caller's
// context, or [Pool.Close]. Nobody is tied to a make, and how many to make is
// the pool's decision: see [Config.Make].
//
// Life is puddle's: every resource is made, counted, hijacked and destroyed
// through github.com/jackc/puddle/v2. Lending is this package's own.
//
// What may be lent, when one may be made, which is too old, which is ill and
// who is served first are policies: [Admission], [Eviction], [Health] and
// [Queue]. A nil policy costs nothing. Ready-made ones live in package policy.
package resource
