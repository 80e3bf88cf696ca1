package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/redisledger"
)

// go-redis logs each failed connection to standard error. The program shows them as a time
// without the engine.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// openLedger opens the ledger of a process. close closes its connections.
func openLedger(o order) (ledger fleet.Ledger, close func() error, err error) {
	switch o.Kind {
	case kindRedis:
		u, err := redisOptions(o.Engine)
		if err != nil {
			return nil, nil, err
		}
		l, err := redisledger.Open(u, redisledger.Options{Prefix: o.Prefix})
		if err != nil {
			return nil, nil, err
		}
		return l, l.Close, nil
	case kindEtcd:
		return openEtcd(o)
	}
	return nil, nil, fmt.Errorf("there is no engine %q", o.Kind)
}

// redisOptions returns the options for an address, host:port or a redis:// URL. The error
// does not show it, as it may contain a password.
func redisOptions(address string) (*redis.UniversalOptions, error) {
	if !strings.Contains(address, "://") {
		address = "redis://" + address
	}
	o, err := redis.ParseURL(address)
	if err != nil || o.TLSConfig != nil || o.Network != "tcp" {
		return nil, errors.New("the address of a Redis must be host:port or redis://[user:password@]host:port[/db]")
	}
	return &redis.UniversalOptions{Addrs: []string{o.Addr}, Username: o.Username, Password: o.Password, DB: o.DB}, nil
}

// ownRedis uses a server that runs already. It forgets by deleting the keys of this run.
func ownRedis(ctx context.Context, address, prefix string) (*backend, error) {
	u, err := redisOptions(address)
	if err != nil {
		return nil, err
	}
	client := redis.NewUniversalClient(redisledger.Settings(u))
	if err := client.Ping(ctx).Err(); err != nil {
		client.Close()
		return nil, fmt.Errorf("the Redis at %s does not answer: %w", u.Addrs[0], err)
	}
	_, after, found := strings.Cut(address, "@")
	if !found {
		after = strings.TrimPrefix(address, "redis://")
	}
	credentials := strings.TrimSuffix(address, after)
	forget := func(ctx context.Context) error {
		keys := client.Scan(ctx, 0, prefix+"*", 1000).Iterator()
		for keys.Next(ctx) {
			if err := client.Del(ctx, keys.Val()).Err(); err != nil {
				return err
			}
		}
		return keys.Err()
	}
	return &backend{
		kind: kindRedis, what: "the Redis at " + u.Addrs[0], target: func() string { return u.Addrs[0] },
		// What the processes use: the relay in place of the server, the rest as it was.
		through: func(relay string) string {
			if credentials == "" {
				credentials = "redis://"
			}
			_, path, _ := strings.Cut(after, "/")
			return credentials + relay + "/" + path
		},
		forget: forget,
		close: func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = forget(ctx) // leave nothing behind
			client.Close()
		},
	}, nil
}
