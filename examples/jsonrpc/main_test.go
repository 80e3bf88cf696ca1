package main

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const want = `call: 2 + 3 = 5
error: server: no method multiply (-32601); connections dialled: 1
cancelled: true; the next caller: 7 + 8 = 15; connections dialled: 2
restarted meanwhile: done; connections dialled: 3
50 callers: 1000 right, 0 wrong; at most 4 connections: true
`

// The program prints the result of each call.
func TestRun(t *testing.T) {
	var got bytes.Buffer
	if err := run(&got); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("the program printed\n%s\nwant\n%s", got.String(), want)
	}
}
