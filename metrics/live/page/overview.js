// The overview: all pools.

import { attribute, keyed, make, say } from "./dom.js";
import { count, duration, long, rate, share } from "./format.js";
import { quantile } from "./history.js";
import { Spark } from "./chart.js";

export const levels = [
  ["leased", "leased"], ["idle", "idle"], ["making", "being created"], ["destroying", "being destroyed"],
];

// bar draws the levels; the text beside it says the same.
export function bar() {
  const parts = levels.map(([css]) => make("i", { class: css }));
  const e = make("span", { class: "levels", "aria-hidden": "true" }, ...parts);
  e.show = (s) => {
    const all = Math.max(s.max, s.leased + s.idle + s.making + s.destroying, 1);
    levels.forEach(([k], i) => {
      parts[i].hidden = s[k] === 0; // an empty part would leave a gap
      parts[i].style.width = `${(100 * s[k]) / all}%`;
    });
  };
  return e;
}

// quotaFlags returns what is wrong with a quota that is shared with other processes.
export function quotaFlags(q) {
  const all = [];
  const flag = (kind, css, text) => all.push({ kind, css, text });
  if (q.lost_seconds != null) flag("lost", "bad", `engine lost for ${long(q.lost_seconds)}`);
  if (q.over > 0) flag("over", "bad", `${count(q.over)} beyond the grant`);
  if (q.total > q.limit) flag("exceeded", "bad", `${count(q.total)} of ${count(q.limit)} granted`);
  if (q.learning) flag("learning", "warn", "engine learning");
  if (q.highest > q.limit) flag("disagree", "warn", "limits disagree");
  return all;
}

// muxFlags returns what is wrong with a multiplexer, which shares connections among calls.
export function muxFlags(m) {
  const all = [];
  const flag = (kind, css, text) => all.push({ kind, css, text });
  if (m.unknown > 0) flag("unknown", "bad", `${many(m.unknown, "unknown reply", "unknown replies")}`);
  if (m.waiting > 0) flag("waiting", "warn", `${many(m.waiting, "caller")} without room for ${duration(m.oldest_wait_seconds)}`);
  if (m.orphans > 0.5 * m.max_orphans * Math.max(1, m.held)) flag("orphans", "warn", many(m.orphans, "orphan"));
  if (m.stream_dropped > 0) flag("dropped", "warn", `${many(m.stream_dropped, "stream message")} dropped`);
  if (m.panics > 0) flag("panics", "warn", many(m.panics, "panic"));
  return all;
}

// endpointFlags returns what is wrong with the endpoints over which a pool is spread.
export function endpointFlags(e) {
  const all = [];
  const flag = (kind, css, text) => all.push({ kind: `endpoints ${kind}`, css, text });
  if (e.panic) flag("panic", "bad", "too few endpoints healthy");
  if (e.resolver_error) flag("resolver", "bad", "resolver failing");
  if (e.ejected > 0) flag("ejected", "warn", `${count(e.ejected)} of ${many(e.matched, "endpoint")} ejected`);
  return all;
}

const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

// flags returns what is wrong with a pool, in words.
function flags(s) {
  const all = [];
  const flag = (kind, css, text) => all.push({ kind, css, text });
  if (s.problem) flag("problem", "bad", s.problem);
  if (s.outage_seconds != null) flag("outage", "bad", s.outage_seconds ? `outage for ${long(s.outage_seconds)}` : "outage");
  if (s.overdue > 0) flag("overdue", "bad", `${count(s.overdue)} overdue`);
  if (s.max > 0 && s.leased >= s.max && s.waiting > 0) flag("full", "warn", "all leased");
  if (s.abandoned > 0) flag("abandoned", "warn", `${count(s.abandoned)} creation${s.abandoned > 1 ? "s" : ""} abandoned`);
  if (s.counts.panics > 0) flag("panics", "warn", `${count(s.counts.panics)} panic${s.counts.panics > 1 ? "s" : ""}`);
  for (const q of s.quotas ?? []) {
    for (const f of quotaFlags(q)) flag(`${q.name} ${q.holder} ${f.kind}`, f.css, `${q.name}: ${f.text}`);
  }
  if (s.endpoints) all.push(...endpointFlags(s.endpoints));
  for (const m of s.multiplexers ?? []) {
    for (const f of muxFlags(m)) flag(`mux ${m.name} ${f.kind}`, f.css, `${m.name}: ${f.text}`);
  }
  return all;
}

export const showFlags = (e, s) => showAll(e, flags(s));

export function showAll(e, all) {
  keyed(e, all, (f) => f.kind, () => make("span"), (f, { css, text }) => {
    attribute(f, "class", `flag ${css}`);
    say(f, text);
  });
}

// showWait shows a quantile of the last minute; if no acquire got a resource in it,
// one since the start, marked as such.
export function showWait(e, history, s, q, minute) {
  const recent = minute ? history.waits.of("wait") : null;
  const none = !recent || recent.count === 0;
  const h = none ? s.wait : recent;
  say(e, h && h.count ? duration(none ? h[`p${q * 100}_seconds`] : quantile(h, q)) : "–");
  e.classList.toggle("old", minute && none);
  attribute(e, "title", minute && none ? "none in the last minute; this is since the start" : null);
}

function row(link) {
  const cell = (label, css, ...children) => make("td", { role: "cell", class: css, "data-label": label }, ...children);
  const name = make("a");
  const parts = {
    name, flags: make("span", { class: "flags" }), why: make("span", { class: "why" }), bar: bar(), said: make("span", { class: "said" }),
    rate: make("span", { class: "figure" }), spark: new Spark((p) => p.rates?.acquired),
    failing: cell("Failed", "n"), p50: cell("Wait p50", "n"), p99: cell("Wait p99", "n"), waiting: make("span", { class: "figure" }), oldest: make("span", { class: "soft" }),
  };
  const e = make("tr", { role: "row" },
    make("th", { role: "rowheader", scope: "row" }, name, parts.flags, parts.why),
    cell("Resources", "wide", parts.bar, parts.said),
    cell("Acquires", "n rate", parts.spark.svg, make("span", {}, parts.rate, make("span", { class: "soft" }, " /s"))),
    parts.failing, parts.p50, parts.p99, cell("Waiting", "n", parts.waiting, parts.oldest));
  name.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    link.go(e.name);
  });
  return Object.assign(e, { parts });
}

export function showOverview(root, overview, histories, minute, link) {
  const now = Date.parse(overview.time) / 1000;
  const pools = overview.pools;
  keyed(root.querySelector("tbody"), pools, (s) => s.name, () => row(link), (e, s) => {
    const p = e.parts;
    const history = histories.get(s.name);
    e.name = s.name;
    say(p.name, s.name);
    attribute(p.name, "href", link.to(s.name));
    showFlags(p.flags, s);
    p.why.hidden = !s.last_make_error;
    say(p.why, s.last_make_error ?? "");
    attribute(p.why, "title", s.last_make_error);
    p.bar.show(s);
    say(p.said, `${count(s.leased)} of ${count(s.max)} leased, ${count(s.idle)} idle` +
      (s.making ? `, ${count(s.making)} being created` : "") + (s.destroying ? `, ${count(s.destroying)} being destroyed` : ""));
    say(p.rate, rate(history.rate("acquired")));
    p.spark.show(history, now);
    const failing = history.rate("unserved");
    say(p.failing, failing ? `${rate(failing)} /s` : s.counts.unserved ? count(s.counts.unserved) : "0");
    p.failing.classList.toggle("alert", failing > 0);
    attribute(p.failing, "title", failing || !s.counts.unserved ? null : "none now; this is since the start");
    p.failing.classList.toggle("old", !failing && s.counts.unserved > 0);
    showWait(p.p50, history, s, 0.5, minute);
    showWait(p.p99, history, s, 0.99, minute);
    say(p.waiting, count(s.waiting));
    say(p.oldest, s.waiting ? ` for ${duration(s.oldest_wait_seconds)}` : "");
    e.classList.toggle("queue", s.waiting > 0);
  });
  const sum = (k) => pools.reduce((n, s) => n + s[k], 0);
  const overdue = pools.reduce((n, s) => n + (s.overdue ?? 0), 0);
  const out = pools.filter((s) => s.outage_seconds != null).length;
  say(root.querySelector("#total"), pools.length === 0 ? "" :
    `${count(pools.length)}${overview.more ? ` of ${count(pools.length + overview.more)}` : ""} pool${pools.length === 1 ? "" : "s"}, ` +
    `${count(sum("leased"))} of ${count(sum("max"))} leased (${share(sum("leased"), sum("max"))}), ${count(sum("waiting"))} waiting` +
    (out ? `, ${count(out)} with an outage` : "") + (overdue ? `, ${count(overdue)} overdue` : ""));
}
