package etcdledger_test

import (
	"context"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/etcdledger"
	"github.com/respool/respool/resource"
)

// It has no output because it needs etcd.
func Example() {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{"http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"},
		DialTimeout:          2 * time.Second,
		DialKeepAliveTime:    time.Second,
		DialKeepAliveTimeout: time.Second,
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
	defer quota.Close(context.Background())
	_ = resource.Config[*session]{
		Quota:    quota, // of each new session
		Eviction: quota.Surplus(),
	}
}

type session struct{}
