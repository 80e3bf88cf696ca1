// Package fleet shares one upstream quota among many processes: a provider that allows an
// account 100 concurrent sessions, and replicas that come and go. The processes together
// keep the limit. Each gets a fair share of it, and more than that while the others want less.
//
//	quota, err := fleet.New(fleet.Config{
//		Ledger: ledger,             // package redisledger or etcdledger, or NewMemory
//		Quota:  "provider-account", // the same name in all processes
//		Limit:  100,
//	})
//	...
//	pool, err := resource.New(resource.Config[*Session]{
//		Make: dial, MaxSize: 100,
//		Quota:    quota,
//		Eviction: policy.AnyOf(quota.Surplus(), policy.MaxIdle(5*time.Minute)),
//	})
//	...
//	pool.Close(ctx)
//	quota.Close(ctx) // gives the units back at once
//
// # How it works
//
// A [Ledger] is an engine that all processes reach. It has one operation: a holder states
// how many units it has and how many it wants, and the ledger answers how many it is granted,
// for the time of a lease. A [Quota] makes such a claim three times per lease, when it needs
// more units, and when it has units that others lack. Between two claims a permit is a local
// integer: no acquire waits for a round trip if a unit is free. A request for which no unit is
// free waits until the ledger grants one or a resource of the process returns one.
//
// While the processes want more than there is, each has a target: its max-min fair share
// ([Targets]), after minimums and priorities. A process that has more does not use a
// returned unit again, and Surplus ends its resources that are idle or are released. So a
// process that joins late gets its share, within a lease of the ledger if callers release
// their resources sooner than that. No resource is taken from its holder for it.
//
// [Config.Slack] units are granted in advance, so that a new resource need not wait. Units
// beyond them that were not needed for a lease are given back. If an answer of the ledger
// shows that others lack units, the process gives up the slack too.
//
// # What you see, and what is guaranteed
//
//	what happens              LocalShare (default)        FailClosed             FailClosed, CloseBeforeExpiry
//	-----------------------------------------------------------------------------------------------------
//	the ledger answers        at most Limit together      at most Limit          at most Limit
//	it does not, but the      as before: what was granted as before              as before
//	lease lasts               may be used
//	it does not, and the      new: up to max(1, Min,      new: refused with      all are closed before the
//	lease has ended           Limit/holders); existing    ErrLost; existing      lease ends; new: refused
//	                          ones stay                   ones stay              with ErrLost
//	beyond the limit then     see below                   what the process had:  none
//	                                                      others may get it
//	it has lost its data,     new: as without a lease;    new: wait, for one     new: wait, for one lease
//	and is learning           existing ones are stated    lease; existing ones   at most; existing ones
//	                          again                       are stated again       are stated again
//	a process dies            its units are granted to others when its lease ends
//	a process is stopped      when it continues: as       as LocalShare          existing ones are closed
//	for more than its lease   above; State().Over counts                         before it does anything
//	                          what it has beyond its                             else with the quota
//	                          grant
//	the provider refuses      with Config.TooMany: less is asked for, and nothing is admitted for a while
//
// The ledger is lost when the lease has ended, or none was granted yet, and the last claim
// failed. FailOpen is LocalShare without a bound while the ledger is lost or learning.
//
// With LocalShare the processes together have at most
//
//	Limit + the sum of max(units in use, share) of the processes cut off   if others reach the ledger
//	Limit + the sum of the shares of all                                   if no process reaches it
//
// where a share is max(1, Min, Limit/holders), rounded down; holders is how many there were at
// the last answer. For FailClosed without CloseBeforeExpiry the same bounds hold with shares of
// 0. When the ledger answers again the processes state all units in use, also those beyond the
// limit. Until the limit is kept the ledger grants nothing more, no returned unit is used
// again, and Surplus ends idle resources.
//
// # Strictness
//
// With FailClosed and CloseBeforeExpiry no session exists beyond the limit under these
// conditions, which the engine and the program must meet:
//
//   - Each creation is bound to the quota, by [Quota.Dial], [Quota.Context] or
//     [Quota.OnExpiry]: only then are leased resources closed and running creations ended.
//   - The clocks of the process and of the engine run at the same speed to within
//     [Config.Margin] per lease, and closing takes less than what is left of it.
//   - All processes use the same Lease: an engine that has lost its data learns for one lease.
//   - The engine does not lose only the newest claims, as happens when a replica is promoted
//     that lacks them: see the documentation of the engine's package.
//
// A process that is stopped (SIGSTOP, a frozen container) can close nothing. Its kernel keeps
// the connections, and only the provider can end them, usually after a timeout without an
// answer from the client. If the engine was reachable until the stop, at least 60 % of the
// lease is left then, so the limit is kept if the provider's timeout is at most 60 % of Lease.
// If the engine may be unreachable before the stop, Margin must be at least that timeout.
//
// When the process continues, a timer closes what is left, and Admit admits nothing, because
// it reads the clock. A goroutine that was stopped between the check of the clock and a system
// call still makes that call, which may write to an old session or connect a new one. The
// quota cannot prevent that; the timer closes such a session too.
//
// Time is the monotonic clock of the process. On Linux it does not run while the machine is
// suspended: after a suspension longer than the Margin the process may rely on a lease that
// has ended, until its next claim is answered.
//
// # Several quotas, pools and services
//
// If each resource needs a unit of each of several quotas (of the account and of the model),
// set Quota to policy.All(account, model) and combine their Surplus with policy.AnyOf. Several
// pools of one process share a quota through a [Member] for each, which also sets how many
// units a resource of the pool takes. Services that use the same name share a quota. Those
// with a larger Priority get what they want first, after the Min of every process. If services
// state different limits the smallest one applies, and State shows that they disagree.
//
// A [DialRate] is a rate of creations that all processes together keep, for
// [resource.Config.MakeGate].
package fleet
