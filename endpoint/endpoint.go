package endpoint

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/respool/respool/internal/redact"
)

// Endpoint is one of the places where a service is offered. Two Endpoints with the same Addr
// are the same endpoint; the other fields are its attributes and may change while it is in use.
type Endpoint struct {
	// Addr identifies the endpoint, and is the key of its pool: "host:port", or whatever the
	// program that dials understands. It is required.
	Addr string
	// Name is the host name by which the endpoint was found, for TLS and the Host header: Addr
	// may be an IP address. Empty: the host in Addr.
	Name string
	// Zone is where the endpoint is, for the balancer [Zone].
	Zone string
	// Weight is the share of the endpoint relative to the others. Zero means 1.
	Weight float64
	// Priority orders groups of endpoints: those with the smallest are used, the others only
	// when these fail. It may be negative.
	Priority int
}

// weight returns Weight, or 1 for 0.
func (e *Endpoint) weight() float64 {
	if e.Weight == 0 {
		return 1
	}
	return e.Weight
}

// ErrInvalid is the error of a list of endpoints that cannot be used. The error that wraps it
// names every fault.
var ErrInvalid = errors.New("endpoint: invalid endpoints")

// maxFaults is how many faults an error lists.
const maxFaults = 20

// Validate returns nil if a [Set] can use the endpoints, and otherwise an error that wraps
// [ErrInvalid] and names every fault, up to twenty: an empty Addr, an Addr that occurs twice, a
// Weight that is negative, infinite or not a number. An empty list is valid.
func Validate(endpoints []Endpoint) error {
	var faults []string
	n := 0
	fault := func(format string, args ...any) {
		if n++; n <= maxFaults {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	first := make(map[string]int, len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		if e.Addr == "" {
			fault("endpoint %d has no Addr", i)
		} else if j, twice := first[e.Addr]; twice {
			fault("endpoint %d has the Addr %q of endpoint %d", i, shown(e.Addr), j)
		} else {
			first[e.Addr] = i
		}
		if !(e.Weight >= 0) || math.IsInf(e.Weight, 0) {
			fault("the Weight of endpoint %d (%q) must be a number of at least 0, got %v", i, shown(e.Addr), e.Weight)
		}
	}
	if n == 0 {
		return nil
	}
	if n > maxFaults {
		faults = append(faults, fmt.Sprintf("%d more", n-maxFaults))
	}
	return fmt.Errorf("%w: %s", ErrInvalid, strings.Join(faults, "; "))
}

// maxShown is how many bytes of an Addr an error shows.
const maxShown = 200

// shown returns what an error shows of an Addr, which may be a URL with a password.
func shown(addr string) string { return redact.Clean(redact.Hide(addr), maxShown) }
