package redisledger

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// FuzzReply: whatever the engine, or a proxy in its place, answers, the result is an error or
// a grant that keeps the contract.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"1", "2 1795927111111883", "3 1795927111111883 5 7 10 10 9 2 49009 1795927111174240 0",
		"3 1795927111111883 0 0 10 10 0 0 0 1795927111174240 1", "", " ", "3", "4 1", "3 1 1 1 1 1 1 1 1 1 1 1",
		"3 -1 5 7 10 10 9 2 1 1 0", "3 99999999999999999999 5 7 10 10 9 2 1 1 0", "+3", "3\n", "OK", "2 0x10", "2 10", "2 00",
		strings.Repeat("\xc8", 500), // four characters each in an error
	} {
		f.Add(reply, 2, 7, 10, 0)
		f.Add(reply, 0, 0, 10, 1)
	}
	f.Add("3 1 0 0 2 1 0 0 0 1 0", 0, 0, 10, 0) // the highest limit is below the limit
	f.Fuzz(func(t *testing.T, text string, has, want, limit, kind int) {
		c := fleet.Claim{Quota: "q", Holder: "h", Seq: 1, Has: has, Want: want, Limit: limit, Lease: time.Second}
		d := fleet.Draw{Rate: "r", Tokens: 1, Per: time.Second, Want: limit}
		if c.Check() != nil || d.Check() != nil {
			return
		}
		var reply any = text
		switch kind {
		case 1:
			reply = []byte(text)
		case 2:
			reply = []any{text, int64(has)}
		case 3:
			reply = nil
		case 4:
			reply = int64(has)
		}
		a, err := parseClaim(reply, &c)
		checkReplyError(t, err)
		if g := a.grant; err == nil && a.kind == replyGranted {
			leaves := has == 0 && want == 0
			switch {
			case g.Granted < has || g.Granted > want,
				g.Granted > has && g.Granted > g.Limit,
				g.Target < 0 || g.Target > want,
				g.Limit < 1 || g.Limit > g.Highest,
				!leaves && (g.Limit > limit || g.Highest < limit),
				g.Total < g.Granted,
				g.Holders < 0 || g.Holders == 0 && !leaves,
				g.Next < 0 || g.Lease != c.Lease || g.Fence == 0:
				t.Errorf("%q was accepted as %+v for %+v", text, g, c)
			}
		} else if err == nil && a.kind != replyStale && a.kind != replyLate {
			t.Errorf("%q was accepted as kind %d", text, a.kind)
		}
		took, err := parseTake(reply, &d)
		checkReplyError(t, err)
		if err == nil && (took.Granted < 0 || took.Granted > d.Want || took.RetryAfter < 0 || (took.RetryAfter == 0) != (took.Granted == d.Want)) {
			t.Errorf("%q was accepted as %+v for %+v", text, took, d)
		}
	})
}

func checkReplyError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var bad replyError
	if !errors.As(err, &bad) || kind(err) != ErrReply || len(err.Error()) > 2000 || strings.TrimSpace(err.Error()) == "" {
		t.Errorf("the error is %q", err)
	}
}
