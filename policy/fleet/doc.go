// Package fleet shares one upstream quota among many processes: a provider that allows an
// account 100 concurrent sessions, and replicas that come and go. The processes together
// keep the limit; each gets a fair share of it, and all of it if the others want less.
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
// how many units it has and how many it wants, and learns how many it is granted, for the
// time of a lease. A [Quota] makes such a claim three times per lease, when it needs more,
// and when it has units that others lack. In between a permit is a local integer: no acquire
// waits for a round trip if a unit is free. A request for which none is free waits, and is
// served as soon as the ledger grants it or a unit of the process comes back.
//
// While the processes want more than there is, each has a target: its max-min fair share
// ([Targets]), after minimums and priorities. A process that has more does not use units
// again that come back, and Surplus ends resources that are idle or come back, so that a
// process that joins late gets its share, within a lease if resources are lent for less.
// No lease is cut for that.
//
// Slack units are granted in advance, so that a new resource need not wait. They are given
// back when nothing needed them for a lease, and at once when others lack units.
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
// FailOpen is LocalShare without a bound while the ledger is lost or learning.
//
// With LocalShare the processes together have at most
//
//	Limit + the sum of max(units in use, share) of the processes cut off   if others reach the ledger
//	Limit + the sum of the shares of all                                   if no process reaches it
//
// where a share is max(1, Min, Limit/holders), rounded down, with the holders of the last
// answer. The same holds without CloseBeforeExpiry for FailClosed, with shares of 0. When the
// ledger is back it knows of all units, also those beyond the limit; then nothing is granted,
// no unit that comes back is used again, and Surplus ends idle resources, until the limit is
// kept.
//
// # Strictness
//
// With FailClosed and CloseBeforeExpiry no session exists beyond the limit under these
// conditions, which the ledger and the program must keep:
//
//   - Each creation is bound to the quota, by [Quota.Dial], [Quota.Context] or
//     [Quota.OnExpiry]: only then are leased resources closed, and creations that run ended.
//   - The clocks of the process and of the engine run at the same speed to within
//     [Config.Margin] per lease, and closing takes less than what is left of it.
//   - All processes use the same Lease: an engine that has lost its data learns for one lease.
//   - The engine does not forget the last claims alone, as a replica may that is promoted before
//     it has all: see the documentation of the engine's package.
//
// A process that is stopped (SIGSTOP, a frozen container) can close nothing. Its kernel keeps
// the connections, and only the provider can end them: usually after it has had no answer for
// some time. Choose a Margin of at least that time. If the engine was reachable up to the stop
// 60 % of Lease are enough, since about two thirds of the lease were left. When the process
// continues a timer closes what is left, and no request is admitted, because Admit reads the
// clock. A goroutine first finishes the instruction at which it was stopped, which may be a
// system call that writes to an old session or connects a new one, right after the check of
// the clock. The quota cannot prevent that; the timer closes such a session too.
//
// Time is the monotonic clock of the process. On Linux it does not run while the machine is
// suspended: a process on a machine that sleeps for longer than the Margin relies on a lease
// that has ended, until its next claim is answered.
//
// # Several quotas, pools and services
//
// A creation that needs a unit of each of several quotas (of the account and of the model)
// uses policy.All(account, model); their Surplus go into policy.AnyOf. Several pools of one
// process share a quota by a [Member] for each, which also gives the resources of a pool a
// weight. Services share a quota by its name; those with a larger Priority get what they want
// first, but no process gets less than its Min. If services state different limits the
// smallest one holds, and State shows that they disagree.
//
// A [DialRate] is a rate of creations that all processes together keep, for
// [resource.Config.MakeGate].
package fleet
