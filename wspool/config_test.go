package wspool_test

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"

	"github.com/respool/respool/wspool"
)

// One error names every bad field, and a Config without one is taken.
func TestBadConfig(t *testing.T) {
	_, err := wspool.New(wspool.Config{
		URL:           "http://u:p@/#f",
		Subprotocols:  []string{"", "a b"},
		TLS:           &tls.Config{NextProtos: []string{"h2"}},
		MinIdle:       -1,
		ControlLimit:  -1,
		DialTimeout:   -1,
		WriteTimeout:  -1,
		CloseTimeout:  -1,
		ReadLimit:     -1,
		SweepInterval: 1,
		Order:         9,
		Outage:        9,
		SampleLeases:  -1,
		MaxRetryAfter: -1,
		Redirects:     -1,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"scheme", "no host", "user name", "fragment", "an empty one", "a character", "TLS.NextProtos",
		"MaxSize", "MinIdle", "ControlLimit", "DialTimeout", "WriteTimeout", "CloseTimeout", "ReadLimit", "SweepInterval", "Order", "Outage", "SampleLeases", "MaxRetryAfter", "Redirects"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is missing in %v", field, err)
		}
	}
	for _, tc := range []struct {
		url  string
		good bool
	}{
		{"", false}, {"ws://", false}, {"ws://a b", false}, {"://", false}, {"host", false}, {"ws:host", false},
		{"ws://host", true}, {"wss://host:1/p?q", true}, {"ws://[::1]:80/", true},
	} {
		if _, err := wspool.New(wspool.Config{URL: tc.url, MaxSize: 1}); (err == nil) != tc.good {
			t.Errorf("%q: %v", tc.url, err)
		}
	}
	for _, cfg := range []wspool.Config{{URL: "http://host"}, {URL: "ws://host", MinIdle: 2}} {
		cfg.MaxSize = 1
		cfg.Prepare = func(context.Context, *wspool.Handshake) error { return nil }
		if _, err := wspool.New(cfg); err == nil {
			t.Errorf("%+v is taken with Prepare", cfg)
		}
	}
	if _, err := wspool.New(wspool.Config{URL: "ws://host", MaxSize: 2, Redirects: wspool.MaxRedirects + 1}); err == nil || !strings.Contains(err.Error(), "Redirects must be between 0 and 20, got 21") {
		t.Errorf("Redirects: %v", err)
	}
	if _, err := wspool.New(wspool.Config{URL: "ws://host", MaxSize: 2, MinIdle: 3}); err == nil || !strings.Contains(err.Error(), "at most MaxSize") {
		t.Errorf("MinIdle over MaxSize: %v", err)
	}
}
