package resource_test

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// A bad Config: the error names every field that is wrong, and only those.
func TestConfig_EveryBadField(t *testing.T) {
	_, err := resource.New(resource.Config[int]{
		MaxSize: -1, MinIdle: -2, SweepInterval: -4, Order: 5, Outage: 6, SampleLeases: -7,
	})
	if err == nil {
		t.Fatal("New succeeded")
	}
	for _, field := range []string{"Make ", "MaxSize", "MinIdle", "SweepInterval", "Order", "Outage", "SampleLeases"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	good := resource.Config[int]{Make: func(context.Context) (int, error) { return 0, nil }, MaxSize: 2}
	for field, spoil := range map[string]func(cfg *resource.Config[int]){
		"Make ":         func(cfg *resource.Config[int]) { cfg.Make = nil },
		"MaxSize":       func(cfg *resource.Config[int]) { cfg.MaxSize = 0 },
		"MinIdle":       func(cfg *resource.Config[int]) { cfg.MinIdle = 3 },
		"SweepInterval": func(cfg *resource.Config[int]) { cfg.SweepInterval = resource.MinSweepInterval - 1 },
		"Order":         func(cfg *resource.Config[int]) { cfg.Order = 2 },
		"Outage":        func(cfg *resource.Config[int]) { cfg.Outage = 2 },
		"SampleLeases":  func(cfg *resource.Config[int]) { cfg.SampleLeases = 1<<30 + 1 },
	} {
		cfg := good
		spoil(&cfg)
		p, err := resource.New(cfg)
		if err == nil || p != nil {
			t.Errorf("%s: New succeeded", field)
		} else if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	p := newPool(t, good)
	closeAll(t, p)
}

// What zero means in a Config is part of its contract.
func TestConfig_Defaults(t *testing.T) {
	for name, d := range map[string][2]time.Duration{
		"MakeTimeout":    {resource.DefaultMakeTimeout, 30 * time.Second},
		"ReleaseTimeout": {resource.DefaultReleaseTimeout, 5 * time.Second},
		"SweepInterval":  {resource.DefaultSweepInterval, 10 * time.Second},
		"ForgetAfter":    {resource.DefaultForgetAfter, time.Minute},
	} {
		if d[0] != d[1] {
			t.Errorf("the default of %s is %v, want %v", name, d[0], d[1])
		}
	}
	if resource.DefaultSampleLeases != 512 {
		t.Errorf("the default of SampleLeases is %d, want 512", resource.DefaultSampleLeases)
	}
}

// New copies the Config, the Trace in it too.
func TestConfig_IsCopied(t *testing.T) {
	made := 0
	cfg := resource.Config[int]{
		Make:    makeOne,
		MaxSize: 1,
		Trace:   &resource.Trace{Made: func(context.Context, resource.MakeEvent) { made++ }},
	}
	p := newPool(t, cfg)
	cfg.Trace.Made = nil
	if err := p.Warm(context.Background(), 1); err != nil {
		t.Error(err)
	}
	closeAll(t, p)
	if made != 1 {
		t.Errorf("%d makes traced, want 1", made)
	}
}

// The largest maximum is that of 32 bits, also where an int has 64.
func TestConfig_LargestMaxSize(t *testing.T) {
	cfg := resource.Config[int]{Make: func(context.Context) (int, error) { return 0, nil }, MaxSize: math.MaxInt32, SampleLeases: 1}
	p := newPool(t, cfg)
	if err := p.Resize(math.MaxInt32); err != nil {
		t.Error(err)
	}
	l := lendOne(t, p)
	l.Release()
	closeAll(t, p)
	if strconv.IntSize > 32 {
		cfg.MaxSize++
		if _, err := resource.New(cfg); err == nil || !strings.Contains(err.Error(), "got 2147483648") {
			t.Error(err)
		}
	}
}
