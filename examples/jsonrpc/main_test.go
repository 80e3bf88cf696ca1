package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const want = `call: 2 + 3 = 5
jsonrpc: server replied with an error: no method multiply (code -32601); connections dialled: 1
cancelled: true; the next call: 7 + 8 = 15; connections dialled: 1
restarted meanwhile: idempotent call: done; other call may have run: true; connections dialled: 2
`

// The program prints the result of each call, and no call is lost when connections are cut.
func TestRun(t *testing.T) {
	var got bytes.Buffer
	if err := run(&got); err != nil {
		t.Fatal(err)
	}
	crowd, ok := strings.CutPrefix(got.String(), want)
	if !ok {
		t.Fatalf("the program printed\n%s\nwant\n%s", got.String(), want)
	}
	var idempotent, replayed, others, mayHaveRun, lost, dialled int
	if _, err := fmt.Sscanf(crowd, "100 callers on 4 connections, 4 of which were cut: %d idempotent calls answered, %d of them after a replay;\n"+
		"    %d other calls answered, %d reported as perhaps run; lost or wrong: %d; connections dialled: %d\n",
		&idempotent, &replayed, &others, &mayHaveRun, &lost, &dialled); err != nil {
		t.Fatalf("the program printed %q: %v", crowd, err)
	}
	// Each cut leaves at least one call without a reply: the one that caused it.
	if idempotent != 600 || others+mayHaveRun != 600 || lost != 0 || replayed+mayHaveRun < 4 {
		t.Error(crowd)
	}
	if dialled < 4 || dialled > 8 { // 4, and one after each cut
		t.Errorf("%d connections were dialled", dialled)
	}
}
