package settings

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

type order uint8

func (o order) String() string { return [...]string{"newest", "oldest"}[o] }

type hooks struct{ A, B func() }

type policyFunc func() error

type inner struct {
	Every time.Duration
	Text  string
}

type config struct {
	Size     int
	Wait     time.Duration
	Grace    time.Duration
	Part     float64
	Limit    uint16
	On       bool
	Order    order
	URL      string
	Names    []string
	Make     func() error
	Policy   any
	Act      any
	Trace    *hooks
	Private  *inner
	Inner    inner
	Skipped  int
	hidden   int
	Header   map[string]string
	Token    [4]byte
	Complete error
}

func (c config) filled() config {
	if c.Wait == 0 {
		c.Wait = time.Minute
	}
	if c.Inner.Every == 0 {
		c.Inner.Every = 90 * time.Minute
	}
	return c
}

func makeOne() error { return nil }

// Every kind of field is rendered, defaults are marked, and no content of a text, a slice,
// a map, an array, a pointer or an error is in any of them.
func TestOf(t *testing.T) {
	const secret = "s3cret"
	full := config{
		Size: 7, Wait: 3 * time.Second, Grace: -1, Part: 0.25, Limit: 9, On: true, Order: 1, URL: "wss://me:" + secret + "@host", Names: []string{secret},
		Make: makeOne, Policy: &inner{Text: secret}, Act: policyFunc(makeOne), Trace: &hooks{A: func() {}}, Private: &inner{Text: secret},
		Inner: inner{time.Hour, secret}, Skipped: 8, hidden: 9, Header: map[string]string{"Authorization": secret}, Token: [4]byte{'s', '3', 'c', 'r'},
		Complete: fmt.Errorf("%s", secret),
	}
	for _, c := range []struct {
		given config
		want  []string
	}{
		{config{}, []string{
			"Size 0*", "Wait 1m*", "Grace 0s*", "Part 0*", "Limit 0*", "On no*", "Order newest*", "URL not set*", "Names not set*", "Make not set*", "Policy not set*",
			"Act not set*", "Trace not set*", "Private not set*", "Inner.Every 1h30m*", "Inner.Text not set*", "Header not set*", "Token not set*", "Complete not set*",
		}},
		{full, []string{
			"Size 7", "Wait 3s", "Grace off", "Part 0.25", "Limit 9", "On yes", "Order oldest", "URL set", "Names 1 entry",
			"Make github.com/respool/respool/internal/settings.makeOne", "Policy *settings.inner",
			"Act settings.policyFunc github.com/respool/respool/internal/settings.makeOne", "Trace 1 function", "Private set", "Inner.Every 1h", "Inner.Text set", "Header set", "Token set",
			"Complete *errors.errorString",
		}},
		{config{Wait: time.Minute, Trace: &hooks{}, Names: []string{}}, []string{
			"Size 0*", "Wait 1m*", "Grace 0s*", "Part 0*", "Limit 0*", "On no*", "Order newest*", "URL not set*", "Names 0 entries", "Make not set*", "Policy not set*",
			"Act not set*", "Trace not set*", "Private not set*", "Inner.Every 1h30m*", "Inner.Text not set*", "Header not set*", "Token not set*", "Complete not set*",
		}},
	} {
		var got []string
		for _, f := range Of(c.given, c.given.filled(), config{}.filled(), "Skipped") {
			s := f.Name + " " + f.Value
			if f.Default {
				s += "*"
			}
			got = append(got, s)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("got\n%q, want\n%q", got, c.want)
		}
		if strings.Contains(fmt.Sprint(got), secret) {
			t.Errorf("a secret is shown: %q", got)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", -1: "off", time.Millisecond: "1ms", 1500 * time.Millisecond: "1.5s", time.Minute: "1m", 10 * time.Second: "10s", 61 * time.Second: "1m1s",
		time.Hour: "1h", time.Hour + time.Second: "1h0m1s", 20 * time.Minute: "20m", 100 * time.Hour: "100h", 10*time.Hour + 10*time.Minute: "10h10m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
