package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Ledger records, in an engine that all processes reach, how many units of one quota each
// holder has. Implementations: [Memory], and the nested modules redisledger and
// etcdledger. Package ledgertest checks one.
//
// There is one operation for joining, growing, renewing, shrinking and leaving. It is
// absolute: a [Claim] says how much the holder has and wants in total, never a difference.
// So a claim whose reply was lost may be made again, with the next Seq, and a holder that died is
// forgotten when its lease ends.
type Ledger interface {
	// Claim records c and returns what the holder may have from now on. In one atomic step
	// the engine, by its own clock,
	//
	//  1. forgets every holder whose lease has ended,
	//  2. refuses c with [ErrStale] if it has seen the holder's Seq or a later one,
	//  3. computes the targets of all holders, c included, by the rule of [Targets]; the
	//     limit is the smallest that a live holder states,
	//  4. grants max(c.Has, min(target, limit - what the others were granted)), or, while it
	//     is learning, c.Has,
	//  5. gives the holder a lease of c.Lease, or forgets it if c.Has and c.Want are 0.
	//
	// If the ledger has no record of the quota, the engine may have lost it. The ledger is
	// then learning for the lease of the first claim: holders state what they have, and
	// nothing more is granted.
	//
	// After an error that matches [ErrClaim] or [ErrStale], c was not recorded. Any other
	// error leaves open whether it was. Claim may block, but not after ctx has ended. It may
	// be called by many goroutines at once. Errors never contain a password.
	Claim(ctx context.Context, c Claim) (Grant, error)
}

// Claim is what a holder states about one quota.
type Claim struct {
	Quota  string // which quota: the same name in all processes that share it
	Holder string // unique to one process and one [Quota] in it: drawn anew at each start
	Seq    uint64 // larger in each claim of the holder, repetitions included; at least 1
	// Has is how many units the holder keeps, whatever the answer is: those in use, and
	// those that it may put into use before the answer arrives. They are recorded even if
	// they exceed the limit.
	Has      int
	Want     int           // units wanted in total, at least Has
	Min      int           // the target never falls below this while Want is at least as much
	Priority int           // holders with a larger one are satisfied first, all minimums before
	Limit    int           // the quota as this holder knows it, at least 1
	Lease    time.Duration // how long the grant lasts from the engine's receipt; 1 ms to 24 h
}

// Grant is the engine's answer to a [Claim].
type Grant struct {
	// Granted is how many units the holder may have, never less than Claim.Has. While Total
	// exceeds Limit, because holders stated more, the holder must not use a returned unit
	// again.
	Granted int
	Target  int // the holder's fair share of the limit, given what all want; at most Claim.Want
	Limit   int // the smallest limit that a live holder states
	Highest int // the largest limit that a live holder states: more than Limit if they disagree
	Total   int // units granted to all holders, this one included
	Holders int // live holders, this one included unless it has left
	// Next is the time until the first lease of another holder, or the learning, ends. Until
	// then only a claim by another holder can change the answer. It may be too short. Zero:
	// there is no other holder, and the ledger is not learning.
	Next     time.Duration
	Lease    time.Duration // how long the grant lasts, from the engine's receipt of the claim
	Fence    uint64        // larger in each grant of the quota
	Learning bool          // nothing beyond what holders have is granted yet
}

var (
	// ErrStale: the ledger has seen this Seq of the holder, or a later one.
	ErrStale = errors.New("fleet: claim is older than one that the ledger has seen")
	// ErrClaim: a [Claim] or [Draw] has invalid fields, which the error names.
	ErrClaim = errors.New("fleet: invalid claim")
)

// MaxUnits is the largest number of units or tokens in a [Claim] or [Draw]. Every engine
// represents it exactly.
const MaxUnits = 1<<31 - 1

// Check returns an error that matches [ErrClaim] and names every invalid field; nil: there is
// none. Every [Ledger] calls it first.
func (c *Claim) Check() error {
	var e fieldErrors
	e.name("Quota", c.Quota)
	e.name("Holder", c.Holder)
	e.require(c.Seq >= 1, "Seq must be at least 1, got %d", c.Seq)
	e.units("Has", c.Has, 0)
	e.units("Want", c.Want, 0)
	e.require(c.Want >= c.Has, "Want must be at least Has (%d), got %d", c.Has, c.Want)
	e.units("Min", c.Min, 0)
	e.require(c.Priority >= -MaxUnits && c.Priority <= MaxUnits, "Priority must be between -%d and %[1]d, got %d", MaxUnits, c.Priority)
	e.units("Limit", c.Limit, 1)
	e.lasts("Lease", c.Lease)
	return e.wrap(ErrClaim)
}

// RateLedger is an optional interface of a [Ledger]: a token bucket in the same engine.
type RateLedger interface {
	// Take takes up to d.Want tokens and does not wait for more. A bucket without a record
	// may have been lost, so it begins empty. If a reply is lost its tokens are lost too,
	// which errs on the safe side. After an error that matches [ErrClaim] none was taken; any
	// other error leaves that open. Take may block, but not after ctx has ended. It may be
	// called by many goroutines at once.
	Take(ctx context.Context, d Draw) (Taken, error)
}

// Draw asks for tokens of one bucket.
type Draw struct {
	Rate   string        // which bucket: the same name in all processes that share it
	Tokens int           // how many the bucket gets in each Per, evenly; at least 1
	Per    time.Duration // 1 ms to 24 h
	Burst  int           // how many tokens the bucket holds at most; 0: Tokens
	Want   int           // how many tokens to take at most; at least 1
}

// Taken is the engine's answer to a [Draw].
type Taken struct {
	Granted    int           // 0 to Draw.Want
	RetryAfter time.Duration // until the next token; 0 if Granted is Draw.Want
}

// Check returns an error that matches [ErrClaim] and names every invalid field; nil: there is
// none. Every [RateLedger] calls it first.
func (d *Draw) Check() error {
	var e fieldErrors
	e.name("Rate", d.Rate)
	e.units("Tokens", d.Tokens, 1)
	e.lasts("Per", d.Per)
	e.units("Burst", d.Burst, 0)
	e.units("Want", d.Want, 1)
	return e.wrap(ErrClaim)
}

// Limits of names and durations in claims.
const (
	maxName  = 200
	minLease = time.Millisecond
	maxLease = 24 * time.Hour
)

// fieldErrors collects what is wrong with the fields of a struct.
type fieldErrors []string

func (e *fieldErrors) require(ok bool, format string, args ...any) {
	if !ok {
		*e = append(*e, fmt.Sprintf(format, args...))
	}
}

func (e *fieldErrors) units(field string, n, least int) {
	e.require(n >= least && n <= MaxUnits, "%s must be between %d and %d, got %d", field, least, MaxUnits, n)
}

func (e *fieldErrors) lasts(field string, d time.Duration) {
	e.require(d >= minLease && d <= maxLease, "%s must be between %v and %v, got %v", field, minLease, maxLease, d)
}

// name requires a name that every engine can have as part of a key: without control
// characters, spaces and braces, which Redis Cluster gives a meaning.
func (e *fieldErrors) name(field, s string) {
	bad := func(r rune) bool { return r <= ' ' || r == '{' || r == '}' || r >= 0x7f }
	e.require(s != "" && len(s) <= maxName && strings.IndexFunc(s, bad) < 0,
		"%s must have 1 to %d printable ASCII characters without spaces and braces, got %q", field, maxName, s[:min(len(s), maxName)])
}

// wrap returns nil, or an error that matches kind.
func (e fieldErrors) wrap(kind error) error {
	if len(e) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", kind, strings.Join(e, "; "))
}
