package endpoint

import (
	"fmt"
	"time"
)

// EventKind is what an [Event] reports.
type EventKind uint8

// What an [Event] reports.
const (
	// EndpointJoined: it is ranked from now on, unless the resolver has removed it meanwhile.
	EndpointJoined EventKind = iota
	// EndpointRefused: OnJoin failed with Err.
	EndpointRefused
	// EndpointChanged: its attributes have changed.
	EndpointChanged
	// EndpointLeaving: the resolver no longer lists it, OnLeave begins.
	EndpointLeaving
	// EndpointLeft: OnLeave has returned.
	EndpointLeft
	// EndpointEjected: Err is why.
	EndpointEjected
	// EndpointProbed: a probe has ended with Err.
	EndpointProbed
	// EndpointReadmitted: it is no longer ejected.
	EndpointReadmitted
	// FailedOver: a worse Priority is in use, because none better is healthy.
	FailedOver
	// FailedBack: a better Priority is in use again.
	FailedBack
	// PanicBegan: too few endpoints are healthy; ejections are ignored.
	PanicBegan
	// PanicEnded: enough endpoints are healthy again.
	PanicEnded
	// UpdateFailed: an answer of the resolver was not applied, because of Err.
	UpdateFailed
	// ResolverFailed: Watch returned early, with Err. It is called again after a delay.
	ResolverFailed
	// Panicked: a function of the user has panicked with Err.
	Panicked

	eventKinds
)

var eventNames = [eventKinds]string{
	"endpoint joined", "endpoint refused", "endpoint changed", "endpoint leaving", "endpoint left",
	"endpoint ejected", "endpoint probed", "endpoint readmitted", "failed over", "failed back",
	"panic began", "panic ended", "update failed", "resolver failed", "panicked",
}

// String returns a few words.
func (k EventKind) String() string {
	if k < eventKinds {
		return eventNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is something that happened in a [Set].
type Event struct {
	Kind     EventKind
	At       time.Time
	Endpoint Endpoint // the zero Endpoint: it is about the Set
	Priority int      // of FailedOver and FailedBack: the one in use now
	Err      error
}
