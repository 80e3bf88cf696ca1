// Package redisledger keeps the ledger of package fleet in Redis or Valkey: one server, a
// primary with replicas and Sentinel, or a cluster. It needs Redis 6.2 or newer, or any
// Valkey.
//
//	ledger, err := redisledger.Open(&redis.UniversalOptions{Addrs: []string{"redis:6379"}}, redisledger.Options{})
//	...
//	quota, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "provider", Limit: 100})
//
// A [Ledger] is a [fleet.Ledger] and a [fleet.RateLedger]. Each claim is one call of a Lua
// function, which the server executes atomically, and one round trip. The server's memory
// has one hash for each quota, with a field of 44 bytes and its name for each holder, and one
// string for each rate. An abandoned key is deleted a day after the last lease.
//
// # Cost
//
// A claim reads and writes the field of its holder and one with the totals; it takes about 45 µs
// of the server's processor, with 10 holders as with 1,000. So 200 processes with the default
// lease take 0.3 % of a core. All holders are read only if the fair level may change: when a
// holder joins, leaves or is forgotten while the wants exceed the limit, or when a want below
// the level changes. That takes 0.3 ms with 200 holders and 1.5 ms with 1,000; if every claim did it,
// 200 processes would take 2 % of a core. TestServerCost measures it.
//
// # Settings of the client
//
// The defaults of go-redis suit a cache, not a ledger. [Open] makes a client of its own with
// the settings of [Settings]; use them for a client that is passed to [New], too:
//
//   - ContextTimeoutEnabled: otherwise a claim would outlast its context. New requires it.
//   - MaxRetries -1: a claim that failed is repeated by fleet, with a new Seq and what is true
//     then. The three retries of go-redis only delay the news that the engine is lost.
//   - DialerRetries 1: by default a dial is tried five times with pauses, so a refused
//     connection is reported after about two seconds instead of at once.
//   - DialTimeout, ReadTimeout, WriteTimeout of at most 200 ms, and [Options].Timeout for all
//     of a claim: an engine that does not answer is noticed long before a lease ends. Raise
//     them for a distant engine.
//   - Reads from replicas are off: a claim writes.
//
// If go-redis repeats a command all the same, as a cluster client may, the ledger recognizes
// the repetition and answers it like the first.
//
// The user of an ACL needs +evalsha, +eval, +time, +info, +exists, +hmget, +hgetall, +hset,
// +hdel, +pexpire, +get and +set on the keys with the prefix, and +wait for
// [Options].Replicas. Without +info the ledger works, but does not notice that a restart or a
// fail-over lost the last writes.
//
// # What is guaranteed
//
// The rules of [fleet.Ledger] hold for all claims that one server process executes. Beyond
// that:
//
//   - Lost data. A key that is missing (a restart without data, FLUSHALL, eviction) means a
//     quota that is learning: for one lease holders keep what they have and nothing more is
//     granted. All data of a quota are in one key, so they are never lost in part.
//   - Old data. A server that restarts from a snapshot, or a replica that is promoted, lacks
//     the last writes, because replication is asynchronous and the append-only file is written
//     once a second by default. The record of a quota has the run_id of the process that
//     wrote it. If another process finds it, the quota is learning for one lease.
//   - Two primaries. While an old primary, cut off from its replicas, still serves some
//     processes and a promoted replica serves the others, both grant. Nothing in the data can
//     show that. [Options].Replicas closes the gap: a claim succeeds only if so many replicas
//     have it. With Replicas equal to the number of replicas that may be promoted, no grant
//     and no renewal exists on one side only. Without it, the setting min-replicas-to-write of
//     the server bounds the time, if min-replicas-max-lag is less than the lease.
//   - The clock. Leases end by the clock of the server (TIME) and by no other. If that clock is
//     set back, the time of a quota stands still until the next claim and then goes on. If it
//     is set forward, clients notice that it advanced by more than their monotonic clocks and
//     the time of the quota continues where it was; a step of less than [Options].Timeout and
//     one percent of the time since the previous claim is not noticed, and ends leases early
//     by that much. A process whose first claim follows such a step within a third of a
//     lease, before all others, makes the quota learn.
//   - Late claims. A claim that reaches the server after its client has given up, because the
//     server or the network stood still, changes nothing.
//
// Holders of one quota should use the same lease: learning lasts for the lease of the claim
// that began it.
package redisledger
