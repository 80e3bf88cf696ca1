// Package isolation tests the first guarantee of wspool over sockets: no message of one
// lease reaches another. It contains only tests:
//
//   - TestI13_StressIsolation runs many workers against a server that sends late, duplicate,
//     extra and fragmented replies; the workers cancel calls, leave messages unfinished and
//     end leases early. Every message carries the number of the request that it answers; a
//     lease that reads the number of another request detects a crossed message. The type
//     server documents what the pool can guarantee and what is impossible.
//   - TestGracefulCloses counts what ten thousand closed connections leave behind on
//     either side (Linux).
package isolation
