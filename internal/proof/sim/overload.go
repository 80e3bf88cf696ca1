package sim

import (
	"fmt"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func plain(*resource.Config[int]) {}

const codelTarget = 5 * time.Millisecond

func codel(cfg *resource.Config[int]) {
	cfg.Queue = policy.CoDel(codelTarget, 100*time.Millisecond)
}

// Callers arrive at three times the capacity, each with a deadline of 100 ms for its wait and
// its work of about 10 ms. In order of arrival every served caller has waited until no time
// is left for its work. The figures are the goodput relative to the capacity, and the
// waits of the served callers.
var overload = Scene{
	Name:    "overload",
	Promise: "three times the capacity, deadlines of 100 ms: answered in time, as a share of the capacity",
	Clients: 19_200,
	play: func(s *Stage) {
		shop := s.shop()
		crowd := stream{rate: Steady(3 * shop.capacity()), patient: 100 * time.Millisecond}
		good := Curve{Name: "goodput", Title: "Three times the capacity: answered in time", X: "s", Y: "% of the capacity"}
		wait := Curve{Name: "wait", Title: "Three times the capacity: p99 wait of those served", X: "s", Y: "ms"}
		s.row("", "goodput", "answered late", "refused", "expired", "p50 wait", "p99 wait")
		run := func(name string, crowd stream, edit func(cfg *resource.Config[int])) (goodput float64, r *seen) {
			r = shop.play(s, name, edit, crowd)[0]
			goodput = float64(r.good) / shop.full()
			s.row(name, part(goodput), r.late, r.refused, r.expired, quantile(r.waits, 0.5), r.p99())
			good.Lines = append(good.Lines, r.goods.line(name, 100/(shop.capacity()*shop.every.Seconds()), shop.lasts))
			wait.Lines = append(wait.Lines, r.waited.p99(name, shop.lasts))
			return goodput, r
		}
		fifo, _ := run("first come", crowd, plain)
		best, r := run("CoDel", crowd, codel)
		// It bounds the wait, so the context of the acquire must leave time for the work.
		withWork := crowd
		withWork.work = shop.takes * 3 / 2
		within, _ := run("WithinDeadline", withWork, func(cfg *resource.Config[int]) { cfg.Admission = policy.WithinDeadline(shop.slots) })
		bound, _ := run("BoundedQueue", crowd, func(cfg *resource.Config[int]) { cfg.Admission = policy.BoundedQueue(shop.slots, 4*shop.slots) })
		s.curve(good)
		s.curve(wait)
		s.goal(best >= 0.95, "CoDel: goodput is %.3f of the capacity, at least 0.95", best)
		s.goal(r.p99() <= codelTarget, "CoDel: the 99th percentile of the waits is %v, at most %v", r.p99(), codelTarget)
		s.goal(within >= 0.95, "WithinDeadline: goodput is %.3f of the capacity, at least 0.95", within)
		s.goal(bound >= 0.95, "BoundedQueue: goodput is %.3f of the capacity, at least 0.95", bound)
		s.goal(fifo <= 0.5, "first come: goodput is %.3f of the capacity, at most 0.5, or the load is lower than intended", fifo)
		s.figures(percent(fifo)+" (first come)", percent(best)+", p99 wait "+short(r.p99())+" (`CoDel`)")
	},
}

// The load is four fifths of the capacity, except for one second of three times the capacity.
// A caller that got no answer in time tries again, up to five times. In order of arrival the
// retries keep the service overloaded after the burst has ended: it works for callers that
// have left.
var retries = Scene{
	Name:    "retry-storm",
	Promise: "a load of 0.8 with one second of 3, five retries: answered in time after the burst, as a share of the callers",
	Clients: 19_200,
	play: func(s *Stage) {
		const burstAt, burst = 2 * time.Second, time.Second
		shop := s.shop()
		shop.lasts, shop.start = 9*time.Second, 5*time.Second
		low, high := 0.8*shop.capacity(), 3*shop.capacity()
		if s.res.Clients == s.res.Scene.Clients { // the scene is long, and its clients repeat their calls
			low, high = low/2, high/2
			shop.slots /= 2
		}
		crowd := stream{
			rate: Rate{high, func(t time.Duration) float64 {
				if t >= burstAt && t < burstAt+burst {
					return high
				}
				return low
			}},
			patient: 100 * time.Millisecond, retries: 5, pause: 10 * time.Millisecond,
		}
		good := Curve{Name: "goodput", Title: "A burst from 2 s to 3 s, and retries: answered in time", X: "s", Y: "% of the capacity"}
		s.row("", "answered in time from 5 s on", "tries for each client", "recovered after the burst")
		run := func(name string, edit func(cfg *resource.Config[int])) (share float64, recovered time.Duration) {
			r := shop.play(s, name, edit, crowd)[0]
			clients := low * (shop.lasts - shop.start).Seconds()
			share = min(1, r.goods.sum(shop.start, shop.lasts)/clients)
			tries := r.tries.sum(shop.start, shop.lasts) / clients
			recovered = shop.lasts
			for at := shop.lasts - shop.every; at >= burstAt+burst; at -= shop.every {
				if r.goods.sum(at, at+shop.every) < 0.6*low*shop.every.Seconds() {
					break
				}
				recovered = at
			}
			after := recovered - burstAt - burst
			s.row(name, part(share), fmt.Sprintf("%.2f", tries), sinceUp(after, shop.lasts-burstAt-burst))
			good.Lines = append(good.Lines, r.goods.line(name, 100/(shop.capacity()*shop.every.Seconds()), shop.lasts))
			return share, after
		}
		fifo, _ := run("first come", plain)
		best, after := run("CoDel", codel)
		bound, bounded := run("BoundedQueue", func(cfg *resource.Config[int]) {
			cfg.Admission = policy.BoundedQueue(shop.slots, 4*shop.slots)
		})
		s.curve(good)
		s.goal(best >= 0.97, "CoDel: %.3f are answered in time after the burst, at least 0.97", best)
		s.goal(after <= time.Second, "CoDel: recovered %v after the burst, at most 1s", after)
		s.goal(bound >= 0.97, "BoundedQueue: %.3f are answered in time after the burst, at least 0.97", bound)
		s.goal(bounded <= time.Second, "BoundedQueue: recovered %v after the burst, at most 1s", bounded)
		s.goal(fifo <= 0.5, "first come: %.3f are answered in time, at most 0.5, or the load is lower than intended", fifo)
		when := "at once"
		if after > 0 {
			when = short(after)
		}
		s.figures(percent(fifo)+" (first come)", percent(best)+", "+when+" after the burst (`CoDel`)")
	},
}

// Two classes of callers exceed the capacity. The urgent ones alone do not: the others
// should not affect them, except that a resource is free slightly later, and get the rest.
// If even the urgent ones exceed the capacity, the others wait long, but not for ever: one
// level of priority is worth a second of waiting.

const level = time.Second

func (s service) urgent(load float64) stream {
	return stream{
		name: "urgent", rate: Steady(load * s.capacity()), patient: 200 * time.Millisecond,
		request: resource.Request{Priority: 1},
	}
}

func byPriority(cfg *resource.Config[int]) { cfg.Queue = policy.Priority(level) }

var priority = Scene{
	Name:    "priority",
	Promise: "urgent callers below the capacity, others at twice the capacity: urgent callers answered in time",
	Clients: 16_640,
	play: func(s *Stage) {
		shop := s.shop()
		// Excess callers are refused, so that the queue of the others is bounded.
		low := stream{name: "others", rate: Steady(2 * shop.capacity()), patient: 400 * time.Millisecond}
		s.row("", "", "came", "answered in time", "served", "p50 wait", "p99 wait")
		run := func(name string, edit func(cfg *resource.Config[int]), streams ...stream) []*seen {
			all := shop.play(s, name, edit, streams...)
			for i, r := range all {
				s.row(name, streams[i].name, r.came, part(r.share()), len(r.waits), quantile(r.waits, 0.5), r.p99())
			}
			return all
		}
		alone := run("alone", byPriority, shop.urgent(0.6))[0]
		mixed := run("with others", byPriority, shop.urgent(0.6), low)
		fifo := run("first come", plain, shop.urgent(0.6), low)

		high, rest := mixed[0], mixed[1]
		s.goal(high.share() >= alone.share()-0.001, "urgent: %.4f answered in time, alone %.4f", high.share(), alone.share())
		limit := alone.p99() + shop.takes/2
		s.goal(high.p99() <= limit, "urgent: the 99th percentile of the waits is %v, alone %v; at most %v", high.p99(), alone.p99(), limit)
		got, left := float64(len(rest.waits)), 0.4*shop.full()
		s.goal(got >= 0.9*left, "others: %.0f were served, at least 90 %% of the remaining capacity %.0f", got, left)
		s.goal(fifo[0].share() <= 0.5*alone.share(), "first come: %.4f of the urgent were answered, at most half, or the load is lower than intended", fifo[0].share())
		s.figures(percent(fifo[0].share())+" (first come)", percent(high.share())+", p99 wait "+short(high.p99())+" (`Priority`)")
	},
}

// The urgent ones alone exceed the capacity, for longer than a level is worth.
var ageing = Scene{
	Name:    "ageing",
	Promise: "urgent callers at one and a half times the capacity: the longest wait of the others",
	Clients: 19_456,
	play: func(s *Stage) {
		shop := s.shop()
		shop.lasts = 7 * time.Second
		low := stream{name: "others", rate: Steady(0.02 * shop.capacity()), patient: time.Minute}
		strict := func(cfg *resource.Config[int]) { cfg.Queue = policy.Priority(1000 * time.Hour) }
		s.row("", "came", "served", "p50 wait", "longest wait")
		run := func(name string, edit func(cfg *resource.Config[int])) *seen {
			r := shop.play(s, name, edit, shop.urgent(1.5), low)[1]
			s.row(name, r.came, len(r.waits), quantile(r.waits, 0.5), quantile(r.waits, 1))
			return r
		}
		aged, starved := run("a level is worth 1s", byPriority), run("a level is worth all", strict)
		// Urgent callers leave after 200 ms, so none has waited longer.
		limit := level + 200*time.Millisecond + 2*shop.takes
		longest := quantile(aged.waits, 1)
		s.goal(len(aged.waits) == aged.came && longest <= limit, "others: %d of %d were served, the last after %v; all, after %v at most",
			len(aged.waits), aged.came, longest, limit)
		least := quantile(starved.waits, 1)
		s.goal(least >= 4*time.Second, "strict: the others waited %v at most, at least 4s, or the load is lower than intended", least)
		s.figures(short(least)+", as long as the load lasted (strict priorities)", short(longest)+" (`Priority`, a level is worth 1 s)")
	},
}

// Four tenants have a tenth of the capacity each, and a fifth one floods the pool. The figure
// is Jain's index of what each gets of what is due to it: its demand, or an equal share of
// what the others leave if that is less. 1 is fair.
var tenants = Scene{
	Name:    "tenants",
	Promise: "one tenant floods the pool, four have a tenth of the capacity each: these four, answered in time",
	Clients: 21_760,
	play: func(s *Stage) {
		shop := s.shop()
		shop.slots = max(40, s.scaled(40))
		shop.takes = 25 * time.Millisecond
		const quiet = 4
		flood := Rate{3 * shop.capacity(), func(t time.Duration) float64 {
			if t < shop.start {
				return 0.1 * shop.capacity()
			}
			return 3 * shop.capacity()
		}}
		var streams []stream
		shares := make(map[string]int)
		for i := range quiet {
			name := fmt.Sprint("tenant ", i+1)
			streams = append(streams, stream{name: name, rate: Steady(0.1 * shop.capacity())})
			shares[name] = shop.slots * 8 / 40
		}
		streams = append(streams, stream{name: "flood", rate: flood})
		for i := range streams {
			streams[i].patient, streams[i].request = 200*time.Millisecond, resource.Request{Class: streams[i].name}
		}
		fair := Curve{Name: "fairness", Title: "One tenant floods the pool from 1 s on", X: "s", Y: "Jain's index"}
		served := Curve{Name: "quiet", Title: "One tenant floods the pool from 1 s on: the four others", X: "s", Y: "% answered in time"}
		s.row("", "four tenants answered in time", "flood, of the capacity", "goodput", "fairness")
		run := func(name string, edit func(cfg *resource.Config[int])) (share, index float64) {
			all := shop.play(s, name, edit, streams...)
			good, came := 0, 0
			var gets []float64
			for i, r := range all {
				due := float64(r.came)
				if i < quiet {
					good, came = good+r.good, came+r.came
				} else {
					due = (1 - 0.1*quiet) * shop.full()
				}
				gets = append(gets, min(1, float64(r.good)/due))
			}
			share, index = float64(good)/float64(came), jain(gets)
			flooded := all[quiet].good
			s.row(name, part(share), part(float64(flooded)/shop.full()), part(float64(good+flooded)/shop.full()), fmt.Sprintf("%.2f", index))
			line, quietLine := Line{Name: name}, Line{Name: name}
			for at := time.Duration(0); at < shop.lasts; at += shop.every {
				var now []float64
				sum := 0.0
				for i, r := range all {
					due := 0.1 * shop.capacity() * shop.every.Seconds()
					if i < quiet {
						sum += r.goods.sum(at, at+shop.every) / due / quiet
					} else if at >= shop.start {
						due *= 10 * (1 - 0.1*quiet)
					}
					now = append(now, min(1, r.goods.sum(at, at+shop.every)/due))
				}
				x := (at + shop.every/2).Seconds()
				line.X, line.Y = append(line.X, x), append(line.Y, jain(now))
				quietLine.X, quietLine.Y = append(quietLine.X, x), append(quietLine.Y, 100*sum)
			}
			fair.Lines, served.Lines = append(fair.Lines, line), append(served.Lines, quietLine)
			return share, index
		}
		before, unfair := run("BoundedQueue", func(cfg *resource.Config[int]) {
			cfg.Admission = policy.BoundedQueue(shop.slots, 2*shop.slots)
		})
		share, index := run("Shares", func(cfg *resource.Config[int]) { cfg.Admission = policy.Shares(shop.slots, shares) })
		s.curve(fair)
		s.curve(served)
		s.goal(share >= 0.95, "Shares: %.3f of the four tenants are answered in time, at least 0.95", share)
		s.goal(index > unfair, "Shares: the index of fairness is %.3f, with a BoundedQueue %.3f", index, unfair)
		s.goal(before <= 0.5, "BoundedQueue: %.3f of the four tenants are answered in time, at most 0.5, or the load is lower than intended", before)
		s.figures(percent(before)+" (`BoundedQueue`)", percent(share)+" (`Shares`)")
	},
}
