package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSRV is an SRVLookup with one answer at a time.
type fakeSRV struct {
	mu      sync.Mutex
	records []*net.SRV
	err     error
	asked   string
}

func (f *fakeSRV) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = fmt.Sprintf("%s %s %s", service, proto, name)
	return "", f.records, f.err
}

func (f *fakeSRV) set(records []*net.SRV, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records, f.err = records, err
}

// srvRecord returns an SRV record with port 443.
func srvRecord(target string, priority, weight uint16) *net.SRV {
	return &net.SRV{Target: target, Port: 443, Priority: priority, Weight: weight}
}

// TestSRV checks what endpoints, and what error, an answer makes, after a complete answer with
// old.test.
func TestSRV(t *testing.T) {
	tooMany := make([]*net.SRV, 5)
	for i := range tooMany {
		tooMany[i] = srvRecord(fmt.Sprintf("%d.test.", i), 0, 1)
	}
	for _, test := range []struct {
		name    string
		records []*net.SRV
		err     error
		want    string // Addr, Weight and Priority
		is      error
	}{
		{"weights", []*net.SRV{srvRecord("a.test.", 1, 60), srvRecord("b.test.", 1, 20)}, nil, "complete a.test:443*60@11 b.test:443*20@11", nil},
		{"priorities", []*net.SRV{srvRecord("b.test.", 20, 5), srvRecord("a.test", 10, 5)}, nil, "complete a.test:443*5@20 b.test:443*5@30", nil},
		// RFC 2782: with a total weight of 3, a random number from 0 to 3 chooses a record with
		// weight 0 once in four times, as the weight of 1 does that they share.
		{"weight 0 beside others", []*net.SRV{srvRecord("a.test.", 0, 3), srvRecord("b.test.", 0, 0), srvRecord("c.test.", 0, 0)}, nil,
			"complete a.test:443*3@10 b.test:443*0.5@10 c.test:443*0.5@10", nil},
		{"weight 0 alone", []*net.SRV{srvRecord("a.test.", 0, 0), srvRecord("b.test.", 0, 0), srvRecord("c.test.", 1, 9)}, nil,
			"complete a.test:443*0@10 b.test:443*0@10 c.test:443*9@11", nil},
		{"twice", []*net.SRV{srvRecord("a.test.", 2, 1), srvRecord("a.test.", 1, 7)}, nil, "complete a.test:443*7@11", nil},
		{"not available", []*net.SRV{srvRecord(".", 0, 0)}, nil, "old.test:443*1@10", ErrNotAvailable},
		{"one not available", []*net.SRV{srvRecord(".", 0, 0), srvRecord("a.test.", 0, 1), nil}, nil, "complete a.test:443*1@10", nil},
		{"empty", nil, nil, "old.test:443*1@10", ErrEmpty},
		{"failed", nil, servFail, "old.test:443*1@10", servFail},
		{"some records invalid", []*net.SRV{srvRecord("a.test.", 0, 1)}, servFail, "a.test:443*1@10 old.test:443*1@10", servFail},
		{"capped", tooMany, nil, "0.test:443*1@10 1.test:443*1@10 2.test:443*1@10 3.test:443*1@10 4.test:443*1@10 old.test:443*1@10", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeSRV{records: []*net.SRV{srvRecord("old.test.", 0, 1)}}
				p := steadyPolling
				p.MaxAnswers = 5
				r, err := SRV(SRVConfig{Domain: "ws.test", Zone: "z", Priority: 10, Resolver: fake, Polling: p})
				if err != nil {
					t.Fatal(err)
				}
				w := watchResolver(t, r)
				time.Sleep(time.Second)
				fake.set(test.records, test.err)
				time.Sleep(9 * time.Second)
				u := w.lastUpdate()
				var got []string
				if u.Complete {
					got = append(got, "complete")
				}
				for _, e := range u.Endpoints {
					if e.Zone != "z" || e.Name+":443" != e.Addr {
						t.Errorf("endpoint %+v", e)
					}
					got = append(got, fmt.Sprintf("%s*%v@%d", e.Addr, e.Weight, e.Priority))
				}
				if got := strings.Join(got, " "); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				if (u.Err != nil) != (test.is != nil) || !errors.Is(u.Err, test.is) {
					t.Errorf("the error is %v, want %v", u.Err, test.is)
				}
			})
		})
	}
}

// TestSRVConfig checks the name that is asked for, and that one error names every bad field.
func TestSRVConfig(t *testing.T) {
	for _, test := range []struct {
		cfg         SRVConfig
		asked, text string
	}{
		{SRVConfig{Service: "ws", Proto: "tcp", Domain: "example.test"}, "ws tcp example.test", "SRV _ws._tcp.example.test"},
		{SRVConfig{Domain: "_ws._tcp.example.test."}, "  _ws._tcp.example.test.", "SRV _ws._tcp.example.test."},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := &fakeSRV{}
			test.cfg.Resolver = fake
			r, err := SRV(test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			u := watchResolver(t, r).lastUpdate()
			if asked := fake.asked; asked != test.asked || !strings.Contains(fmt.Sprint(u.Err), test.text) {
				t.Errorf("asked for %q with the error %v, want %q and %q", asked, u.Err, test.asked, test.text)
			}
		})
	}

	_, err := SRV(SRVConfig{Service: "ws", Domain: ".", Priority: math.MinInt, Polling: Polling{MaxAnswers: -1}})
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("got %v, want ErrConfig", err)
	}
	for _, field := range []string{"Domain", "Service and Proto", "Polling.MaxAnswers"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
}
