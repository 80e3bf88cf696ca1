//go:build !unix

package main

import "syscall"

// unprivileged returns the attributes of the processes of PostgreSQL.
func unprivileged(string) (*syscall.SysProcAttr, error) { return nil, nil }
