package metrics

import (
	"reflect"
	"sync"

	"github.com/respool/respool/metrics/internal/text"
)

// known recognizes sentinel errors of the user's, so that what is destroyed for
// one is counted under its text. An error that errors.New or fmt.Errorf has made
// says by its type alone nothing of where it comes from: a text that was made for
// one occasion may be long, ever another, or a secret. A sentinel is the same
// error again and again. So an error is known from its second use on.
type known struct {
	mu     sync.Mutex
	seen   [maxLabels]error // the last ones seen once
	next   int              // in seen
	labels map[error]string // of those seen again; as many as tally has labels
}

// label is the text of the first sentinel in the chain of err; "" if none is
// known, or if it is too long for a label or says what nobody should see.
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
