package fleet

import (
	"context"
	"time"
)

// Ledger records, in an engine that all processes reach, how many units of one quota each
// holder has. Implementations: [NewMemory], and the nested modules redisledger and
// etcdledger. Package ledgertest checks one.
//
// There is one operation for joining, growing, renewing, shrinking and leaving. It is
// absolute: a [Claim] says how much the holder has and wants in total, never a difference.
// So a claim whose reply was lost may simply be made again, and a holder that died is
// forgotten when its lease ends.
type Ledger interface {
	// Claim records c and returns what the holder may have from now on. In one atomic step
	// the engine, by its own clock,
	//
	//  1. forgets every holder whose lease has ended,
	//  2. refuses c with [ErrStale] if it has seen the holder's Seq or a later one,
	//  3. grants max(c.Has, min(c.Want, limit - what the others were granted)), or, while it
	//     is learning, c.Has; the limit is the smallest that a live holder states,
	//  4. gives the holder a lease of c.Lease, or forgets it if c.Has and c.Want are 0.
	//
	// A ledger without any record of the quota may have lost it. It is learning for the
	// lease of the first claim: holders state what they have, and nothing more is granted.
	//
	// An error leaves open whether c was recorded. Claim blocks until ctx ends at most, and
	// may be called by many goroutines at once. Errors never contain a password.
	Claim(ctx context.Context, c Claim) (Grant, error)
}

// Claim is what a holder states about one quota.
type Claim struct {
	Quota    string        // which quota: the same name in all processes that share it
	Holder   string        // unique to one process and one [Quota] in it: drawn anew at each start
	Seq      uint64        // larger in each claim of the holder, repetitions included; from 1
	Has      int           // units in use now; they are recorded even beyond the limit
	Want     int           // units wanted in total, at least Has to keep them
	Min      int           // the fair target never falls below this while Want is at least as much
	Priority int           // holders with a larger one are satisfied first, all minimums before
	Limit    int           // the quota as this holder knows it, at least 1
	Lease    time.Duration // how long the grant lasts from the engine's receipt; at least 1 ms
}

// Grant is the engine's answer to a [Claim].
type Grant struct {
	Granted  int           // units that the holder may have; never less than Claim.Has
	Target   int           // the holder's fair share of the limit, given what all want
	Limit    int           // the smallest limit that a live holder states
	Highest  int           // the largest limit that a live holder states: more than Limit if they disagree
	Total    int           // units granted to all holders, this one included
	Holders  int           // live holders, this one included
	Lease    time.Duration // how long the grant lasts, from the engine's receipt of the claim
	Fence    uint64        // larger in each grant of the quota that is not a repetition
	Learning bool          // nothing beyond what holders have is granted yet
}

// RateLedger is an optional interface of a [Ledger]: a token bucket in the same engine.
type RateLedger interface {
	// Take takes up to d.Want tokens. Tokens of a lost reply are lost, which errs on the
	// safe side. As for Claim, an error leaves open whether they were taken.
	Take(ctx context.Context, d Draw) (Taken, error)
}

// Draw asks for tokens of one bucket.
type Draw struct {
	Rate   string        // which bucket: the same name in all processes that share it
	Tokens int           // how many the bucket gets in each Per; also the most it holds, unless Burst is set
	Per    time.Duration // at least 1 ms
	Burst  int           // the most that it holds; 0: Tokens
	Want   int           // at least 1
}

// Taken is the engine's answer to a [Draw].
type Taken struct {
	Granted    int           // 0 to Draw.Want
	RetryAfter time.Duration // until the next token; 0 if Granted is Draw.Want
}
