package live

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// snapshot is a pool, as edit has it.
func snapshot(edit func(s *metrics.Snapshot)) *metrics.Snapshot {
	s := &metrics.Snapshot{Name: "p", Inspection: resource.Inspection{Stats: resource.Stats{Load: resource.Load{Max: 8}}}}
	edit(s)
	return s
}

// Each thing that is wrong is a flag, whose sentence has the figures. A pool that is well has
// none.
func TestFlags(t *testing.T) {
	boom := errors.New("dial wss://me:s3cret@host/?token=s3cret: refused")
	for _, c := range []struct {
		edit func(s *metrics.Snapshot)
		kind string
		text string
		why  []string
		doc  string
	}{
		{func(s *metrics.Snapshot) { s.Outage, s.LastMake, s.Failed = true, boom, 1234 }, "bad outage", "outage for 1 min 30 s",
			[]string{"failing for 1 min 30 s", "1,234 creations have failed", "refused"}, docOutage},
		{func(s *metrics.Snapshot) {
			s.Overdue, s.Settings = 2, []resource.Setting{{Of: "metrics.Config", Name: "Overdue", Value: "30s"}}
			s.Held = []metrics.Held{{For: time.Hour}, {For: 95 * time.Second, Overdue: true, Stack: []metrics.Frame{
				{Func: "github.com/respool/respool/resource.(*Pool[...]).Acquire", File: "/x/acquire.go", Line: 1},
				{Func: "example.com/shop.charge", File: "/src/shop/charge.go", Line: 88},
			}}}
		}, "bad overdue", "2 overdue", []string{"2 leases are held for longer than Overdue (30s) allows", "the longest for 1 min 35 s, acquired in shop.charge (shop/charge.go:88)"}, docLeak},
		{func(s *metrics.Snapshot) { s.Overdue = 1 }, "bad overdue", "1 overdue", []string{"1 lease is held for longer than Overdue allows."}, docLeak},
		{func(s *metrics.Snapshot) { s.Leased, s.Load.Waiting, s.OldestWait = 8, 3, 2300*time.Millisecond }, "warn full", "all leased",
			[]string{"3 callers wait, the first for 2.30 s: 8 of 8 resources are leased."}, docSizing},
		{func(s *metrics.Snapshot) {
			s.Leased, s.Making, s.Destroying, s.Wanting, s.Load.Waiting, s.OldestWait = 3, 2, 1, 4, 1, time.Millisecond
		}, "note waiting", "callers wait",
			[]string{"1 caller waits, the first for 1.00 ms: 3 of 8 resources are leased, 2 being created, 1 being destroyed, 4 more wanted of a total that is used up."}, docSizing},
		{func(s *metrics.Snapshot) { s.Abandoned = 1 }, "warn abandoned", "1 creation abandoned", []string{"1 call of Make has not returned"}, docStuck},
		{func(s *metrics.Snapshot) { s.Hanging = 2 }, "warn hanging", "2 hanging", []string{"2 calls have not returned"}, docStuck},
		{func(s *metrics.Snapshot) { s.Panics = 14 }, "warn panics", "14 panics", []string{"14 panics or Goexits were", "contained"}, docAlerts},
		{func(s *metrics.Snapshot) {
			s.Quotas = []resource.SharedQuota{{Name: "account", Holder: "h", Lost: 95 * time.Second, LostCause: boom, Mode: "local share", Limit: 9}}
		}, "bad lost", "engine lost for 1 min 35 s", []string{"for 1 min 35 s", "(local share)", "refused"}, docFleet},
		{func(s *metrics.Snapshot) { s.Quotas = []resource.SharedQuota{{Granted: 5, Over: 3, Limit: 9}} }, "bad over", "3 beyond the grant", []string{"uses 8 of the 5 units"}, docFleet},
		{func(s *metrics.Snapshot) { s.Quotas = []resource.SharedQuota{{Total: 23, Limit: 20}} }, "bad exceeded", "23 of 20 granted", []string{"have 23 units with a limit of 20"}, docFleet},
		{func(s *metrics.Snapshot) { s.Quotas = []resource.SharedQuota{{Learning: true}} }, "warn learning", "engine learning", []string{"grants nothing new"}, docFleet},
		{func(s *metrics.Snapshot) { s.Quotas = []resource.SharedQuota{{Limit: 20, Highest: 30}} }, "warn disagree", "limits disagree", []string{"from 20 to 30"}, docFleet},
		{func(s *metrics.Snapshot) { s.Multiplexers = []resource.Multiplexer{{Name: "rpc", Unknown: 2}} }, "bad unknown", "2 unknown replies", []string{"2 replies had an id"}, docMux},
		{func(s *metrics.Snapshot) {
			s.Multiplexers = []resource.Multiplexer{{Waiting: 12, OldestWait: 3 * time.Second, InFlight: 66, Held: 2, Limit: 64}}
		}, "warn waiting", "12 callers without room for 3.00 s",
			[]string{"12 callers wait for a connection to have room, the first for 3.00 s: 66 calls are in flight on 2 connections, which may have 64 each."}, docShared},
		{func(s *metrics.Snapshot) {
			s.Multiplexers = []resource.Multiplexer{{Orphans: 70, MaxOrphans: 64, Held: 2}}
		}, "warn orphans", "70 orphans", []string{"70 calls were given up", "more than 64"}, docMux},
		{func(s *metrics.Snapshot) { s.Multiplexers = []resource.Multiplexer{{StreamDropped: 1}} }, "warn dropped", "1 stream message dropped", []string{"1 message found"}, docMux},
		{func(s *metrics.Snapshot) { s.Multiplexers = []resource.Multiplexer{{Panics: 1}} }, "warn panics", "1 panic", []string{"1 panic or Goexit was"}, docAlerts},
		{func(s *metrics.Snapshot) {
			s.Endpoints = &resource.Endpoints{Panic: true, All: make([]resource.EndpointInfo, 3)}
		}, "bad panic", "too few endpoints healthy", []string{"0 of 3 endpoints"}, docEndpoint},
		{func(s *metrics.Snapshot) {
			s.Endpoints = &resource.Endpoints{ResolverErr: boom, Updates: 40, UpdatesFailed: 3}
		}, "bad resolver", "resolver failing", []string{"(3 of 43 so far)", "refused"}, docEndpoint},
		{func(s *metrics.Snapshot) {
			one := resource.EndpointInfo{Addr: "wss://me:s3cret@a/", Ejected: true, For: 95 * time.Second, Bad: 31, Probes: 6, Cause: boom}
			s.Endpoints = &resource.Endpoints{All: []resource.EndpointInfo{one, one, one, one, {Addr: "b"}}}
		}, "warn ejected", "4 of 5 endpoints ejected", []string{"wss://…@a/ for 1 min 35 s, after 31 failures and 6 probes (dial", "and 1 more"}, docEndpoint},
		{func(s *metrics.Snapshot) {
			s.Idle, s.Acquired, s.Failed, s.LastMake = 3, 900, 4, boom
			s.Quotas, s.Multiplexers = []resource.SharedQuota{{Limit: 3, Total: 3, Highest: 3}}, []resource.Multiplexer{{Held: 1, Orphans: 32, MaxOrphans: 64, MayHaveRun: 3}}
			s.Endpoints = &resource.Endpoints{All: make([]resource.EndpointInfo, 1)}
		}, "", "", nil, ""},
	} {
		all := flagsOf(snapshot(c.edit), "", 90*time.Second, 10)
		if c.kind == "" {
			if len(all) != 0 {
				t.Errorf("a pool that is well has %+v", all)
			}
			continue
		}
		if len(all) != 1 || all[0].Level+" "+all[0].Kind != c.kind || all[0].Text != c.text || all[0].Doc != c.doc {
			t.Errorf("%s: %+v", c.kind, all)
			continue
		}
		for _, want := range c.why {
			if !strings.Contains(all[0].Why, want) {
				t.Errorf("%s: %q is not in %q", c.kind, want, all[0].Why)
			}
		}
		if strings.Contains(all[0].Why, "s3cret") || !strings.HasSuffix(all[0].Why, ".") || strings.Contains(all[0].Why, "%!") {
			t.Errorf("%s: %q", c.kind, all[0].Why)
		}
	}
	if all := flagsOf(snapshot(func(*metrics.Snapshot) {}), "it panicked", 0, 1); len(all) != 1 || all[0].Kind != "problem" || !strings.Contains(all[0].Why, "it panicked") {
		t.Errorf("%+v", all)
	}
}

// The flags of the parts of a pool say which part it is, and how many are looked at is bounded.
func TestFlags_Parts(t *testing.T) {
	s := snapshot(func(s *metrics.Snapshot) {
		s.Quotas = []resource.SharedQuota{{Name: "a", Holder: "1", Learning: true}, {Name: "a", Holder: "2", Learning: true}, {Name: "b", Learning: true}}
		s.Multiplexers = []resource.Multiplexer{{Name: "m", Panics: 1}, {Name: "n", Panics: 1}, {Name: "o", Panics: 1}}
		s.Endpoints = &resource.Endpoints{Panic: true}
		s.Panics = 1
	})
	var got []string
	for _, f := range flagsOf(s, "", 0, 2) {
		got = append(got, fmt.Sprint(f.Of, "/", f.Name, "/", f.Key, "/", f.Kind))
	}
	if want := []string{"///panics", "quota/a/1/learning", "quota/a/2/learning", "endpoints///panic", "mux/m//panics", "mux/n//panics"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Every document to which the page links exists, with its heading.
func TestDocuments(t *testing.T) {
	doc := regexp.MustCompile(`"([a-z-]+\.md)(?:#([a-z-]+))?"`)
	template := regexp.MustCompile("\\$\\{docs\\.at\\}([a-z-]+\\.md)(?:#([a-z-]+))?`")
	links := make(map[[2]string]string)
	read := func(name string, text []byte) {
		for _, re := range []*regexp.Regexp{doc, template} {
			for _, m := range re.FindAllStringSubmatch(string(text), -1) {
				links[[2]string{m[1], m[2]}] = name
			}
		}
	}
	source, err := os.ReadFile("flags.go")
	if err != nil {
		t.Fatal(err)
	}
	read("flags.go", source)
	pages, err := fs.Glob(files, "page/*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range pages {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		read(name, text)
	}
	if len(links) < 8 {
		t.Fatalf("only %v were found", links)
	}
	for link, from := range links {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", link[0]))
		if err != nil {
			t.Errorf("%s: %v", from, err)
			continue
		}
		if link[1] != "" && !slices.Contains(anchors(string(text)), link[1]) {
			t.Errorf("%s: %s has no heading for #%s", from, link[0], link[1])
		}
	}
}

// anchors are those that GitHub gives to the headings of a document.
func anchors(text string) (all []string) {
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			a := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all = append(all, strings.ReplaceAll(a, " ", "-"))
		}
	}
	return all
}

func TestDocsAt(t *testing.T) {
	for in, want := range map[string]string{
		"": docsURL, "https://wiki.example/pools/": "https://wiki.example/pools/", "http://wiki.example/pools": "http://wiki.example/pools/", "/docs/": "/docs/", "../docs": "../docs/",
		"javascript:alert(1)//": docsURL, "JAVASCRIPT:alert(1)": docsURL, "data:text/html,x": docsURL, "file:///etc/": docsURL, "%zz": docsURL, "\x00": docsURL, " https://x/": docsURL,
		"https://me:s3cret@wiki.example/a%20b": "https://wiki.example/a%20b/", "//me@wiki.example/": "//wiki.example/",
	} {
		if got := Handler(Config{Docs: in}).cfg.Docs; got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	p := Handler(Config{Docs: "/docs", Meters: func() []Meter { return nil }})
	if got := p.update().pools("").Docs; got != "/docs/" {
		t.Errorf("the page gets %q", got)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 999: "1.00 µs", 12_345: "12.3 µs", 999_600: "1.00 ms", 123 * time.Millisecond: "123 ms", 999_600_000: "1.00 s", 59_940 * time.Millisecond: "59.9 s",
		59_960 * time.Millisecond: "59 s", 90 * time.Second: "1 min 30 s", 2*time.Hour + 3*time.Minute: "2 h 3 min", 50 * time.Hour: "2 d 2 h",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999", 1234567: "1,234,567"} {
		if got := number(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
