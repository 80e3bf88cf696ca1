package etcdledger_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/etcdledger"
	"github.com/respool/respool/resource"
)

// A strict quota of all processes. No etcd answers here, as after a failure of the network, and so
// no session is opened.
func Example() {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{"http://" + unreachable()}, // all members of the cluster
		DialTimeout:          2 * time.Second,
		DialKeepAliveTime:    time.Second,
		DialKeepAliveTimeout: time.Second,
		Logger:               zap.NewNop(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ledger, err := etcdledger.New(client, etcdledger.Options{})
	if err != nil {
		log.Fatal(err)
	}
	quota, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "provider", Limit: 100, OnLost: fleet.FailClosed, CloseBeforeExpiry: true})
	if err != nil {
		log.Fatal(err)
	}
	pool, err := resource.New(resource.Config[*session]{
		Make:     func(context.Context) (*session, error) { return new(session), nil },
		MaxSize:  100,
		Quota:    quota, // of each new session
		Eviction: quota.Surplus(),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = pool.Acquire(ctx)
	fmt.Println("opened without a lease:", err == nil)

	fmt.Println("pool closed:", pool.Close(context.Background()))
	fmt.Println("the ledger does not know of it:", errors.Is(quota.Close(ctx), context.DeadlineExceeded))
	// Output:
	// opened without a lease: false
	// pool closed: <nil>
	// the ledger does not know of it: true
}

type session struct{}

// unreachable returns an address at which nothing listens.
func unreachable() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
