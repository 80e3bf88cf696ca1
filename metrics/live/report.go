package live

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// Bounds of a report.
const (
	reportPools  = 20
	reportEvents = 40
	reportSites  = 5
	reportFrames = 12
	reportLeases = 1000 // that are grouped by stack; no list of the snapshot is longer
	reportLines  = 32   // of each other list
	reportWidth  = 1000 // bytes of a line
)

// serveReport answers report.txt: what a maintainer needs to know of the pools, as text.
func (p *Page) serveReport(w http.ResponseWriter, r *http.Request) {
	v, err := parseView(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var body string
	err = p.inTurn(r, func(u *update) error {
		shown, more := u.chosen(v.find)
		if v.pool != "" {
			k := u.find(v.pool)
			if k == nil {
				return errUnknown
			}
			shown, more = []*known{k}, 0
		}
		if cut := len(shown) - reportPools; cut > 0 {
			// Pools in trouble first, since they are why the report is made.
			shown = slices.Clone(shown)
			slices.SortStableFunc(shown, func(a, b *known) int { return cmp.Compare(rank(a), rank(b)) })
			shown, more = shown[:reportPools], more+cut
		}
		body = u.report(shown, more)
		return nil
	})
	if err != nil {
		failed(w, err)
		return
	}
	write(w, r, "text/plain; charset=utf-8", []byte(body))
}

func rank(k *known) int {
	if k.troubled() {
		return 0
	}
	return 1
}

// report is the text about some pools; more are left out.
func (u *update) report(shown []*known, more int) string {
	var w reporter
	w.line("respool report of %s", u.at.UTC().Format(time.RFC3339))
	w.line("respool %s, %s, %s/%s, %d CPUs, GOMAXPROCS %d, %d goroutines", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), runtime.GOMAXPROCS(0), runtime.NumGoroutine())
	if more > 0 {
		w.line("%s left out.", counted(more, "pool is", "pools are"))
	}
	for _, k := range shown {
		w.pool(u, k.brief.Name)
		k.full = nil // the snapshots of all pools together may be large
	}
	return w.String()
}

// modulePath is that of this module.
const modulePath = "github.com/respool/respool"

// version is that of this module in the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of an unknown version"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path != modulePath {
			continue
		}
		if m.Replace != nil {
			return cmp.Or(m.Version, "(devel)") + " (replaced)" // the path may be private
		}
		return cmp.Or(m.Version, "(devel)")
	}
	return "of an unknown version"
}

// reporter writes a report. Every line loses what looks like a secret.
type reporter struct{ strings.Builder }

func (w *reporter) line(format string, args ...any) {
	w.WriteString(text.DiscreetTo(fmt.Sprintf(format, args...), reportWidth))
	w.WriteByte('\n')
}

func (w *reporter) title(of string) { w.WriteString("\n" + of + "\n") }

// list writes the first reportLines of n lines.
func (w *reporter) list(n int, line func(i int)) {
	for i := range min(n, reportLines) {
		line(i)
	}
	if n > reportLines {
		w.line("  … %s more", number(n-reportLines))
	}
}

// pool writes about one pool. It contains a panic of the meter, or of an error of the user.
func (w *reporter) pool(u *update, name string) {
	w.title("== Pool " + text.Clean(name, text.MaxError))
	problem := ""
	defer func() {
		if problem != "" {
			w.line("This pool cannot be shown: %s.", problem)
		}
	}()
	defer contain(&problem, "a look at its snapshot")
	k := u.listsUpTo(name, reportLeases)
	if k.full == nil {
		problem = k.problem
		return
	}
	s := k.full
	w.line("%v", s.Load)
	var outage time.Duration
	if s.Outage && !s.Since.IsZero() {
		outage = u.at.Sub(s.Since)
	}
	if all := flagsOf(s, "", outage, u.limit); len(all) > 0 {
		w.title("What is wrong")
		w.list(len(all), func(i int) { w.line("  %s", strings.TrimSpace(all[i].Name+" "+all[i].Text)+": "+all[i].Why) })
	}
	w.settings("Settings", s.Settings)
	w.counters(s)
	w.latencies(s)
	w.minutes(k)
	w.causes(s)
	w.events(s.Events)
	w.held(s)
	w.parts(s)
}

// settings writes those that are not the default, and then the others.
func (w *reporter) settings(title string, all []resource.Setting) {
	if len(all) == 0 {
		return
	}
	w.title(title)
	defaults := []string{}
	for _, s := range toSettings(all) {
		if s.Default {
			defaults = append(defaults, s.Name+" "+s.Value)
			continue
		}
		w.line("  %s.%s: %s", s.Of, s.Name, s.Value)
	}
	for chunk := range slices.Chunk(defaults, 6) {
		w.line("  by default: %s", strings.Join(chunk, ", "))
	}
}

func (w *reporter) counters(s *metrics.Snapshot) {
	w.title("Counters since the pool was made")
	w.line("  acquired %s, released %s, waited %s (%s in all)", number(s.Acquired), number(s.Released), number(s.Waited), formatDuration(s.WaitTime))
	w.line("  acquires failed %s%s", number(s.Failures.Total()), byLabel(failures(s.Failures)))
	w.line("  created %s in %s, failed %s, refused %s, withdrawn %s; outages %s", number(s.Made), formatDuration(s.MakeTime), number(s.Failed), number(s.Stats.Refused),
		number(s.Withdrawn), number(s.Outages))
	w.line("  destroyed %s, hijacked %s, evicted %s, unhealthy %s, invalidated %s, failed in OnRelease %s, panics %s", number(s.Stats.Destroyed),
		number(s.Hijacked), number(s.Evicted), number(s.Unhealthy), number(s.Invalidated), number(s.ReleaseFailed), number(s.Panics))
	w.list(len(s.Facts), func(i int) { w.line("  %s %s", s.Facts[i].Name, number(s.Facts[i].Value)) })
}

// byLabel writes counts, the largest first.
func byLabel(all map[string]int64) string {
	if len(all) == 0 {
		return ""
	}
	labels := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b)) })
	out := make([]string, min(len(labels), reportLines))
	for i := range out {
		out[i] = fmt.Sprintf("%s %s", label.Clean(labels[i]), number(all[labels[i]]))
	}
	return ": " + strings.Join(out, ", ")
}

func (w *reporter) latencies(s *metrics.Snapshot) {
	w.title("Latencies since the pool was made (count, p50, p90, p99)")
	for _, h := range []struct {
		name string
		of   metrics.Histogram
	}{{"wait", s.Wait}, {"lease", s.Hold}, {"creation", s.Make}, {"check", s.Check}, {"destroy", s.Close}} {
		if h.of.Count > 0 {
			w.line("  %-9s %s, %s, %s, %s", h.name, number(h.of.Count), formatDuration(h.of.Quantile(0.5)), formatDuration(h.of.Quantile(0.9)), formatDuration(h.of.Quantile(0.99)))
		}
	}
}

// minutes writes a line for each of the last ten minutes.
func (w *reporter) minutes(k *known) {
	h, ok := k.history()
	if !ok || len(h.Points) < 2 {
		return
	}
	w.title("The last ten minutes, the oldest first (acquired, failed, created, creations failed; most leased, waiting; worst p99 wait)")
	end := h.Points[len(h.Points)-1].Time
	for ago := 9; ago >= 0; ago-- {
		to := end.Add(-time.Duration(ago) * time.Minute)
		from := to.Add(-time.Minute)
		var sum metrics.Point // sums and maxima
		n := 0
		for i, p := range h.Points[1:] {
			before := &h.Points[i]
			if !p.Time.After(from) || p.Time.After(to) {
				continue
			}
			n++
			sum.Acquired += max(0, p.Acquired-before.Acquired)
			sum.Waited += max(0, unserved(p.Failures)-unserved(before.Failures))
			sum.Made += max(0, p.Made-before.Made)
			sum.Failed += max(0, p.Failed-before.Failed)
			sum.Load.Leased, sum.Load.Waiting = max(sum.Load.Leased, p.Load.Leased), max(sum.Load.Waiting, p.Load.Waiting)
			sum.WaitP99 = max(sum.WaitP99, p.WaitP99)
		}
		if n > 0 {
			w.line("  until %s: %s, %s, %s, %s; %s, %s; %s", to.UTC().Format("15:04:05"), number(sum.Acquired), number(sum.Waited), number(sum.Made),
				number(sum.Failed), number(sum.Load.Leased), number(sum.Load.Waiting), formatDuration(sum.WaitP99))
		}
	}
}

func (w *reporter) causes(s *metrics.Snapshot) {
	if len(s.Destroyed)+len(s.Refused) == 0 && s.LastMake == nil {
		return
	}
	w.title("Causes")
	if s.LastMake != nil {
		w.line("  the last creation: %s", text.Of(s.LastMake))
	}
	for _, by := range []struct {
		name string
		all  map[string]int64
	}{{"destroyed", s.Destroyed}, {"refused", s.Refused}} {
		if len(by.all) > 0 {
			w.line("  %s%s", by.name, byLabel(by.all))
		}
	}
}

// usual are the kinds of events that say nothing of errors.
var usual = []string{"made", "recovered"}

func (w *reporter) events(all []metrics.Event) {
	all = slices.DeleteFunc(slices.Clone(all), func(e metrics.Event) bool { return slices.Contains(usual, e.Kind) })
	if len(all) == 0 {
		return
	}
	w.title("Last errors and other events, the newest first")
	for _, e := range first(all, reportEvents) {
		more := ""
		if e.More > 0 {
			more = fmt.Sprintf(" (and %s like it)", number(e.More))
		}
		w.line("  %s %s%s: %s", e.Time.UTC().Format("15:04:05"), e.Kind, more, text.Discreet(e.Text))
	}
}

// held writes the stacks that hold the oldest leases.
func (w *reporter) held(s *metrics.Snapshot) {
	if len(s.Held) == 0 {
		return
	}
	oldest := first(s.Held, reportLeases) // the longest first
	w.title(fmt.Sprintf("Leases: the %d stacks with the oldest, of %s", reportSites, counted(len(oldest), "sampled lease", "sampled leases")))
	type site struct {
		stack []metrics.Frame
		n     int
		first metrics.Held
	}
	var sites []*site
	by := make(map[string]*site)
	keys := make(stackKeys)
	for _, h := range oldest {
		key := keys.of(h.Stack)
		if by[key] == nil {
			by[key] = &site{stack: h.Stack, first: h}
			sites = append(sites, by[key])
		}
		by[key].n++
	}
	for _, one := range first(sites, reportSites) {
		overdue := ""
		if one.first.Overdue {
			overdue = ", overdue"
		}
		w.line("  %s, the longest for %s%s", counted(one.n, "lease", "leases"), formatDuration(one.first.For), overdue)
		for _, f := range first(one.stack, reportFrames) {
			w.line("    %s (%s)", f.Func, fileLine(f))
		}
	}
}

// parts writes about the policies, quotas, multiplexers and endpoints.
func (w *reporter) parts(s *metrics.Snapshot) {
	if len(s.Policies) > 0 {
		w.title("Policies")
		w.list(len(s.Policies), func(i int) {
			p := &s.Policies[i]
			w.line("  %s: %s %s", p.Moment, p.Type, text.Discreet(p.State))
		})
	}
	if len(s.Quotas) > 0 {
		w.title("Quotas that are shared with other processes")
		w.list(len(s.Quotas), func(i int) {
			q := &s.Quotas[i]
			w.line("  %s (%s): held %d of %d granted, %d wanted, limit %d to %d, %d granted to %d processes, over %d, %d operations of which %d failed",
				text.Discreet(q.Name), text.Discreet(q.Mode), q.Held, q.Granted, q.Want, q.Limit, q.Highest, q.Total, q.Holders, q.Over, q.Operations, q.Failed)
		})
	}
	if len(s.Multiplexers) > 0 {
		w.title("Shared connections")
		w.list(len(s.Multiplexers), func(i int) {
			m := &s.Multiplexers[i]
			w.line("  %s: %d connections, %d in flight, %d waiting, %d orphans, %d streams", text.Discreet(m.Name), m.Held, m.InFlight, m.Waiting, m.Orphans, m.Streams)
			w.line("    answered %d, not sent %d, may have run %d, replayed %d, late %d, unknown %d, bad %d, gaps %d", m.Calls, m.NotSent, m.MayHaveRun,
				m.Replayed, m.Late, m.Unknown, m.Bad, m.Gaps)
		})
		for i := range first(s.Multiplexers, reportLines) {
			w.settings("Settings of "+text.Discreet(s.Multiplexers[i].Name), s.Multiplexers[i].Settings)
		}
	}
	if e := s.Endpoints; e != nil {
		w.title("Endpoints")
		w.line("  priority %d, failovers %d, answers of the resolver %d, not applied %d, moved %d", e.Priority, e.Failovers, e.Updates, e.UpdatesFailed, e.Moved)
		w.list(len(e.All), func(i int) {
			one := &e.All[i]
			w.line("  %s: %s for %s, %d connections, good %d, bad %d, refused %d%s", text.Discreet(one.Addr), text.Discreet(one.Status), formatAge(one.For),
				one.Idle+one.Leased, one.Good, one.Bad, one.Refused, last(": %s", one.Cause))
		})
	}
}
