package metrics

import (
	"errors"
	"reflect"
	"sync"

	"github.com/respool/respool/metrics/internal/text"
)

// known recognizes sentinel errors of users, so that a resource destroyed for one
// is counted under its text. The type of an error made by errors.New or fmt.Errorf
// does not tell a sentinel from a text made for one occasion, which may be long,
// differ each time, or hold a secret. A sentinel is the same error value again, so
// it is known from its second use on.
type known struct {
	mu     sync.Mutex
	seen   [maxLabels]error // the last ones seen once
	next   int              // in seen
	labels map[error]string // of those seen again; at most maxLabels
}

// plainError is the type of an error made by errors.New, and by fmt.Errorf without
// %w.
var plainError = reflect.TypeOf(errors.New(""))

// label returns the text of the first sentinel in the chain of err; "" if none is
// known, or if the text is too long for a label or looks like a secret.
func (k *known) label(err error) (l string) {
	walk(err, 32, func(err error) bool {
		if reflect.TypeOf(err) != plainError {
			return false
		}
		l = k.look(err)
		return l != ""
	})
	return l
}

func (k *known) look(err error) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l, ok := k.labels[err]; ok {
		return l
	}
	for _, seen := range k.seen {
		if seen == err && len(k.labels) < maxLabels {
			l := err.Error()
			if l != text.Discreet(l) || l != text.Clean(l, text.MaxLabel) {
				l = ""
			}
			if k.labels == nil {
				k.labels = make(map[error]string)
			}
			k.labels[err] = l
			return l
		}
	}
	k.seen[k.next] = err
	k.next = (k.next + 1) % len(k.seen)
	return ""
}
