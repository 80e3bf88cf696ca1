package wspool_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// secretive returns a Config with the same secret in each field that can hold one. Nothing is
// dialled.
func secretive(t *testing.T, secret string) wspool.Config {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at := &url.URL{Scheme: "https", Host: "host.example:8443", Path: "/"}
	jar.SetCookies(at, []*http.Cookie{{Name: "session", Value: secret}})
	fail := fmt.Errorf("%s", secret)
	return wspool.Config{
		URL: "wss://host.example:8443/v1/" + secret + "?token=" + secret, Subprotocols: []string{"bearer." + secret}, SubprotocolOptional: true, Redirects: 3, Jar: jar,
		Prepare: func(_ context.Context, h *wspool.Handshake) error {
			h.Header = http.Header{"Authorization": {secret}}
			return fail
		},
		TLS:                &tls.Config{ServerName: secret, Certificates: []tls.Certificate{{PrivateKey: secret}}},
		Proxy:              http.ProxyURL(&url.URL{Scheme: "http", Host: "p", User: url.UserPassword(secret, secret)}),
		Lookup:             func(context.Context, string) ([]netip.Addr, error) { return nil, fail },
		ProxyConnectHeader: func(context.Context, *url.URL, string) (http.Header, error) { return http.Header{"X": {secret}}, nil },
		NetDial:            func(context.Context, string, string) (net.Conn, error) { return nil, fail },
		Exchange:           wspool.ReplyEach,
		OnConnect:          func(context.Context, *wspool.Conn) error { return fail }, Greeting: true,
		Heartbeat: wspool.Heartbeat{Every: 20 * time.Second, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte(secret)}},
		Quiet:     5 * time.Millisecond, OnUnsolicited: wspool.DropUnsolicited, UnsolicitedLimit: 7, ControlLimit: 8, Compression: true,
		Broken:  func(error) bool { return true },
		MaxSize: 5, MinIdle: 0, DialTimeout: 3 * time.Second, WriteTimeout: time.Minute, CloseTimeout: time.Second, ReadLimit: 1 << 20, WriteFrameSize: 1000, CheckUTF8: true,
		KeepAlive: -1, PongWait: 90 * time.Second, WatchAfter: -1, MaxDials: 2, Redial: func(error, int) time.Duration { return time.Second }, MaxRetryAfter: time.Hour,
		Health: everyTime{}, SweepInterval: time.Minute, Order: resource.OldestFirst, Queue: policy.Priority(time.Second), Outage: resource.KeepWaiting,
		Admission: policy.AdmissionFunc(func(context.Context, resource.Request) (resource.Done, error) { return nil, fail }),
		MakeGate:  policy.Limit(1), Quota: policy.Limit(2), Eviction: policy.MaxAge(time.Hour, 0), Trace: &resource.Trace{Panicked: func(error) { _ = secret }},
		SampleLeases: 4, Reclaim: true,
	}
}

// Every field of the Config is a setting, with its value where that is no secret; nothing
// that a field holds is shown, by a pool, by a manager, and by one key.
func TestSettings(t *testing.T) {
	const secret = "s3cret"
	cfg := secretive(t, secret)
	p := pool(t, cfg)
	m, err := wspool.NewManager(wspool.ManagerConfig[string]{Config: func(string) (wspool.Config, error) { return cfg, nil }, MaxTotal: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())
	m.TryAcquire(secret)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if c, err := m.Acquire(ctx, secret); err == nil { // it makes the pool of the key
		c.Release()
		t.Fatal("a dial that must fail did not")
	}
	for of, in := range map[string]resource.Inspection{"pool": p.Inspect(1), "manager": m.Inspect(1), "key": m.View(secret).Inspect(1)} {
		if text := fmt.Sprintf("%+v", in.Settings); strings.Contains(text, secret) {
			t.Errorf("%s: a secret is shown: %s", of, text)
		}
		got := make(map[string]resource.Setting)
		for _, s := range in.Settings {
			got[s.Name] = s
		}
		for i := range reflect.TypeFor[wspool.Config]().NumField() {
			f := reflect.TypeFor[wspool.Config]().Field(i)
			if _, ok := got[f.Name]; !ok && f.IsExported() && f.Name != "Heartbeat" {
				t.Errorf("%s: %s is not a setting", of, f.Name)
			}
		}
		for name, want := range map[string]string{
			"URL": "wss://host.example:8443/…", "Subprotocols": "1 entry", "Redirects": "3", "Jar": "*cookiejar.Jar", "TLS": "set", "Exchange": "ReplyEach", "Heartbeat.Every": "20s",
			"Quiet": "5ms", "OnUnsolicited": "github.com/respool/respool/wspool.DropUnsolicited", "MaxSize": "5", "ReadLimit": "1 MiB", "WriteFrameSize": "1000 bytes", "WriteTimeout": "1m",
			"KeepAlive": "off", "PongWait": "1m30s", "Order": "OldestFirst", "Outage": "KeepWaiting", "MakeGate": "*policy.Limiter", "Trace": "1 function", "Reclaim": "yes", "SampleLeases": "4",
			"Heartbeat.Message.Data": "6 entries",
		} {
			if s := got[name]; s.Value != want || s.Default || s.Of != "wspool.Config" {
				t.Errorf("%s: %s is %+v, want %q", of, name, s, want)
			}
		}
		if s := got["MinIdle"]; s.Value != "0" || !s.Default {
			t.Errorf("%s: MinIdle is %+v", of, s)
		}
		if s, ok := got["MaxTotal"]; ok != (of == "manager") || ok && (s.Of != "wspool.ManagerConfig" || s.Value != "4") {
			t.Errorf("%s: MaxTotal is %+v", of, s)
		}
		if s := got["Config"]; of == "manager" && !strings.Contains(s.Value, "TestSettings.func") {
			t.Errorf("Config is %+v", s)
		}
	}
	if s := p.Inspect(0).Settings; s != nil {
		t.Errorf("without a list there is %v", s)
	}
}

// The Trace is copied: what the user changes later is neither called nor shown.
func TestSettings_TraceCopied(t *testing.T) {
	trace := &resource.Trace{Panicked: func(error) {}}
	p := pool(t, wspool.Config{URL: "ws://host.example", MaxSize: 3, Trace: trace})
	trace.Made = func(context.Context, resource.MakeEvent) {}
	for _, s := range p.Inspect(1).Settings {
		if s.Name == "Trace" && s.Value != "1 function" {
			t.Errorf("Trace is %q", s.Value)
		}
	}
}

// With nothing but what is required every other setting is marked as a default, and has the
// value that the doc of Config says.
func TestSettings_Default(t *testing.T) {
	in := pool(t, wspool.Config{URL: "ws://host.example", MaxSize: 3}).Inspect(1)
	want := map[string]string{
		"TLS": "not set", "NetDial": "not set", "Redial": "not set", "DialTimeout": "10s", "WriteTimeout": "10s", "CloseTimeout": "2s", "ReadLimit": "16 MiB", "WriteFrameSize": "64 KiB",
		"KeepAlive": "15s", "PongWait": "10s", "WatchAfter": "10ms", "MaxDials": "16", "MaxRetryAfter": "10m", "UnsolicitedLimit": "60", "ControlLimit": "5000",
		"SweepInterval": "10s", "SampleLeases": "512", "Exchange": "ReplyLast", "Order": "NewestFirst", "Outage": "FailFast", "MinIdle": "0", "Quiet": "0s", "Greeting": "no",
	}
	for _, s := range in.Settings {
		if required := s.Name == "URL" || s.Name == "MaxSize"; s.Default == required {
			t.Errorf("%+v", s)
		}
		if v, ok := want[s.Name]; ok && v != s.Value {
			t.Errorf("%s is %q, want %q", s.Name, s.Value, v)
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("there are no %v", want)
	}
}
