// Package redisledger keeps the ledger of package fleet in Redis or Valkey: one server, a
// primary with replicas and Sentinel, or a cluster. It needs Redis 6.2 or newer, or any
// Valkey.
//
//	ledger, err := redisledger.Open(&redis.UniversalOptions{Addrs: []string{"redis:6379"}}, redisledger.Options{})
//	...
//	quota, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "provider", Limit: 100})
//
// A [Ledger] is a [fleet.Ledger] and a [fleet.RateLedger]. Each claim is one call of a Lua
// script, which the server executes atomically, and as a rule one round trip. The server stores
// one hash for each quota, with a field of 44 bytes for each holder, and one string for each
// rate. It deletes the hash of an abandoned quota 12 to 24 hours after the last lease, and the
// string of a rate a day after the bucket is full.
//
// # Cost
//
// A claim reads and writes the field of its holder and one with the totals; it takes about 45 µs
// of the server's processor, with 10 holders as with 1,000. So 200 processes with the default
// lease take 0.3 % of a core. All holders are read about twice per lease, to find the lease
// that ends next, and if the fair level may change: when a holder joins, leaves or is forgotten
// while the wants exceed the limit, or when a want below the level changes. That takes 0.3 ms
// with 200 holders and 1.5 ms with 1,000; if every claim did it, 200 processes would take 2 % of
// a core. TestServerCost measures it.
//
// # Settings of the client
//
// The defaults of go-redis suit a cache, not a ledger. [Open] creates a client with the
// options that [Settings] returns; use Settings for a client that is passed to [New], too:
//
//   - ContextTimeoutEnabled: otherwise a claim would outlast its context. New requires it.
//   - MaxRetries -1: package fleet repeats a failed claim itself, with a new Seq and the current
//     numbers. The three retries of go-redis would only delay the report that the engine is lost.
//   - DialerRetries 1: by default a dial is tried five times with pauses, so a refused
//     connection is reported after about two seconds instead of at once.
//   - DialTimeout, ReadTimeout and WriteTimeout of 200 ms unless they are set, and
//     [Options].Timeout for a whole claim: an engine that does not answer is noticed long
//     before a lease ends. Raise them for a distant engine.
//   - Reads from replicas are off: a claim writes.
//
// After as many refused dials as its pool has connections (eight by default), go-redis dials
// once a second until a dial succeeds, so the return of a server may be noticed a second late.
//
// If go-redis repeats a command all the same, as a cluster client may, the script recognizes
// the repetition and answers it like the first call.
//
// The user of an ACL needs +evalsha, +eval, +time, +info, +exists, +hmget, +hgetall, +hset,
// +hdel, +pexpire, +get and +set on the keys with the prefix, and +wait for
// [Options].Replicas. Without +info the ledger works, but does not notice when a restart or a
// fail-over has lost the last writes.
//
// # What is guaranteed
//
// The rules of [fleet.Ledger] hold for all claims that one server process executes. In
// addition:
//
//   - Lost data. A key that is missing (a restart without data, FLUSHALL, eviction) means a
//     quota that is learning: for one lease holders keep what they have and nothing more is
//     granted. All data of a quota are in one key, so they are never lost in part.
//   - Old data. A server that restarts from a snapshot, or a replica that is promoted, lacks
//     the last writes, because replication is asynchronous and the append-only file is synced
//     to disk once a second by default. The record of a quota has the run_id of the
//     server process that wrote it. If another one finds it, the quota is learning for one
//     lease.
//   - Two primaries. While an old primary, cut off from its replicas, still serves some
//     processes and a promoted replica serves the others, both grant. Nothing in the data can
//     show that. [Options].Replicas closes the gap: a claim succeeds only if so many replicas
//     have it. With Replicas equal to the number of replicas that may be promoted, no grant
//     and no renewal exists on one side only. Without it, the setting min-replicas-to-write of
//     the server bounds the time, if min-replicas-max-lag is less than the lease.
//   - The clock. Leases end by the clock of the server (TIME) and by no other. If that clock is
//     set back, the time of a quota continues where it was. If it is set forward, a client
//     notices that it advanced by more than the client's monotonic clock, and the time of the
//     quota continues where it was. A step of less than [Options].Timeout plus one percent of
//     the time since the previous claim is not noticed: leases end early by the length of the
//     step. If the first claim after a step forward is the first of its process, the quota is
//     learning.
//   - Late claims. A claim that reaches the server after its client has given up, because the
//     server or the network stood still, changes nothing.
//   - Rates. A bucket follows the clock of the server as it is set. A step forward fills the
//     bucket early, to Burst at most; a step back costs the tokens gained since the last draw.
//     If another server process finds a bucket, it begins empty.
//
// Holders of one quota should use the same lease: learning lasts for the lease of the claim
// that began it, or for the longest lease if old data were found.
package redisledger
