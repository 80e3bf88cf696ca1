// The overview: all pools.

import { attribute, keyed, make, say } from "./dom.js";
import { count, duration, rate, share } from "./format.js";
import { quantile } from "./history.js";
import { Spark } from "./chart.js";
import { failing, showChips, showWhys, whys } from "./flags.js";

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

const calmAfter = 30; // seconds

function row(link) {
  const cell = (label, css, ...children) => make("td", { role: "cell", class: css, "data-label": label }, ...children);
  const name = make("a");
  const reasons = whys();
  const calm = make("p", { class: "soft" }, "Nothing now.");
  const about = make("summary", {}, "Why");
  const parts = {
    name, reasons, calm, about, why: make("details", { class: "why", hidden: true }, about, reasons, calm),
    flags: make("span", { class: "flags" }), cause: make("span", { class: "said-cause" }), bar: bar(), said: make("span", { class: "said" }),
    rate: make("span", { class: "figure" }), spark: new Spark((p) => p.rates?.acquired),
    failing: cell("Failed", "n"), p50: cell("Wait p50", "n"), p99: cell("Wait p99", "n"), waiting: make("span", { class: "figure" }), oldest: make("span", { class: "soft" }),
  };
  const e = make("tr", { role: "row" },
    make("th", { role: "rowheader", scope: "row" }, name, parts.flags, parts.cause, parts.why),
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
    showChips(p.flags, s.flags ?? [], { whole: true });
    p.cause.hidden = !s.last_make_error;
    say(p.cause, s.last_make_error ?? "");
    attribute(p.cause, "title", s.last_make_error);
    const red = [...(s.flags ?? []), ...failing(history)];
    if (red.length > 0) e.red = now;
    // It stays for a while, so that a row does not change its height each second.
    p.why.hidden = !(now - e.red < calmAfter);
    p.calm.hidden = red.length > 0;
    attribute(p.about, "aria-label", `Why ${s.name} has a flag or a figure in red`);
    showWhys(p.reasons, red, true);
    p.bar.show(s);
    say(p.said, `${count(s.leased)} of ${count(s.max)} leased, ${count(s.idle)} idle` +
      (s.making ? `, ${count(s.making)} being created` : "") + (s.destroying ? `, ${count(s.destroying)} being destroyed` : ""));
    say(p.rate, rate(history.rate("acquired")));
    p.spark.show(history, now);
    const failed = history.rate("unserved");
    say(p.failing, failed ? `${rate(failed)} /s` : s.counts.unserved ? count(s.counts.unserved) : "0");
    p.failing.classList.toggle("alert", failed > 0);
    attribute(p.failing, "title", failed || !s.counts.unserved ? null : "none now; this is since the start");
    p.failing.classList.toggle("old", !failed && s.counts.unserved > 0);
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
