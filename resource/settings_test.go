package resource_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// settingsBy returns the settings of an Inspection as texts by name; a default ends in "*".
func settingsBy(in resource.Inspection) map[string]string {
	by := make(map[string]string)
	for _, s := range in.Settings {
		v := s.Value
		if s.Default {
			v += "*"
		}
		by[s.Of+"."+s.Name] = v
	}
	return by
}

func makeInt(context.Context) (int, error) { return 1, nil }

// Every field of the Config is listed, those that were not set as defaults, and a list costs
// nothing where no resources are listed.
func TestSettings(t *testing.T) {
	p := newPool(t, resource.Config[int]{
		Make: makeInt, MaxSize: 8, MinIdle: 0, MakeTimeout: -1, SweepInterval: 90 * time.Second, Order: resource.OldestFirst,
		Admission: policy.Limit(3), EvictIf: func(int, resource.Info) error { return nil }, Trace: &resource.Trace{Panicked: func(error) {}},
	})
	in := p.Inspect(1)
	got := settingsBy(in)
	for i := range reflect.TypeFor[resource.Config[int]]().NumField() {
		name := reflect.TypeFor[resource.Config[int]]().Field(i).Name
		if _, ok := got["resource.Config."+name]; ok == (name == "Settings") {
			t.Errorf("%s is listed: %t", name, ok)
		}
	}
	for name, want := range map[string]string{
		"Make": "github.com/respool/respool/resource_test.makeInt", "MaxSize": "8", "MinIdle": "0*", "MakeTimeout": "off", "ReleaseTimeout": "5s*", "SweepInterval": "1m30s",
		"Order": "OldestFirst", "Outage": "FailFast*", "Admission": "*policy.Limiter", "MakeGate": "not set*", "Health": "not set*", "Trace": "1 function", "SampleLeases": "512*",
	} {
		if got["resource.Config."+name] != want {
			t.Errorf("%s is %q, want %q", name, got["resource.Config."+name], want)
		}
	}
	if f := got["resource.Config.EvictIf"]; !strings.Contains(f, "TestSettings.func") {
		t.Errorf("EvictIf is %q", f)
	}
	if none := p.Inspect(0).Settings; none != nil {
		t.Errorf("without a list there is %v", none)
	}
	if err := p.Resize(12); err != nil {
		t.Fatal(err)
	}
	if got := settingsBy(p.Inspect(1))["resource.Config.MaxSize"]; got != "8, resized to 12" {
		t.Errorf("after Resize MaxSize is %q", got)
	}
}

// A layer above the pool lists its own settings; a panic of it is contained and counted.
func TestSettings_OfALayer(t *testing.T) {
	own := []resource.Setting{{Of: "shop.Config", Name: "MaxSize", Value: "2"}}
	fail := false
	p := newPool(t, resource.Config[int]{Make: makeInt, MaxSize: 2, Settings: func() []resource.Setting {
		if fail {
			panic("no settings")
		}
		return own
	}})
	if got := p.Inspect(1).Settings; !slices.Equal(got, own) {
		t.Errorf("they are %v", got)
	}
	if err := p.Resize(3); err != nil {
		t.Fatal(err)
	}
	if got := p.Inspect(1).Settings[0].Value; got != "2, resized to 3" || own[0].Value != "2" {
		t.Errorf("after Resize it is %q, and that of the layer %q", got, own[0].Value)
	}
	fail = true
	if got := p.Inspect(1); got.Settings != nil {
		t.Errorf("after a panic they are %v", got.Settings)
	}
	if n := p.Stats().Panics; n != 1 {
		t.Errorf("%d panics were contained", n)
	}
}

// Settings of a Keyed are its own and those of its keys: what all have in common once, and
// what differs with its values.
func TestSettings_Keyed(t *testing.T) {
	k, err := resource.NewKeyed(resource.KeyedConfig[int, int]{MaxTotal: 20, Config: func(key int) (resource.Config[int], error) {
		return resource.Config[int]{Make: makeInt, MaxSize: 2 + key, MinIdle: key % 2}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := k.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if got := settingsBy(k.Inspect(1)); got["resource.KeyedConfig.MaxTotal"] != "20" || got["resource.KeyedConfig.ForgetAfter"] != "1m*" || len(got) != 3 {
		t.Errorf("without a key they are %v", got)
	}
	for key := range 5 {
		l, err := k.Acquire(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	got := settingsBy(k.Inspect(1))
	if got["resource.Config.SweepInterval"] != "10s*" || got["resource.Config.Make"] != "github.com/respool/respool/resource_test.makeInt" {
		t.Errorf("in common they have %v", got)
	}
	min := got["resource.Config.MinIdle"]
	if min != "differs between keys: 0; 1" && min != "differs between keys: 1; 0" {
		t.Errorf("MinIdle is %q", min)
	}
	if v := got["resource.Config.MaxSize"]; !strings.HasPrefix(v, "differs between keys: ") || !strings.HasSuffix(v, " and 2 more") || strings.Count(v, ";") != 2 {
		t.Errorf("MaxSize is %q", v)
	}
	if got := settingsBy(k.View(3).Inspect(1)); got["resource.Config.MaxSize"] != "5" || got["resource.Config.MinIdle"] != "1" {
		t.Errorf("of one key they are %v", got)
	}
	if err := k.Resize(30); err != nil {
		t.Fatal(err)
	}
	if got := settingsBy(k.Inspect(1))["resource.KeyedConfig.MaxTotal"]; got != "20, resized to 30" {
		t.Errorf("after Resize MaxTotal is %q", got)
	}
}

func TestModeNames(t *testing.T) {
	for v, want := range map[fmt.Stringer]string{
		resource.NewestFirst: "NewestFirst", resource.OldestFirst: "OldestFirst", resource.Order(9): "Order(9)",
		resource.FailFast: "FailFast", resource.KeepWaiting: "KeepWaiting", resource.OutageMode(9): "OutageMode(9)",
	} {
		if v.String() != want {
			t.Errorf("%s, want %s", v, want)
		}
	}
}
