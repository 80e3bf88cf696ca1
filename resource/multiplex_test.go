package resource

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
)

// filled is a Multiplexer in which every number is different.
func filled(from int64) (m Multiplexer) {
	v := reflect.ValueOf(&m).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.CanInt() {
			f.SetInt(from + int64(i))
		}
	}
	return m
}

// Merge adds every figure, but takes the larger of those whose sum has no meaning, and
// Counters keeps what counts.
func TestMultiplexer_Merge(t *testing.T) {
	a, b := filled(1000), filled(1)
	a.Name, b.Name = "a", "b"
	a.Resources = []MultiplexedResource{{ID: 5}, {ID: 9, Cause: errors.New("x")}}
	b.Resources = []MultiplexedResource{{ID: 7}}
	sum, only := a.Merge(b, 2), a.Counters()
	larger := []string{"Limit", "Busiest", "OldestWait", "MaxOrphans"}
	levels := append([]string{"Held", "Draining", "InFlight", "Waiting", "Orphans", "Streams", "Queued"}, larger...)
	v := reflect.ValueOf(sum)
	for i := range v.NumField() {
		if !v.Field(i).CanInt() {
			continue
		}
		name := v.Type().Field(i).Name
		x, y := reflect.ValueOf(a).Field(i).Int(), reflect.ValueOf(b).Field(i).Int()
		want := x + y
		if slices.Contains(larger, name) {
			want = x
		}
		if got := v.Field(i).Int(); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
		if slices.Contains(levels, name) {
			x = 0
		}
		if got := reflect.ValueOf(only).Field(i).Int(); got != x {
			t.Errorf("of the counters %s is %d, want %d", name, got, x)
		}
	}
	if sum.Name != "a" || len(sum.Resources) != 2 || sum.Resources[0].ID != 5 || sum.Resources[1].ID != 7 {
		t.Errorf("it is %s with %v", sum.Name, sum.Resources)
	}
	if len(a.Resources) != 2 || a.Resources[1].ID != 9 || only.Resources != nil || len(a.Merge(b, -1).Resources) != 0 {
		t.Errorf("a has %v", a.Resources)
	}
}

func TestDurations_Merge(t *testing.T) {
	d := Durations{Sum: time.Second, Zero: 1, First: 32, Buckets: []int64{1, 2, 3}}
	for _, c := range []struct{ o, want Durations }{
		{Durations{}, d},
		{Durations{Zero: 4}, Durations{Sum: time.Second, Zero: 5, First: 32, Buckets: []int64{1, 2, 3}}},
		{Durations{Sum: math.MaxInt64, First: 28, Buckets: []int64{7}},
			Durations{Sum: math.MaxInt64, Zero: 1, First: 28, Buckets: []int64{7, 0, 0, 0, 1, 2, 3}}},
		{Durations{First: 36, Buckets: []int64{7, 8}}, Durations{Sum: time.Second, Zero: 1, First: 32, Buckets: []int64{1, 2, 3, 0, 7, 8}}},
		{Durations{First: 33, Buckets: []int64{7}}, Durations{Sum: time.Second, Zero: 1, First: 32, Buckets: []int64{1, 9, 3}}},
	} {
		for _, got := range []Durations{d.Merge(c.o), c.o.Merge(d)} {
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("with %+v it is %+v, want %+v", c.o, got, c.want)
			}
		}
	}
	if d.Buckets[1] != 2 {
		t.Error("it has changed")
	}
}
