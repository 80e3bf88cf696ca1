package redisledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/respool/respool/internal/redact"
	"github.com/respool/respool/policy/fleet"
)

var (
	//go:embed claim.lua
	claimSource string
	//go:embed take.lua
	takeSource string

	claimScript = redis.NewScript(claimSource)
	takeScript  = redis.NewScript(takeSource)
)

// Ledger is a [fleet.Ledger] and a [fleet.RateLedger] in Redis. Its methods are safe for
// concurrent use. Create it with [Open] or [New]: the zero Ledger cannot be used.
type Ledger struct {
	client  redis.UniversalClient
	owned   bool // Close closes the client
	options Options
	at      string             // addresses, for String
	secrets func() *redact.Set // a func: %#v does not show what it returns
	nonce   func() uint32      // of one call
	now     func() time.Time   // monotonic
	mu      sync.Mutex
	seen    map[string]sighting // by quota; guarded by mu
}

// sighting is the time of a quota in the newest answer. At any later instant the time of the
// quota is at most now plus the time since sent.
type sighting struct {
	now  int64     // microseconds
	sent time.Time // when the claim was sent
}

// Options are the settings of a [Ledger]. The zero value is usable.
type Options struct {
	// Prefix begins all keys: all processes that share a quota must use the same one. It must
	// not contain braces, which delimit the part of a key by which a cluster chooses the
	// node. Empty: "respool:fleet:".
	Prefix string
	// Timeout bounds one claim or draw, whatever its context allows: after this time at most
	// an engine that does not answer is noticed. Must not be negative; at most 24 h, and a
	// longer one counts as that. 0: one second.
	Timeout time.Duration
	// Replicas is how many replicas must have a claim before it succeeds; draws do not wait
	// for them. A claim waits for them for at most 100 ms, and fails then with ErrReplicas.
	// 0: none. The package documentation says what it protects from.
	Replicas int
}

// Settings of a client; see the package documentation.
const (
	patience    = 200 * time.Millisecond // of one dial, read or write
	replicaWait = 100 * time.Millisecond // less than patience, which bounds the read
	poolSize    = 8
)

// Settings returns a copy of u with the settings that a ledger needs, as the package
// documentation lists them. Positive timeouts, a positive PoolSize and a
// MaintNotificationsConfig are kept; the others are overwritten. nil means a server on
// 127.0.0.1:6379.
func Settings(u *redis.UniversalOptions) *redis.UniversalOptions {
	var o redis.UniversalOptions
	if u != nil {
		o = *u
	}
	for _, d := range []*time.Duration{&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout} {
		if *d <= 0 {
			*d = patience
		}
	}
	if o.PoolSize <= 0 {
		o.PoolSize = poolSize
	}
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false
	// Each would cost a new connection another round trip.
	o.DisableIdentity = true
	if o.MaintNotificationsConfig == nil {
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	}
	return &o
}

// Open returns a ledger with a client of its own, which [Ledger.Close] closes. The options
// select the kind of client as for [redis.NewUniversalClient]: MasterName means Sentinel,
// several addresses or IsClusterMode a cluster. Open applies [Settings] to them. It does not
// connect: a wrong address is an error of the first claim. It fails only for invalid options,
// with an error that names each of them.
func Open(u *redis.UniversalOptions, o Options) (*Ledger, error) {
	u = Settings(u)
	client := redis.NewUniversalClient(u)
	l, err := newLedger(client, o, u.Addrs, u.Password, u.SentinelPassword)
	if err != nil {
		client.Close()
		return nil, err
	}
	l.owned = true
	return l, nil
}

// New returns a ledger that uses a client of the caller, which must not be closed before
// the last claim. It fails with an error that names every invalid option and every
// setting of the client that a ledger cannot work with: it must be a *redis.Client or a
// *redis.ClusterClient, with ContextTimeoutEnabled and without reads from replicas.
func New(client redis.UniversalClient, o Options) (*Ledger, error) {
	return newLedger(client, o, nil)
}

// maxTimeout stands for any longer Timeout, which is added to times of the server: a script counts
// them in microseconds and keeps whole numbers up to 2^53.
const maxTimeout = 24 * time.Hour

// newLedger also gets the addresses and the secrets that the client does not show.
func newLedger(client redis.UniversalClient, o Options, addrs []string, secrets ...string) (*Ledger, error) {
	var bad []string
	require := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Sprintf(format, args...))
		}
	}
	if o.Prefix == "" {
		o.Prefix = "respool:fleet:"
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	require(!strings.ContainsAny(o.Prefix, "{}"), "Prefix must not contain braces, got %q", o.Prefix)
	require(o.Timeout > 0, "Timeout must be positive, got %v", o.Timeout)
	o.Timeout = min(o.Timeout, maxTimeout)
	require(o.Replicas >= 0, "Replicas must be at least 0, got %d", o.Replicas)
	s := inspect(client)
	require(s.usable, "client must be a *redis.Client or a *redis.ClusterClient, got %T", client)
	require(!s.usable || s.context, "client must have ContextTimeoutEnabled, so that a claim ends with its context")
	require(!s.readOnly, "client must not read from replicas: a claim writes")
	if addrs == nil {
		addrs = s.addrs
	}
	for i, addr := range addrs {
		// The address is not shown: it may hold a password. go-redis would log it.
		require(!strings.Contains(addr, "://") && !strings.Contains(addr, "@"),
			"address %d must be host:port, or the path of a socket, without scheme and credentials", i)
	}
	if bad != nil {
		return nil, errors.New("redisledger: " + strings.Join(bad, "; "))
	}
	set := new(redact.Set)
	set.Add(append(secrets, s.password)...)
	return &Ledger{
		client:  client,
		options: o,
		at:      redact.Clean(set.Redact(strings.Join(addrs, ","), false), maxText),
		secrets: func() *redact.Set { return set },
		nonce:   rand.Uint32,
		now:     time.Now,
		seen:    make(map[string]sighting),
	}, nil
}

// settings are those of a client that matter to a ledger.
type settings struct {
	usable, context, readOnly bool
	addrs                     []string
	password                  string
}

// inspect returns the settings of a client. A [redis.Ring] is not usable: it moves a key to
// another server when one is gone, and both would grant the quota.
func inspect(client redis.UniversalClient) settings {
	switch c := client.(type) {
	case *redis.Client:
		if c != nil {
			o := c.Options()
			return settings{usable: true, context: o.ContextTimeoutEnabled, addrs: []string{o.Addr}, password: o.Password}
		}
	case *redis.ClusterClient:
		if c != nil {
			o := c.Options()
			return settings{usable: true, context: o.ContextTimeoutEnabled, readOnly: o.ReadOnly, addrs: o.Addrs, password: o.Password}
		}
	}
	return settings{}
}

// Close closes the client of a ledger from [Open]; claims fail afterwards. It does not touch the
// client given to [New], and it does not make holders leave. It may be called more than once.
func (l *Ledger) Close() error {
	if !l.owned {
		return nil
	}
	if err := l.client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return errors.New("redisledger: close: " + l.safe(err.Error()))
	}
	return nil
}

// String returns the addresses and the prefix, without credentials.
func (l *Ledger) String() string {
	return fmt.Sprintf("redis ledger at %s, keys %s*", l.at, l.options.Prefix)
}

// GoString returns String, so that %#v does not show the password in the client.
func (l *Ledger) GoString() string { return l.String() }

// key returns the key of a quota or rate. Keys of one name are on one node of a cluster,
// which hashes what is between braces.
func (l *Ledger) key(name, what string) string { return l.options.Prefix + "{" + name + "}:" + what }

// Claim implements [fleet.Ledger]. It blocks for one round trip, for another one if the server
// does not have the script yet or its clock was set forward, and at most until ctx ends or
// [Options].Timeout is over. It fails with an error that matches [fleet.ErrClaim] or
// [fleet.ErrStale], or with an [*Error].
func (l *Ledger) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	if err := c.Check(); err != nil {
		return fleet.Grant{}, err
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, l.options.Timeout)
	defer cancel()
	nonce := l.nonce()
	sent := l.now()
	for correct := false; ; correct = true {
		reply, err := l.eval(ctx, l.key(c.Quota, "quota"), c.Holder, c.Seq>>32, c.Seq&(1<<32-1), nonce, c.Has, c.Want, c.Min, c.Priority, c.Limit,
			micros(c.Lease), l.latest(c.Quota, sent), correct)
		if err != nil {
			return fleet.Grant{}, l.failed(caller, "claim", c.Quota, err)
		}
		a, err := parseClaim(reply, &c)
		if err != nil {
			return fleet.Grant{}, l.failed(caller, "claim", c.Quota, err)
		}
		switch {
		case a.kind == replyStale:
			return fleet.Grant{}, fmt.Errorf("redisledger: claim %q, holder %s, Seq %d: %w", c.Quota, c.Holder, c.Seq, fleet.ErrStale)
		case a.kind == replyGranted:
			l.sight(c.Quota, sighting{a.now, sent})
			return a.grant, nil
		case correct:
			return fleet.Grant{}, l.failed(caller, "claim", c.Quota, replyError("a corrected claim is late"))
		}
		// The answer arrived in time, so the server's clock was set forward. The second claim
		// says what the time must be.
	}
}

// latest returns the largest time that the quota can have before the Timeout of a claim that
// was sent at that instant; 0: not known. Clocks may differ in speed by one percent.
func (l *Ledger) latest(quota string, sent time.Time) int64 {
	l.mu.Lock()
	s, ok := l.seen[quota]
	l.mu.Unlock()
	if !ok {
		return 0
	}
	passed := sent.Sub(s.sent)
	return s.now + micros(passed+passed/100+l.options.Timeout)
}

// maxSeen bounds Ledger.seen.
const maxSeen = 1000

func (l *Ledger) sight(quota string, s sighting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.seen[quota]; ok && !s.sent.After(old.sent) {
		return // claims overtook each other
	}
	if len(l.seen) >= maxSeen {
		clear(l.seen) // a quota that is not remembered is checked less strictly once
	}
	l.seen[quota] = s
}

// Take implements [fleet.RateLedger]. It blocks for one round trip, at most until ctx ends or
// [Options].Timeout is over. It fails with an error that matches [fleet.ErrClaim], or with an
// [*Error].
func (l *Ledger) Take(ctx context.Context, d fleet.Draw) (fleet.Taken, error) {
	if err := d.Check(); err != nil {
		return fleet.Taken{}, err
	}
	if d.Burst == 0 {
		d.Burst = d.Tokens
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, l.options.Timeout)
	defer cancel()
	reply, err := takeScript.Run(ctx, l.client, []string{l.key(d.Rate, "rate")}, d.Tokens, micros(d.Per), d.Burst, d.Want).Result()
	if err != nil {
		return fleet.Taken{}, l.failed(caller, "take", d.Rate, err)
	}
	t, err := parseTake(reply, &d)
	if err != nil {
		return fleet.Taken{}, l.failed(caller, "take", d.Rate, err)
	}
	return t, nil
}

// micros rounds up: a lease must not be shorter than its holder thinks.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }

// eval runs claim.lua, by its hash if the server knows it.
func (l *Ledger) eval(ctx context.Context, key string, args ...any) (any, error) {
	keys := []string{key}
	if l.options.Replicas == 0 {
		return claimScript.Run(ctx, l.client, keys, args...).Result()
	}
	reply, err := l.evalWait(ctx, key, func(p redis.Pipeliner) *redis.Cmd { return claimScript.EvalSha(ctx, p, keys, args...) })
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return l.evalWait(ctx, key, func(p redis.Pipeliner) *redis.Cmd { return claimScript.Eval(ctx, p, keys, args...) })
	}
	return reply, err
}

// evalWait runs claim.lua and waits until the replicas have what it wrote. WAIT counts for
// the connection that it is sent on, which a pipeline to one node guarantees.
func (l *Ledger) evalWait(ctx context.Context, key string, eval func(redis.Pipeliner) *redis.Cmd) (any, error) {
	node := l.client
	cluster, isCluster := l.client.(*redis.ClusterClient)
	if isCluster {
		master, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return nil, err
		}
		node = master
	}
	var cmd *redis.Cmd
	var acks *redis.Cmd
	_, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		cmd = eval(p)
		acks = p.Do(ctx, "wait", l.options.Replicas, replicaWait.Milliseconds())
		return nil
	})
	if cmd.Err() != nil {
		if isCluster && kind(cmd.Err()) == ErrCluster {
			cluster.ReloadState(ctx)
		}
		return nil, cmd.Err()
	}
	if err != nil {
		return nil, err
	}
	n, err := acks.Int64()
	if err != nil {
		return nil, replyError("WAIT: " + err.Error())
	}
	if n < int64(l.options.Replicas) {
		return nil, replicasError(fmt.Sprintf("%d of %d in %v", n, l.options.Replicas, replicaWait))
	}
	return cmd.Val(), nil
}

// replicasError says how many replicas have a claim.
type replicasError string

func (e replicasError) Error() string { return string(e) }
