package wspool

import (
	"testing"
	"time"
)

// A deadline that passes just when it is replaced does not end what comes after.
func TestDeadline_Replaced(t *testing.T) {
	var d deadline
	d.parent = t.Context()
	d.set(time.Now().Add(time.Hour))
	before := d.context()
	d.timer.Stop() // as if it ran, and had not come to end the context
	d.set(time.Time{})
	if d.context() == before {
		t.Error("the deadline before may still end the reads to come")
	}
	d.stop()
}
