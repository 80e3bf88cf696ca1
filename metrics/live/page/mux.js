// One multiplexer: connections that are shared among many calls.

import { make, say } from "./dom.js";
import { count, duration, rate } from "./format.js";
import { Minute } from "./history.js";
import { Bars } from "./chart.js";
import { showChips, showWhys, whys } from "./flags.js";
import { pairs, rows, scroller, table } from "./parts.js";

// parts of the calls that the connections of a multiplexer have room for.
const parts = [["leased", "in flight"], ["destroying", "orphans"], ["idle", "room"]];

const recently = 10; // seconds of which a rate is the mean

export function newMux(m) {
  const bars = parts.map(([css]) => make("i", { class: css }));
  const legend = parts.map(([css, label]) => {
    const value = make("b");
    return [value, make("li", {}, make("i", { class: `key ${css}` }), value, ` ${label}`)];
  });
  const flags = make("span", { class: "flags" });
  const reasons = whys();
  const figures = make("dl", { class: "figures" });
  const took = new Bars("Durations of calls", "leased");
  const conns = table(`Connections of ${m.name}`, ["Id|n", "State", "In flight|n", "Orphans|n", "Streams|n", "Bytes waiting|n", "Calls|n", "Calls per write|n", "Late|n", "Unknown|n", "Bad|n"]);
  const note = make("span", { class: "note" });
  const e = make("div", { class: "mux" },
    make("div", { class: "card quota" },
      make("h3", {}, make("bdi", {}, m.name), flags), reasons,
      make("span", { class: "levels", "aria-hidden": "true" }, ...bars),
      make("ul", { class: "legend" }, ...legend.map((l) => l[1])), figures),
    took.figure,
    make("div", { class: "conns" }, make("h3", {}, "Connections", note), scroller(`Connections of ${m.name}`, conns)));
  return Object.assign(e, { bars, values: legend.map((l) => l[0]), flags, reasons, figures, took, conns, note, minute: new Minute(), points: [] });
}

// sample adds the counters of m to points of the last minute. Counters that are smaller than before are
// those of another process.
function sample(e, m, t, life) {
  const last = e.points.at(-1);
  if (last && last.t === t && last.life === life) return;
  if (last && (last.life !== life || last.t > t || m.calls < last.calls || m.writes < last.writes)) e.points = [];
  e.points.push({ t, life, calls: m.calls, writes: m.writes, messages: m.messages, lost: m.may_have_run });
  while (e.points.length > 1 && e.points[1].t <= t - 60) e.points.shift();
  e.minute.add(t, life, { took: m.took });
}

// perWrite returns how many messages one write carried, since the point before; null: nothing was
// written.
const perWrite = (now, before) => (now.writes > before.writes ? (now.messages - before.messages) / (now.writes - before.writes) : null);

// lostFate is the flag of a multiplexer of which calls have failed in the last minute that may
// have run.
function lostFate(e, m) {
  const n = m.may_have_run - (e.points[0]?.lost ?? m.may_have_run);
  if (!(n > 0)) return [];
  return [{
    of: "mux", name: m.name, kind: "fate", level: "warn", text: `fate of ${count(n)} call${n > 1 ? "s" : ""} unknown`, doc: "failures.md#shared-connections-and-endpoints",
    why: `In the last minute ${count(n)} call${n > 1 ? "s" : ""} failed after they were sent, so the server may have run them: the connection ended, or the caller gave up (${count(m.may_have_run)} in all).`,
  }];
}

const none = { writes: 0, messages: 0 };

export function showMux(e, m, flags, t, life, minute) {
  sample(e, m, t, life);
  const all = [...flags, ...lostFate(e, m)];
  showChips(e.flags, all);
  showWhys(e.reasons, all);
  const room = Math.max(0, (m.held - m.draining) * m.limit - m.in_flight);
  const n = [m.in_flight, m.orphans, room];
  const sum = Math.max(1, n[0] + n[1] + n[2]);
  n.forEach((v, i) => {
    e.bars[i].hidden = v === 0;
    e.bars[i].style.width = `${(100 * v) / sum}%`;
    say(e.values[i], count(v));
  });
  const now = e.points.at(-1);
  const before = e.points.findLast((p) => p.t <= t - recently) ?? e.points[0];
  const calls = now.t > before.t ? (now.calls - before.calls) / (now.t - before.t) : null;
  const density = (minute && e.points.length > 1 ? perWrite(now, e.points[0]) : null) ?? perWrite(m, none);
  pairs(e.figures, [
    ["calls a second", rate(calls)], ["answered", count(m.calls)], ["not sent", count(m.not_sent)], ["may have run", count(m.may_have_run)],
    ["calls per write", rate(density)], ["connections", m.draining ? `${count(m.held)}, ${count(m.draining)} draining` : count(m.held)],
    ["on the busiest", `${count(m.busiest)} of ${count(m.limit)}`],
    ["waiting for room", m.waiting ? `${count(m.waiting)}, oldest ${duration(m.oldest_wait_seconds)}` : "0"],
    ["bytes waiting", count(m.queued_bytes)], ["streams", count(m.streams)],
    ["given up", count(m.orphaned)], ["late replies", count(m.late)], ["unknown replies", count(m.unknown)], ["bad messages", count(m.bad)],
    ["unwanted messages", count(m.unwanted)], ["events dropped", count(m.events_dropped)], ["stream messages dropped", count(m.stream_dropped)],
    ["sent elsewhere", count(m.retried)], ["replayed", count(m.replayed)],
    ["resumes", m.resumes > m.gaps ? `${count(m.gaps)} of ${count(m.resumes)} tries` : count(m.resumes)], ["gaps", count(m.gaps)],
    ["connections acquired", count(m.acquired)], ["panics", count(m.panics)],
  ]);
  const recent = minute ? e.minute.of("took") : null;
  const old = minute && (!recent || recent.count === 0);
  e.took.show(old || !recent ? m.took : recent);
  e.took.figure.classList.toggle("old", old && m.took.count > 0);
  const conns = m.conns ?? [];
  say(e.note, conns.length < m.held ? `${count(conns.length)} of ${count(m.held)}` : count(m.held));
  rows(e.conns, conns, (c) => c.id, (c) => [c.id, state(c), count(c.in_flight), count(c.orphans), count(c.streams), count(c.queued_bytes),
    count(c.calls), rate(perWrite(c, none)), count(c.late), count(c.unknown), count(c.bad)]);
}

const state = (c) => [c.draining ? (c.cause ? `draining: ${c.cause}` : "draining") : "open", c.dedicated && "dedicated"].filter(Boolean).join(", ");
