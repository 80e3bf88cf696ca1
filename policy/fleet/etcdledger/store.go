package etcdledger

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// store is the part of etcd that the ledger needs. The tests implement it in memory.
type store interface {
	// read returns all keys in [from, end) at one revision, which is the newest.
	read(ctx context.Context, from, end string) (content, error)

	// commit makes the changes if each of the guards was last modified at the revision seen (0:
	// the key does not exist). Otherwise it changes nothing, and returns what read would.
	commit(ctx context.Context, t txn) (committed, content, error)

	// grant creates a lease of at least ttl seconds, and returns how many seconds it has.
	grant(ctx context.Context, ttl int64) (id, seconds int64, err error)

	// renew gives a lease its full time again. It returns the raft term before that, and 0
	// seconds if there is no such lease.
	renew(ctx context.Context, id int64) (seconds int64, term uint64, err error)

	// left returns how many full seconds a lease has left; negative: there is no such lease.
	left(ctx context.Context, id int64) (seconds int64, err error)

	// revoke ends a lease.
	revoke(ctx context.Context, id int64) error
}

// txn is a conditional change.
type txn struct {
	guards    []guard
	puts      []pair
	deletes   []string
	from, end string // to be read if the condition fails
}

// guard is the condition that a key has not been modified since the revision seen.
type guard struct {
	key  string
	seen int64
}

// content is what was read.
type content struct {
	pairs    []pair
	revision int64  // of the store
	cluster  uint64 // its identity
}

// committed is the result of a txn.
type committed struct {
	ok       bool
	revision int64
	term     uint64 // raft term after the commit
}

// errNoLease is the error of a commit that attaches a key to a lease that has ended.
var errNoLease = errors.New("the lease has ended")

// etcd is the real store.
type etcd struct {
	kv    clientv3.KV
	lease clientv3.Lease
	// renewals bypasses clientv3.Lease.KeepAliveOnce, which tries again in a busy loop while
	// no member can be reached.
	renewals etcdserverpb.LeaseClient
}

func newEtcd(c *clientv3.Client) *etcd {
	return &etcd{kv: c.KV, lease: c.Lease, renewals: etcdserverpb.NewLeaseClient(c.ActiveConnection())}
}

func (e *etcd) read(ctx context.Context, from, end string) (content, error) {
	r, err := e.kv.Get(ctx, from, clientv3.WithRange(end))
	if err != nil {
		return content{}, err
	}
	return contentOf((*etcdserverpb.RangeResponse)(r), r.Header), nil
}

func contentOf(r *etcdserverpb.RangeResponse, h *etcdserverpb.ResponseHeader) content {
	c := content{pairs: make([]pair, 0, len(r.Kvs)), revision: h.GetRevision(), cluster: h.GetClusterId()}
	for _, kv := range r.Kvs {
		c.pairs = append(c.pairs, pair{key: string(kv.Key), value: string(kv.Value), modified: kv.ModRevision, lease: kv.Lease})
	}
	return c
}

func (e *etcd) commit(ctx context.Context, t txn) (committed, content, error) {
	var changes []clientv3.Op
	for _, p := range t.puts {
		changes = append(changes, clientv3.OpPut(p.key, p.value, clientv3.WithLease(clientv3.LeaseID(p.lease))))
	}
	for _, key := range t.deletes {
		changes = append(changes, clientv3.OpDelete(key))
	}
	var conditions []clientv3.Cmp
	for _, g := range t.guards { // the ModRevision of a key that does not exist is 0
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(g.key), "=", g.seen))
	}
	r, err := e.kv.Txn(ctx).
		If(conditions...).
		Then(changes...).
		Else(clientv3.OpGet(t.from, clientv3.WithRange(t.end))).
		Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return committed{}, content{}, errNoLease
	}
	if err != nil {
		return committed{}, content{}, err
	}
	c := committed{ok: r.Succeeded, revision: r.Header.GetRevision(), term: r.Header.GetRaftTerm()}
	if c.ok {
		return c, content{}, nil
	}
	return c, contentOf(r.Responses[0].GetResponseRange(), r.Header), nil
}

func (e *etcd) grant(ctx context.Context, ttl int64) (id, seconds int64, err error) {
	r, err := e.lease.Grant(ctx, ttl)
	if err != nil {
		return 0, 0, err
	}
	return int64(r.ID), r.TTL, nil
}

func (e *etcd) renew(ctx context.Context, id int64) (seconds int64, term uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	s, err := e.renewals.LeaseKeepAlive(ctx)
	if err != nil {
		return 0, 0, err
	}
	if err := s.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: id}); err != nil {
		// Send says io.EOF if the stream has failed; Recv says why.
		_, err = s.Recv()
		return 0, 0, err
	}
	r, err := s.Recv()
	if err != nil {
		return 0, 0, err
	}
	return r.TTL, r.Header.GetRaftTerm(), nil
}

func (e *etcd) left(ctx context.Context, id int64) (seconds int64, err error) {
	r, err := e.lease.TimeToLive(ctx, clientv3.LeaseID(id))
	if err != nil {
		return 0, err
	}
	return r.TTL, nil
}

func (e *etcd) revoke(ctx context.Context, id int64) error {
	_, err := e.lease.Revoke(ctx, clientv3.LeaseID(id))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}
