package main

import (
	"context"
	"fmt"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/etcdledger"
)

// etcdClient returns a client for one address. It connects again soon after a failure: a
// lease of a few seconds does not last through the pauses that gRPC makes by default.
func etcdClient(address string) (*clientv3.Client, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("the address of an etcd must be host:port: %w", err)
	}
	pause := backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}
	return clientv3.New(clientv3.Config{
		Endpoints:            []string{address},
		DialTimeout:          patience,
		DialKeepAliveTime:    time.Second,
		DialKeepAliveTimeout: time.Second,
		DialOptions:          []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{Backoff: pause, MinConnectTimeout: time.Second})},
		Logger:               zap.NewNop(), // failures are shown as a time without the engine
	})
}

// openEtcd opens the ledger of a process.
func openEtcd(o order) (fleet.Ledger, func() error, error) {
	client, err := etcdClient(o.Engine)
	if err != nil {
		return nil, nil, err
	}
	l, err := etcdledger.New(client, etcdledger.Options{Prefix: o.Prefix})
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return l, client.Close, nil
}

// ownEtcd uses an etcd that runs already. It forgets by deleting the keys of this run.
func ownEtcd(ctx context.Context, address, prefix string) (*backend, error) {
	client, err := etcdClient(address)
	if err != nil {
		return nil, err
	}
	if _, err := client.Status(ctx, address); err != nil {
		client.Close()
		return nil, fmt.Errorf("the etcd at %s does not answer: %w", address, err)
	}
	forget := func(ctx context.Context) error {
		_, err := client.Delete(ctx, prefix, clientv3.WithPrefix())
		return err
	}
	return &backend{
		kind: kindEtcd, what: "the etcd at " + address, target: func() string { return address },
		through: func(relay string) string { return relay },
		forget:  forget,
		close: func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = forget(ctx) // leave nothing behind
			client.Close()
		},
	}, nil
}
