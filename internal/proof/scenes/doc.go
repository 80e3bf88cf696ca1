// Package scenes tests the connections of wspool on real sockets under events that happen to
// connections: while idle, while leased, and in a network that delays, truncates and drops.
// It contains only tests:
//
//   - TestIdle covers the events after which pools lend dead connections or close healthy
//     ones, with 200 connections each, and logs how soon dead ones were detected.
//     TestLeased covers events during a lease.
//   - TestFaults applies each fault of a relay in each phase of a connection, from the first
//     byte of its handshake to its close.
//   - TestMassClose has a server close 200 connections, and accept them again.
//
// With -short there are 20 connections, and fewer faults.
package scenes
