// Package tenants holds wspool to its first promise, over sockets: no message of
// one lease reaches another. It has no code of its own, only tests:
//
//   - TestStressTenants lets many tenants loose on a server that sends late,
//     duplicate, extra and fragmented replies, and who themselves cancel, forget
//     and leave early. Every message carries the number of the request that it
//     answers; a lease that reads another's number has been crossed. What the
//     pool can promise and what nobody could is written at type server.
//   - TestGracefulCloses counts what ten thousand closed connections leave
//     behind on either side (Linux).
package tenants
