// Package policy has ready-made policies for package resource.
//
// An admission decides whether something may begin. The same one can serve as
// Config.Admission, where its permit lasts as long as a lease, as
// Config.MakeGate (one making) or as Config.Quota (the life of a resource):
//
//	pool, err := resource.New(resource.Config[*Session]{
//		Make:      dial,
//		MaxSize:   8,
//		Admission: policy.BoundedQueue(8, 100), // 8 served, 100 waiting, the rest refused at once
//		MakeGate:  policy.Pace(rate.NewLimiter(10, 1)), // ten dials a second
//	})
//
// A refusal is a [*resource.Rejection] that names its policy and says, where
// that is known, when to ask again. The end of the caller's context while it
// waits in an admission is no refusal: it is returned as it is. A request with
// NoWait is never kept waiting. Unless a policy says otherwise, a request counts
// for its Cost, a negative Cost is refused with [ErrCost], and a request of
// Cost 1 is admitted without an allocation.
//
// # Order in a chain
//
// [All] asks its members in order and gives back what it has if a later one
// refuses. So put first what refuses cheaply and can be undone ([Limit],
// [BoundedQueue], [Shares], [WithinDeadline]), then what may block
// ([Semaphore], [Gate]), and last what cannot be undone: the token of a [Rate]
// or [Pace], the trial of a [Breaker] or [PermitBreaker].
//
// # As MakeGate and Quota
//
// No caller waits in the MakeGate or Quota: the pool does, on behalf of those who
// wait for a lease, and after a refusal it asks again when that said, or else
// after a while that grows. So a make that has only to wait its turn should
// wait ([Semaphore], [Pace], [Gate]) or be told for how long ([Rate]); a bare
// [Limit] there makes the pool guess.
//
// Constructors panic if an argument is out of its range or nil, and name every
// one that is. Every policy may be used by any number of goroutines at once, and
// shared by several pools, which then share its budget.
package policy
