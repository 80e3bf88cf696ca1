// Package redisd runs redis-server for tests, as a process that they stop, kill and restart.
// It exists on Linux only. The program is found or installed by package outside.
package redisd
