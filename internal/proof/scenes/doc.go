// Package scenes puts wspool's connections through what happens to connections,
// on real sockets: while nobody uses them, while a lease does, and in a network
// that delays, tears and swallows. It has no code of its own, only tests:
//
//   - TestIdle plays the scenes in which pools lend dead connections or ruin
//     healthy ones, with 200 connections each, and logs how soon what was dead
//     was found out. TestLeased plays those that befall a lease.
//   - TestFaults has a relay do each of its faults in each phase of a
//     connection, from the first byte of its handshake to its closing.
//   - TestMassClose has a server send 200 clients away, and come back.
//
// With -short there are 20 connections, and fewer faults.
package scenes
