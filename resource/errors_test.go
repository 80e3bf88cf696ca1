package resource_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// wantFixed checks that two errors of the same kind with different figures have
// one text, which begins with prefix and has no figure in it, and that %+v and
// slog have each of the figures of the first.
func wantFixed(t *testing.T, a, b error, prefix string, figures ...string) {
	t.Helper()
	if a.Error() != b.Error() || !strings.HasPrefix(a.Error(), prefix) || strings.ContainsAny(a.Error(), "0123456789") {
		t.Errorf("texts are\n%q and\n%q; want one that begins with %q and has no digit", a, b, prefix)
	}
	for _, format := range []string{"%v", "%s"} {
		if s := fmt.Sprintf(format, a); s != a.Error() {
			t.Errorf("%s is %q, want %q", format, s, a.Error())
		}
	}
	if s, want := fmt.Sprintf("%q", a), fmt.Sprintf("%q", a.Error()); s != want {
		t.Errorf("%%q is %s, want %s", s, want)
	}
	detail := fmt.Sprintf("%+v", a)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Error("failed", "err", a)
	if !strings.HasPrefix(detail, a.Error()) {
		t.Errorf("%%+v does not begin with the text: %s", detail)
	}
	for _, f := range figures {
		if !strings.Contains(detail, f) {
			t.Errorf("%%+v lacks %s: %s", f, detail)
		}
		if !strings.Contains(log.String(), f) {
			t.Errorf("the log lacks %s: %s", f, log.String())
		}
	}
	if s := fmt.Sprintf("%#v", a); !strings.HasPrefix(s, "&resource.") {
		t.Errorf("%%#v is %s", s)
	}
	if !strings.Contains(log.String(), "err.text=") {
		t.Errorf("the log has no group: %s", log.String())
	}
}

func TestErrors_TextsAreFixed(t *testing.T) {
	deadline, boom := context.DeadlineExceeded, errors.New("connection refused")
	wantFixed(t,
		&resource.AcquireError{Err: deadline, Waited: 1600 * time.Microsecond, RetryAfter: 3 * time.Second, Load: resource.Load{Max: 77, Leased: 66}, LastMake: boom},
		&resource.AcquireError{Err: deadline, Waited: time.Second, Load: resource.Load{Max: 8, Waiting: 5}, LastMake: boom},
		"resource: acquire: context deadline exceeded; last creation: connection refused", "1.6ms", "3s", "77", "66")
	wantFixed(t,
		&resource.AcquireError{Err: boom, Waited: 5 * time.Second, LastMake: boom}, &resource.AcquireError{Err: boom},
		"resource: acquire: connection refused", "5s")
	wantFixed(t,
		&resource.CloseError{Err: deadline, Load: resource.Load{Max: 77, Leased: 3}, Busy: 55, Leased: []uint64{44, 45}},
		&resource.CloseError{Err: deadline, Load: resource.Load{Max: 8}, Busy: 2},
		"resource: close: ", "77", "55", "44", "45")
	wantFixed(t,
		&resource.WarmError{Err: deadline, Have: 33, Want: 44, LastMake: boom}, &resource.WarmError{Err: deadline, Have: 1, Want: 4, LastMake: boom},
		"resource: warm: context deadline exceeded; last creation: connection refused", "33", "44")
	wantFixed(t,
		&resource.Rejection{Policy: "gate", RetryAfter: 7 * time.Second, Err: boom}, &resource.Rejection{Policy: "gate", RetryAfter: time.Second, Err: boom},
		"rejected by gate: connection refused", "7s")
}

// The same failure of a pool reads the same, whenever it comes and however the
// pool is then.
func TestErrors_OfPools(t *testing.T) {
	texts := map[string]bool{}
	for i := range 3 {
		script(t, 1+i, nil, func(h *harness) {
			h.lendN(1 + i)
			c := h.acquireFor(time.Duration(i+1) * time.Second)
			time.Sleep(5 * time.Second)
			c.h.settle()
			texts[c.wantErr(context.DeadlineExceeded).Error()] = true
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i+1)*time.Second)
			defer cancel()
			texts[h.p.Close(ctx).Error()] = true
		})
	}
	if len(texts) != 2 {
		t.Errorf("%d texts of two kinds of failure: %v", len(texts), texts)
	}
}

func TestErrors_Panic(t *testing.T) {
	err := &resource.PanicError{Where: "Make", Value: "bad", Stack: []byte("goroutine 1 [running]")}
	if s := fmt.Sprintf("%v", err); s != "resource: panic in Make: bad" {
		t.Errorf("%%v is %q", s)
	}
	if s := fmt.Sprintf("%+v", err); !strings.Contains(s, "goroutine 1") {
		t.Errorf("%%+v has no stack: %q", s)
	}
}

// A nil error of these types, a mistake of its own, does not panic when it is
// printed.
func TestErrors_NilPrinted(t *testing.T) {
	for _, err := range []error{
		(*resource.AcquireError)(nil), (*resource.CloseError)(nil), (*resource.WarmError)(nil),
		(*resource.Rejection)(nil), (*resource.PanicError)(nil),
	} {
		for _, format := range []string{"%v", "%+v", "%s"} {
			if s := fmt.Sprintf(format, err); s != "<nil>" {
				t.Errorf("%s of a nil %T is %q", format, err, s)
			}
		}
	}
}
