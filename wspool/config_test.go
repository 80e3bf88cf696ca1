package wspool_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// One error names every bad field, and a valid Config is accepted.
func TestBadConfig(t *testing.T) {
	_, err := wspool.New(wspool.Config{
		URL:           "http://u:p@/#f",
		Subprotocols:  []string{"", "a b"},
		TLS:           &tls.Config{NextProtos: []string{"h2"}, Renegotiation: tls.RenegotiateOnceAsClient},
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
	for _, field := range []string{"scheme", "no host", "user name", "fragment", "an empty one", "a character", "TLS.NextProtos", "TLS.Renegotiation",
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

// Nothing that holds a secret prints it, in whatever way it is printed.
func TestConfigFormats(t *testing.T) {
	cfg := wspool.Config{
		URL:          "wss://host.example:8443/v1/s3cret-path?token=s3cret",
		Subprotocols: []string{"bearer.s3cret"},
		TLS:          &tls.Config{ServerName: "s3cret.example", NextProtos: []string{}},
		Proxy:        http.ProxyURL(&url.URL{Scheme: "http", Host: "p", User: url.UserPassword("me", "s3cret")}),
		Prepare:      func(context.Context, *wspool.Handshake) error { return nil },
		MaxSize:      7, KeepAlive: 3 * time.Second, Compression: true, Order: resource.OldestFirst,
	}
	h := wspool.Handshake{URL: cfg.URL, Header: http.Header{"Authorization": {"s3cret"}}, Subprotocols: cfg.Subprotocols}
	p := pool(t, cfg)
	all := wspool.ManagerConfig[string]{Config: func(string) (wspool.Config, error) { return cfg, nil }, MaxTotal: 1}
	m, err := wspool.NewManager(all)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())
	peer := listen(t, false, echo)
	peer.cfg.URL += "/s3cret?token=s3cret"
	c := acquire(t, pool(t, peer.cfg))
	defer c.Release()
	for name, v := range map[string]any{
		"Config": cfg, "*Config": &cfg, "slice": []wspool.Config{cfg}, "map": map[string]wspool.Config{"a": cfg},
		"struct": struct{ Cfg wspool.Config }{cfg}, "embedded": struct{ wspool.Config }{cfg},
		"Handshake": h, "*Handshake": &h, "Pool": p, "ManagerConfig": all, "Manager": m, "KeyView": m.View("k"), "Conn": c, "nil": (*wspool.Pool)(nil),
	} {
		for how, text := range texts(v) {
			if strings.Contains(text, "s3cret") {
				t.Errorf("%s as %s: %s", name, how, text)
			}
			if strings.HasSuffix(name, "Config") && name != "ManagerConfig" &&
				(!strings.Contains(text, "wss://host.example:8443/…") || !strings.Contains(text, "MaxSize") || strings.Contains(text, "MinIdle")) {
				t.Errorf("%s as %s: %s", name, how, text)
			}
			if strings.HasSuffix(name, "Handshake") && !strings.Contains(text, "Authorization") {
				t.Errorf("%s as %s: %s", name, how, text)
			}
		}
	}
	var back map[string]any
	b, err := json.Marshal(cfg)
	if err != nil || json.Unmarshal(b, &back) != nil || back["MaxSize"] != 7.0 || back["Compression"] != true || back["KeepAlive"] != 3e9 {
		t.Errorf("%s, %v", b, err)
	}
	got := cfg.String()
	for _, part := range []string{"wspool.Config{URL: wss://host.example:8443/…", "Subprotocols: 1", "TLS: *tls.Config", "Proxy: func", "KeepAlive: 3s", "Order: 1", "Compression: true"} {
		if !strings.Contains(got, part) {
			t.Errorf("%s lacks %s", got, part)
		}
	}
	for bad, want := range map[string]string{"": "wspool.Config{}", "s3cret": "wspool.Config{URL: …}", "ws://u:s3cret@h": "wspool.Config{URL: ws://h/…}",
		"ws://h:s3cret/": "wspool.Config{URL: …}", "ws://h": "wspool.Config{URL: ws://h}"} {
		if got := (wspool.Config{URL: bad}).String(); got != want {
			t.Errorf("%q is shown as %s, not %s", bad, got, want)
		}
	}
}
