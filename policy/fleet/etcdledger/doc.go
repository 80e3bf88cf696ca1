// Package etcdledger keeps the ledger of package fleet in etcd. It is the strictest engine: a
// grant that was answered survives the failure of any minority of the members, because etcd
// answers after a majority has the grant on disk.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 2 * time.Second})
//	...
//	ledger, err := etcdledger.New(client, etcdledger.Options{})
//	...
//	quota, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "provider", Limit: 100})
//
// # Keys
//
// Each quota has these keys below [Options.Prefix], with names escaped as in a URL's path:
//
//	QUOTA/h/HOLDER  the record of one holder, attached to the holder's etcd lease
//	QUOTA/l         exists while the ledger is learning, attached to a lease that is not renewed
//	QUOTA/q         exists since the first claim; written by each claim that changes something
//
// One claim reads all keys of the quota with one request, decides, and writes QUOTA/q and the
// holder's record in one transaction, on the condition that QUOTA/q has not been written
// since. So all changes of one quota are in one order, whichever process makes them. A renewal
// writes the holder's record only, on the same condition: renewals do not make each other
// fail. Each holder has a key of its own, so that etcd deletes the record itself when the lease
// ends, and so that a claim writes about 100 bytes however many holders there are. A claim
// reads the records of all holders: about 100 bytes for each.
//
// The revision of the transaction is the fence.
//
// # Time
//
// No clock but etcd's decides anything: a holder is forgotten when etcd deletes its record
// at the end of its lease. etcd counts leases in whole seconds and has a smallest one, with
// its default settings two seconds. It rounds up, and [fleet.Grant].Lease is the time that
// etcd granted. etcd looks for ended leases twice a second.
//
// A lease is renewed before the transaction, and a renewal involves only the leader of
// etcd. A leader that another member has just replaced could still accept the renewal. The
// claim therefore fails with [ErrLeader] unless the transaction was answered in the raft term in
// which the renewal began: then the member that accepted the renewal was the leader. A later
// leader gives each lease its full time again.
//
// The lease of a holder may end between the reading and the transaction. If it is another
// holder's, the claim still counts the units of that holder, which errs on the safe side; Next
// says when to claim again. If it is the claimant's own, etcd refuses the transaction, since the lease to
// which it attaches the record does not exist, and the claim starts again with a new lease.
// A process that was stopped in the middle of a claim therefore writes nothing that is out of
// date: either no other claim changed the quota meanwhile, or the condition of its transaction
// fails.
//
// # Failures
//
// While etcd has no leader claims fail when their context ends. A new leader gives each lease
// its full time again, and so does a restart: units of a holder that died are granted to
// others that much later, never too early. If all data are lost, or the keys of the quota deleted, the ledger
// is learning for one lease. The same happens if an old copy of the data was restored and a
// process that claims detects it: the identity of the cluster has changed, or the process has
// seen a later revision than etcd has. A restore that may escape both (the same cluster
// identity, and all processes restarted) requires the keys of the quota to be deleted.
// Compaction does not matter: no old revision is read. The fence is a revision of
// etcd; it starts again when all data were lost, and goes back with an old copy. The wall clock
// of the servers does not matter.
//
// A key whose value is not of the form that this package writes is an error, [ErrForm]; it is
// never overwritten.
//
// # Settings of the client
//
// The client belongs to the caller and is not closed. All quotas of a process may share one
// client. DialKeepAliveTime and DialKeepAliveTimeout should be set, to a second or
// so: without them a member that is stopped, or a network that drops packets, is found only
// when requests time out, and the client does not turn to another member. The ledger is not
// a [fleet.RateLedger]: a bucket needs a clock that a transaction can read, and etcd has
// none.
package etcdledger
