package redisledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/policy/fleet"
)

// What the engine says becomes an error of one kind, with what it said.
func TestKindsOfErrors(t *testing.T) {
	for text, want := range map[string]error{
		"LOADING Redis is loading the dataset in memory":                                                      ErrLoading,
		"READONLY You can't write against a read only replica. script: f00, on @user_script:300.":             ErrReadOnly,
		"ERR Error running script (call to f_00): @user_script:9: @user_script: 9: -READONLY You can't write": ErrReadOnly,
		"ERR Error running script (call to f_00): @user_script:9: @user_script: 9: -OOM command not allowed":  ErrMemory,
		"OOM command not allowed when used memory > 'maxmemory'. script: f00":                                 ErrMemory,
		"WRONGTYPE Operation against a key holding the wrong kind of value script: f00, on @user_script:81.":  ErrWrongType,
		"FLEETDATA the key holds something else than a quota":                                                 ErrWrongType,
		"NOAUTH Authentication required.":                                                                     ErrAuth,
		"WRONGPASS invalid username-password pair or user is disabled.":                                       ErrAuth,
		"ERR AUTH <password> called without any password configured for the default user. Are you sure?":      ErrAuth,
		"NOPERM this user has no permissions to run the 'evalsha' command":                                    ErrAuth,
		"ERR The user executing the script can't run this command or subcommand script: f00":                  ErrAuth,
		"ERR Protocol error: unauthenticated multibulk length":                                                ErrAuth,
		"MOVED 3999 127.0.0.1:6381":                                                                        ErrCluster,
		"ASK 3999 127.0.0.1:6381":                                                                          ErrCluster,
		"CROSSSLOT Keys in request don't hash to the same slot":                                            ErrCluster,
		"CLUSTERDOWN Hash slot not served":                                                                 ErrBusy,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":                 ErrBusy,
		"NOREPLICAS Not enough good replicas to write.":                                                    ErrBusy,
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.":           ErrBusy,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": ErrBusy,
		"ERR max number of clients reached":                                                                ErrBusy,
		"ERR unknown command 'EVALSHA', with args beginning with: ":                                        ErrEngine,
	} {
		m := startMini(t)
		l := open(t, Options{}, m.Addr())
		m.SetError(text)
		a := newHolder(t, l, "a", 10)
		_, err := a.try(0, 1)
		checkError(t, err, "claim", "q", want)
		_, err = l.Take(context.Background(), fleet.Draw{Rate: "r", Tokens: 1, Per: time.Second, Want: 1})
		checkError(t, err, "take", "r", want)
		// The ledger works when the engine does.
		m.SetError("")
		a.claim(0, 1)
	}
}

// checkError requires an Error with these fields, which no other kind matches.
func checkError(t *testing.T, err error, op, name string, want error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Op != op || e.Name != name || e.Kind != want || !errors.Is(err, want) {
		t.Errorf("%s: got %#v, want the kind %q", op, err, want)
		return
	}
	if !strings.HasPrefix(err.Error(), "redisledger: "+op+" ") || len(err.Error()) > 500 {
		t.Errorf("the text is %q", err)
	}
	for _, kind := range []error{ErrUnreachable, ErrAuth, ErrWrongType, ErrReadOnly, ErrLoading, ErrBusy, ErrMemory, ErrCluster, ErrReplicas, ErrReply, ErrEngine} {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("%q matches %q: %v", err, kind, kind != want)
		}
		if labeled, ok := kind.(interface{ Cause() string }); !ok || labeled.Cause() == "" {
			t.Errorf("%q has no label for metrics", kind)
		}
	}
}

func TestUnreachable(t *testing.T) {
	l := open(t, Options{}, "127.0.0.1:1")
	begun := time.Now()
	_, err := newHolder(t, l, "a", 10).try(0, 1)
	checkError(t, err, "claim", "q", ErrUnreachable)
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("the error is %v", err)
	}
	// The default settings of the client take two seconds.
	if d := time.Since(begun); d > time.Second {
		t.Errorf("a refused connection was reported after %v", d)
	}

	// A connection that is accepted, and nothing else.
	m := startMini(t)
	r, err := relay.New(m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	r.OnConn(func(c *relay.Conn) { c.BlackHole() })
	short, err := Open(&redis.UniversalOptions{Addrs: []string{r.Addr()}}, Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { short.Close() })
	_, err = newHolder(t, short, "a", 10).try(0, 1)
	checkError(t, err, "claim", "q", ErrUnreachable)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the error matches context.DeadlineExceeded, but the caller's context has not ended")
	}

	// The caller's context ends.
	l = open(t, Options{}, r.Addr())
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = l.Claim(ctx, fleet.Claim{Quota: "q", Holder: "a", Seq: 1, Want: 1, Limit: 1, Lease: lease})
	checkError(t, err, "claim", "q", ErrUnreachable)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error does not match context.DeadlineExceeded: %v", err)
	}
	_, err = l.Take(ctx, fleet.Draw{Rate: "r", Tokens: 1, Per: time.Second, Want: 1})
	checkError(t, err, "take", "r", ErrUnreachable)

	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	_, err = newHolder(t, l, "a", 10).try(0, 1)
	checkError(t, err, "claim", "q", ErrUnreachable)
}

// A key with something else is an error and is not changed.
func TestWrongType(t *testing.T) {
	m := startMini(t)
	l := open(t, Options{}, m.Addr())
	quota, rate := l.key("q", "quota"), l.key("r", "rate")
	set := map[string]func(){
		"a string":         func() { m.Set(quota, "x"); m.Set(rate, "x") },
		"a list":           func() { m.Push(quota, "x"); m.Push(rate, "x") },
		"another hash":     func() { m.HSet(quota, "field", "x"); m.HSet(rate, "field", "x") },
		"not JSON":         func() { m.HSet(quota, " quota", "x"); m.Set(rate, "1 x 1") },
		"a JSON number":    func() { m.HSet(quota, " quota", "1"); m.Set(rate, "1") },
		"too few fields":   func() { m.HSet(quota, " quota", "[1]"); m.Set(rate, "1 run1 ") },
		"another form":     func() { m.HSet(quota, " quota", "[2"+strings.Repeat(",0", 19)+"]"); m.Set(rate, "2 run1 1 1") },
		"a foreign holder": func() { newHolder(t, l, "b", 10).claim(0, 1); m.HSet(quota, "a", "x"); m.Set(rate, "1 run1 1 1.x") },
		"a holder too short": func() {
			newHolder(t, l, "b", 10).claim(0, 1)
			m.HSet(quota, "a", "0123456789")
			m.Set(rate, "1 run1 1 -")
		},
	}
	for what, f := range set {
		m.FlushAll()
		f()
		before := m.Dump()
		_, err := newHolder(t, l, "a", 10).try(0, 1)
		checkError(t, err, "claim", "q", ErrWrongType)
		_, err = l.Take(context.Background(), fleet.Draw{Rate: "r", Tokens: 1, Per: time.Second, Want: 1})
		checkError(t, err, "take", "r", ErrWrongType)
		if after := m.Dump(); after != before {
			t.Errorf("%s: the claims changed\n%s\nto\n%s", what, before, after)
		}
	}
	// Another holder's record is read when the targets are computed.
	m.FlushAll()
	newHolder(t, l, "b", 10).claim(0, 1)
	m.HSet(quota, "c", "0123456789")
	_, err := newHolder(t, l, "a", 10).try(0, 20)
	checkError(t, err, "claim", "q", ErrWrongType)
}

func TestInvalidClaims(t *testing.T) {
	l := open(t, Options{}, "127.0.0.1:1") // nothing is sent
	_, err := l.Claim(context.Background(), fleet.Claim{Quota: "a{b}", Has: -1})
	if !errors.Is(err, fleet.ErrClaim) {
		t.Errorf("the error is %v", err)
	}
	if _, err = l.Take(context.Background(), fleet.Draw{}); !errors.Is(err, fleet.ErrClaim) {
		t.Errorf("the error is %v", err)
	}
}

// A password is in no error, nor in what the ledger says about itself.
func TestPasswordIsNeverShown(t *testing.T) {
	const password = "s3cret-s3cret"
	m := startMini(t)
	m.RequireAuth("another")
	var texts []string
	show := func(values ...any) {
		for _, v := range values {
			texts = append(texts, fmt.Sprint(v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v))
		}
	}
	for _, addr := range []string{m.Addr(), "127.0.0.1:1", password + ".invalid:1"} {
		u := patient(addr)
		u.Password, u.SentinelPassword, u.Username = password, password, "joe"
		l, err := Open(u, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = newHolder(t, l, "a", 10).try(0, 1)
		if err == nil {
			t.Fatalf("a claim at %s succeeded", addr)
		}
		show(err, l)
		for _, under := range err.(*Error).Unwrap() {
			show(under)
		}
	}
	// go-redis would log an address with a password.
	for _, addr := range []string{"redis://:" + password + "@127.0.0.1:6379", ":" + password + "@127.0.0.1:6379"} {
		_, err := Open(patient(addr), Options{})
		if err == nil || !strings.Contains(err.Error(), "address 0 must be host:port") {
			t.Errorf("the error of a URL is %v", err)
		}
		show(err)
		client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
		defer client.Close()
		_, err = New(client, Options{})
		show(err)
	}
	for _, text := range texts {
		if strings.Contains(text, password) {
			t.Errorf("the password is in %q", text)
		}
	}
}
