package redisledger

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestSettings(t *testing.T) {
	in := &redis.UniversalOptions{Addrs: []string{"a:1"}, ReadTimeout: 3 * time.Second, MaxRetries: 5, ReadOnly: true, PoolSize: 3}
	out := Settings(in)
	if in.MaxRetries != 5 || !in.ReadOnly {
		t.Error("the argument was changed")
	}
	if out.MaxRetries != -1 || out.DialerRetries != 1 || !out.ContextTimeoutEnabled || out.ReadOnly || out.PoolSize != 3 ||
		out.DialTimeout != patience || out.WriteTimeout != patience || out.ReadTimeout != 3*time.Second {
		t.Errorf("the settings are %+v", out)
	}
	if patience > 200*time.Millisecond {
		t.Errorf("the timeouts are %v", patience)
	}
	if Settings(nil).MaxRetries != -1 {
		t.Error("nil has other settings")
	}
	if Settings(&redis.UniversalOptions{ReadTimeout: -1}).ReadTimeout != patience {
		t.Error("no timeout was accepted")
	}
}

func TestNew(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	plain := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer plain.Close()
	suited := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
	defer suited.Close()
	replicas := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadOnly: true, ContextTimeoutEnabled: true})
	defer replicas.Close()
	for _, c := range []struct {
		what   string
		client redis.UniversalClient
		o      Options
		want   []string
	}{
		{"no client", nil, Options{}, []string{"client must be", "<nil>"}},
		{"a nil client", (*redis.Client)(nil), Options{}, []string{"client must be", "*redis.Client"}},
		{"a ring", ring, Options{}, []string{"client must be", "*redis.Ring"}},
		{"defaults", plain, Options{}, []string{"ContextTimeoutEnabled"}},
		{"reads from replicas", replicas, Options{}, []string{"must not read from replicas"}},
		{"all at once", plain, Options{Prefix: "{x}", Timeout: -1, Replicas: -1}, []string{"ContextTimeoutEnabled", `Prefix must not contain braces, got "{x}"`,
			"Timeout must be positive, got -1ns", "Replicas must be at least 0, got -1"}},
	} {
		l, err := New(c.client, c.o)
		if err == nil || l != nil {
			t.Errorf("%s: no error", c.what)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error %q does not say %q", c.what, err, want)
			}
		}
	}
	l, err := New(suited, Options{Prefix: "p:"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.String(), "redis ledger at 127.0.0.1:1, keys p:*"; got != want {
		t.Errorf("String is %q, want %q", got, want)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	// The client of the caller is still open.
	if err := suited.Ping(t.Context()).Err(); err == nil || strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close the client says %v", err)
	}
	if _, err := Open(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}}, Options{Timeout: -1}); err == nil {
		t.Error("Open accepted invalid options")
	}
}

// The latest time that a claim accepts, which scripts keep as a float64, stays a whole number after the
// present also if Timeout means no limit.
func TestTimeoutForever(t *testing.T) {
	client := redis.NewClient(Settings(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}}).Simple())
	defer client.Close()
	for _, timeout := range []time.Duration{time.Second, math.MaxInt64 - 1, math.MaxInt64} {
		l, err := New(client, Options{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		l.sight("q", sighting{now: now.UnixMicro(), sent: now})
		if at := l.latest("q", now.Add(time.Second)); at <= now.UnixMicro() || at >= 1<<53 {
			t.Errorf("with a Timeout of %v it is %d, now is %d", timeout, at, now.UnixMicro())
		}
	}
}
