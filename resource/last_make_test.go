package resource_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// An error that names the last failed creation says how long ago that was: it may
// have nothing to do with this acquire.
func TestAcquireError_LastMakeAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailing(t, nil)
		ae := f.refusedNow(t) // its own creation failed just now
		if ae.Reason != resource.ReasonMakeFailed || ae.LastMake == nil || ae.LastMakeAgo != 0 {
			t.Errorf("%+v", ae)
		}
		time.Sleep(time.Minute)
		if l, ok := f.TryAcquire(); ok {
			t.Fatal(l)
		}
		_, err := f.AcquireWith(t.Context(), resource.Request{NoWait: true})
		ae = err.(*resource.AcquireError)
		text, log := fmt.Sprintf("%+v", ae), ae.LogValue().String()
		if ae.LastMakeAgo < time.Minute-time.Second || !strings.Contains(text, "; last creation failed "+ae.LastMakeAgo.String()+" before)") ||
			!strings.Contains(log, "last_make_ago="+ae.LastMakeAgo.String()) {
			t.Errorf("%s; %s", text, log)
		}
	})
}
