package policytest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// tickets admits as many requests at once as there are tickets. A leaky one does not take
// tickets back.
type tickets struct {
	taken chan struct{}
	leaky bool
}

var errNone = errors.New("no ticket left")

func (t *tickets) Admit(context.Context, resource.Request) (resource.Done, error) {
	select {
	case t.taken <- struct{}{}:
	default:
		return nil, &resource.Rejection{Policy: "tickets", Err: errNone}
	}
	return func(resource.Outcome) {
		if !t.leaky {
			<-t.taken
		}
	}, nil
}

// The test of an Admission is one call, in a bubble of virtual time:
//
//	func TestTickets(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			policytest.Admission(t, func() resource.Admission { return newTickets(4) })
//		})
//	}
func ExampleAdmission() {
	for _, leaky := range []bool{false, true} {
		fmt.Println("leaky:", leaky, "- passed:", passes(func(t *testing.T) {
			policytest.Admission(t, func() resource.Admission {
				return &tickets{taken: make(chan struct{}, 4), leaky: leaky}
			})
		}))
	}
	// Output:
	// leaky: false - passed: true
	// leaky: true - passed: false
}

// passes runs a test in a bubble, inside an example and without its output.
func passes(test func(t *testing.T)) bool {
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	defer null.Close()
	os.Stdout = null
	all := func(string, string) (bool, error) { return true, nil }
	return testing.RunTests(all, []testing.InternalTest{{Name: "TestTickets", F: func(t *testing.T) { synctest.Test(t, test) }}})
}
