package main

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const want = `admission: the third lease of tenant a: refused by a policy: true (tenants: tenant "a" holds 2 already)
eviction: the running lease got "still here?"; then its connection was destroyed: made before the release
eviction: the next lease has a connection made after the release: true
health: the next lease after the server dropped all: "and you?", <nil>
counted: 1 refused, at least one evicted: true, at least one unhealthy: true
`

// The program prints what each policy did.
func TestRun(t *testing.T) {
	var got bytes.Buffer
	if err := run(&got); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("the program printed\n%s\nwant\n%s", got.String(), want)
	}
}
