// One pool.

import { attribute, keyed, make, say } from "./dom.js";
import { clock, count, duration, long, fileLine, rate, short } from "./format.js";
import { Minute, pick } from "./history.js";
import { Bars, Chart } from "./chart.js";
import { bar, levels, showWait } from "./overview.js";
import { Advice } from "./advice.js";
import { Endpoints } from "./endpoints.js";
import { docs, failing, flagsOf, showChips, showWhys, whys } from "./flags.js";
import { newMux, showMux } from "./mux.js";
import { Settings } from "./settings.js";
import { pairs, rows, scroller, section, table } from "./parts.js";

const latencies = [
  ["wait", "Wait", "leased", "at once"], ["hold", "Lease", "leased"],
  ["make", "Creation", "making"], ["check", "Health check", "idle"], ["destroy", "Destroy", "destroying"],
];

// reasons groups the reasons for which an acquire fails, for the chart. An acquire
// that did not want to wait and found none idle is not in it.
const reasons = [
  ["gave up", "idle", ["canceled", "max_wait"]], ["refused", "alert", ["admission", "queue"]],
  ["creation refused", "making", ["make_gate", "quota"]], ["outage", "leased", ["outage"]],
  ["other", "destroying", ["make_failed", "near_end", "closed"]],
];

const counterNames = [
  ["acquired", "leases begun"], ["released", "leases ended"], ["waited", "acquires that waited"], ["wait_seconds", "time waited"],
  ["unserved", "acquires failed"], ["canceled", "canceled by the caller"], ["rejected", "refused by a policy"], ["made", "created"], ["make_seconds", "time creating"],
  ["failed", "creations failed"], ["refused", "creations refused"], ["destroyed", "destroyed"], ["hijacked", "hijacked"],
  ["evicted", "evicted"], ["unhealthy", "found unhealthy"], ["invalidated", "invalidated"], ["panics", "panics contained"],
];

// One shows one pool in root. choice is what the user has chosen for the list of
// resources; ask is called when that has changed.
export class One {
  constructor(root, name, choice, ask) {
    Object.assign(this, { root, name, choice, ask, minute: new Minute() });
    this.e = {};
    root.replaceChildren(this.head(), this.charts(), this.latencies(), this.spread(), this.shared(), this.quotas(), this.callers(), this.population(), this.sizes(), this.rest(), this.configured());
  }

  head() {
    const e = this.e;
    e.flags = make("span", { class: "flags" });
    e.reasons = whys();
    e.cause = make("p", { class: "cause", hidden: true });
    e.bar = bar();
    e.legend = levels.map(([css, label]) => {
      const value = make("b");
      return [css, value, make("li", {}, make("i", { class: `key ${css}` }), value, ` ${label}`)];
    });
    e.max = make("b");
    const tile = (key, label) => {
      e[key] = make("dd");
      e[`${key}Note`] = make("dd", { class: "soft" });
      return make("div", {}, make("dt", {}, label), e[key], e[`${key}Note`]);
    };
    // A figure that can be red says why, in a place that is kept, so that nothing moves when it
    // comes and goes.
    const red = (key, label) => {
      const div = tile(key, label);
      e[`${key}Why`] = whys();
      e[`${key}Red`] = make("dd", { class: "soft red calm" }, make("details", { class: "why" }, make("summary", { "aria-label": `Why ${label} is red` }, "Why"), e[`${key}Why`]));
      div.append(e[`${key}Red`]);
      return div;
    };
    return make("div", { class: "head" },
      make("h1", {}, make("bdi", {}, this.name), e.flags), e.reasons, e.cause, e.bar,
      make("ul", { class: "legend" }, ...e.legend.map((l) => l[2]), make("li", {}, "of ", e.max)),
      make("dl", { class: "tiles" },
        tile("rate", "Acquires"), red("unserved", "Acquires failed"), tile("p50", "Wait p50"), tile("p99", "Wait p99"), red("waiting", "Waiting callers"), tile("made", "Created"), red("failed", "Creations failed")));
  }

  charts() {
    const s = (k) => (p) => p.s[k];
    const r = (k) => (p) => p.rates?.[k];
    this.moving = [
      new Chart({ title: "Resources", stacked: true, series: [
        { label: "leased", css: "leased", area: true, of: s("leased") }, { label: "idle", css: "idle", area: true, of: s("idle") },
        { label: "creating", css: "making", area: true, of: s("making") }, { label: "destroying", css: "destroying", area: true, of: s("destroying") },
        { label: "max", css: "max", dashed: true, of: s("max") }] }),
      new Chart({ title: "Acquires a second", format: rate, series: [
        { label: "acquires", css: "leased", of: r("acquired") }, { label: "waited", css: "making", of: r("waited") },
        { label: "failed", css: "alert", of: r("unserved") }] }),
      new Chart({ title: "Failed acquires a second, by reason", format: rate, stacked: true, series: reasons.map(([label, css, keys]) =>
        ({ label, css, area: true, of: (p) => p.failed && keys.reduce((sum, k) => sum + (p.failed[k] ?? 0), 0) })) }),
      new Chart({ title: "Wait", format: duration, least: 1e-6, series: [
        { label: "p50", css: "idle", of: (p) => p.p50 }, { label: "p99", css: "leased", of: (p) => p.p99 },
        { label: "oldest now", css: "alert", dashed: true, of: s("oldest_wait_seconds") }] }),
      new Chart({ title: "Waiting callers", series: [{ label: "waiting", css: "alert", area: true, of: s("waiting") }] }),
      new Chart({ title: "Resources a second", format: rate, series: [
        { label: "created", css: "making", of: r("made") }, { label: "destroyed", css: "destroying", of: r("destroyed") },
        { label: "creation failed", css: "alert", of: r("failed") }] }),
    ];
    this.e.nowNote = make("span", { class: "note" });
    return section(["History", this.e.nowNote], "charts", make("div", { class: "grid three" }, ...this.moving.map((c) => c.figure)));
  }

  latencies() {
    this.bars = latencies.map(([key, title, css, ready]) => [key, new Bars(title, css, ready)]);
    this.e.bars = make("div", { class: "grid three" }, ...this.bars.map(([, b]) => b.figure));
    return section("Latencies", "latencies", this.e.bars);
  }

  spread() {
    this.endpoints = new Endpoints();
    return this.endpoints.section;
  }

  // shared has a card for each multiplexer.
  shared() {
    const e = this.e;
    e.shared = make("div", { class: "muxes" });
    e.sharedNote = make("span", { class: "note" });
    const s = (k) => (p) => p.s.layers && p.s.layers.multiplexers > 0 ? p.s.layers[k] : null;
    const r = (k) => (p) => p.layered && p.s.layers.multiplexers > 0 ? p.layered[k] : null;
    this.sharing = [
      new Chart({ title: "Calls in flight", stacked: true, series: [
        { label: "in flight", css: "leased", area: true, of: s("in_flight") }, { label: "orphans", css: "destroying", area: true, of: s("orphans") },
        { label: "waiting for room", css: "alert", of: s("waiting") }] }),
      new Chart({ title: "Calls a second", format: rate, series: [
        { label: "answered", css: "leased", of: r("answered") }, { label: "not sent", css: "making", of: r("not_sent") },
        { label: "may have run", css: "alert", of: r("may_have_run") }] }),
    ];
    e.sharedSection = section(["Shared connections", e.sharedNote], "shared", e.shared, make("div", { class: "grid two moving" }, ...this.sharing.map((c) => c.figure)));
    return e.sharedSection;
  }

  quotas() {
    const e = this.e;
    e.quotas = make("div", { class: "grid two" });
    e.quotasNote = make("span", { class: "note" });
    e.quotasSection = section(["Shared quotas", e.quotasNote], "quotas", e.quotas);
    return e.quotasSection;
  }

  callers() {
    const e = this.e;
    e.heldNote = make("span", { class: "note" });
    e.sites = make("div", { class: "card scroll sites", tabindex: 0, role: "region", "aria-label": "Leases, can be scrolled" });
    e.waitersNote = make("span", { class: "note" });
    e.waiters = table("Waiting callers", ["Waited|n", "Class", "Priority|n", "Cost|n"]);
    return make("div", { class: "grid wide-left even" },
      section(["Leases", e.heldNote], "held", e.sites),
      section(["Waiting callers", e.waitersNote], "waiting", scroller("Waiting callers", e.waiters)));
  }

  population() {
    const e = this.e;
    e.resourcesNote = make("span", { class: "note" });
    e.resources = table("Resources", ["Id|n", "State", "Lease|n", "Held|n", "Idle|n", "Age|n", "Leases|n", "Held by", "Detail"]);
    const select = (key, label, values) => {
      const s = make("select", {}, ...values.map(([value, text]) => make("option", { value }, text)));
      s.value = this.choice[key];
      s.addEventListener("change", () => { this.choice[key] = s.value; this.ask(); });
      return make("label", {}, make("span", {}, label), s);
    };
    const find = make("input", { type: "search", id: "findresource", placeholder: "id or detail", maxlength: 80, autocomplete: "off", spellcheck: "false" });
    find.value = this.choice.find;
    let wait;
    find.addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(() => { this.choice.find = find.value; this.ask(); }, 250);
    });
    return section(["Resources", e.resourcesNote], "resources",
      make("div", { class: "tools" },
        select("state", "State", [["", "any"], ["idle", "idle"], ["leased", "leased"], ["checking", "checking"], ["invalidated", "invalidated"]]),
        select("sort", "First", [["id", "oldest id"], ["held", "longest held"], ["idle", "longest idle"], ["age", "oldest"], ["leases", "most leases"]]),
        make("label", { class: "search" }, make("span", {}, "Find"), find)),
      scroller("Resources", e.resources));
  }

  sizes() {
    this.advice = new Advice(this.name);
    return this.advice.section;
  }

  configured() {
    this.settings = new Settings();
    return this.settings.section;
  }

  rest() {
    const e = this.e;
    e.policies = table("Policies", ["Where", "Policy", "State"]);
    e.facts = make("dl", { class: "counters" });
    e.counters = make("dl", { class: "counters" });
    e.destroyed = make("ul", { class: "causes" });
    e.refused = make("ul", { class: "causes" });
    e.failedBy = make("ul", { class: "causes" });
    e.events = make("ol", { class: "events" });
    e.eventsNote = make("span", { class: "note" });
    e.factsSection = section("Specific to this kind of pool", "facts", e.facts);
    return make("div", { class: "grid two even" },
      section("Policies", "policies", scroller("Policies", e.policies)),
      section(["Last events", e.eventsNote], "events", e.events),
      section("Counters since start", "counters", e.counters),
      make("div", {}, section("Acquires failed by reason", "failedby", e.failedBy), section("Destroyed by cause", "destroyed", e.destroyed), section("Refused by policy", "refused", e.refused), e.factsSection));
  }

  // show draws an update. With minute, latencies are those of the last minute.
  show(d, history, life, minute) {
    const t = Date.parse(d.time) / 1000;
    if (t !== this.t) this.minute.add(t, life, pick(d, latencies.map(([key]) => key)));
    Object.assign(this, { t, d });
    const e = this.e;
    showChips(e.flags, d.flags ?? [], { whole: true, jump: true });
    // A state that can change each second shows its reason at the figure: that moves no other element.
    showWhys(e.reasons, flagsOf(d).filter((f) => f.level !== "note" && f.kind !== "full"));
    e.cause.hidden = !d.last_make_error || d.outage_seconds != null; // then the reason has it
    say(e.cause, d.last_make_error ? `The last creation failed: ${d.last_make_error}` : "");
    e.bar.show(d);
    for (const [k, value] of e.legend) say(value, count(d[k]));
    say(e.max, count(d.max));
    this.tiles(d, history, minute);
    say(e.nowNote, history.since(t, long));
    for (const c of this.moving) c.show(history, t);
    for (const [key, b] of this.bars) {
      const recent = minute ? (key === "wait" ? history.waits : this.minute).of(key) : null;
      const old = minute && (!recent || recent.count === 0);
      b.show(!recent || recent.count === 0 ? d[key] : recent);
      b.figure.classList.toggle("old", old && d[key].count > 0);
      attribute(b.figure, "title", old && d[key].count > 0 ? "none in the last minute; these are since the start" : null);
      b.figure.hidden = (key === "check" || key === "destroy") && d[key].count === 0;
    }
    e.bars.classList.toggle("four", this.bars.filter(([, b]) => !b.figure.hidden).length === 4);
    this.endpoints.show(d.endpoints, flagsOf(d, "endpoints"), history, t);
    this.showShared(d.multiplexers ?? [], history, life, minute);
    this.showQuotas(d.quotas ?? []);
    this.showHeld(d.held, d.leased);
    this.showWaiters(d.waiters, d.waiting);
    this.showResources(d.resources, d.held, d.multiplexers ?? []);
    this.showRest(d);
    this.settings.show(d.settings ?? [], d.multiplexers ?? []);
    this.advice.look();
  }

  tiles(d, history, minute) {
    const e = this.e;
    say(e.rate, `${rate(history.rate("acquired"))} /s`);
    say(e.rateNote, `${count(d.counts.acquired)} in all`);
    showWait(e.p50, history, d, 0.5, minute);
    showWait(e.p99, history, d, 0.99, minute);
    const [rates, failingFlags] = [history.rate("unserved"), failing(history)];
    say(e.unserved, rates ? `${rate(rates)} /s` : "none now");
    say(e.unservedNote, `${count(d.counts.unserved)} in all`);
    this.red("unserved", failingFlags);
    for (const q of ["p50", "p99"]) say(e[`${q}Note`], minute && !e[q].classList.contains("old") ? "last minute" : "since start");
    say(e.waiting, count(d.waiting));
    say(e.waitingNote, d.waiting ? `oldest ${duration(d.oldest_wait_seconds)}` : `${count(d.counts.waited)} waited`);
    this.red("waiting", flagsOf(d).filter((f) => f.kind === "full" || f.kind === "waiting"));
    say(e.made, count(d.counts.made));
    say(e.madeNote, `${count(d.counts.destroyed)} destroyed`);
    say(e.failed, count(d.counts.failed));
    say(e.failedNote, d.outages ? `${count(d.outages)} outage${d.outages > 1 ? "s" : ""}` : "no outage");
    this.red("failed", flagsOf(d).filter((f) => f.kind === "outage"));
  }

  // red shows a figure in red if there are flags, with the reasons.
  red(key, flags) {
    const e = this.e;
    e[key].parentElement.classList.toggle("alert", flags.length > 0);
    e[`${key}Red`].classList.toggle("calm", flags.length === 0);
    if (flags.length > 0) showWhys(e[`${key}Why`], flags);
    else e[`${key}Red`].firstChild.open = false;
  }

  showShared(all, history, life, minute) {
    this.e.sharedSection.hidden = all.length === 0;
    say(this.e.sharedNote, "many calls on each");
    keyed(this.e.shared, all, (m) => m.name, newMux, (e, m) => showMux(e, m, flagsOf(this.d, "mux", m.name), this.t, life, minute));
    if (all.length > 0) for (const c of this.sharing) c.show(history, this.t);
  }

  showQuotas(all) {
    this.e.quotasSection.hidden = all.length === 0;
    say(this.e.quotasNote, "with other processes");
    keyed(this.e.quotas, all, (q) => `${q.name} ${q.holder}`, newQuota, (e, q) => showQuota(e, q, flagsOf(this.d, "quota", q.name, q.holder)));
  }

  // showHeld groups leases by the stack of their acquire: a leak is one stack with
  // many old leases.
  showHeld(held, leased) {
    say(this.e.heldNote, held.matched < leased ? `${count(held.matched)} of ${count(leased)} leases are sampled` : `${count(held.matched)}`);
    const groups = new Map();
    for (const l of held.rows) {
      const stack = held.stacks[l.stack] ?? [];
      const key = JSON.stringify(stack);
      if (!groups.has(key)) groups.set(key, { key, stack, leases: [] });
      groups.get(key).leases.push(l);
    }
    const all = [...groups.values()];
    for (const g of all) {
      g.leases.sort((a, b) => b.for_seconds - a.for_seconds);
      g.overdue = g.leases.some((l) => l.overdue);
    }
    all.sort((a, b) => b.leases[0].for_seconds - a.leases[0].for_seconds);
    keyed(this.e.sites, all, (g) => g.key, newSite, showSite);
    this.e.sites.classList.toggle("none", all.length === 0);
  }

  showWaiters(waiters, waiting) {
    say(this.e.waitersNote, waiters.matched > waiters.rows.length ? `the first ${count(waiters.rows.length)} of ${count(waiting)}` : count(waiting));
    rows(this.e.waiters, waiters.rows.map((w, i) => ({ ...w, i })), (w) => w.i,
      (w) => [duration(w.waited_seconds), w.class ?? "", w.priority ?? 0, w.cost ?? 1]);
  }

  // showResources lists resources. Where the lease was sampled it shows the class of
  // the request and the function that acquired it, and where it is shared, which calls are on it.
  showResources(r, held, multiplexers) {
    const holders = new Map(held.rows.map((l) => [l.id, l]));
    const sharers = new Map(multiplexers.flatMap((m) => (m.conns ?? []).map((c) => [c.id, `${m.name}: ${count(c.in_flight)} in flight`])));
    const holder = (i) => {
      if (i.shared && sharers.has(i.id)) return sharers.get(i.id);
      const l = i.state === "leased" ? holders.get(i.id) : null;
      const at = l && own(held.stacks[l.stack] ?? []);
      return l ? [l.class, at && short(at.func)].filter(Boolean).join(": ") : "";
    };
    const state = (i) => [i.state, i.shared && "shared", i.invalidated && "invalidated", i.state === "leased" && holders.get(i.id)?.overdue && "overdue"].filter(Boolean).join(", ");
    const shown = r.rows.length;
    say(this.e.resourcesNote, (shown < r.matched ? `${count(shown)} of ${count(r.matched)}` : count(shown)) +
      (r.matched < r.seen ? `, out of ${count(r.seen)}` : ""));
    rows(this.e.resources, r.rows, (i) => i.id, (i) => [i.id, state(i), i.lease ?? "",
      i.held_seconds == null ? "" : duration(i.held_seconds), i.idle_seconds == null ? "" : duration(i.idle_seconds),
      long(i.age_seconds), count(i.leases), holder(i), [i.detail, i.invalidated].filter(Boolean).join("; ")],
    (tr, i) => attribute(tr, "data-state", i.state));
  }

  showRest(d) {
    const e = this.e;
    rows(e.policies, (d.policies ?? []).map((p, i) => ({ ...p, i })), (p) => p.i, (p) => [p.moment, p.type, p.state ?? ""]);
    pairs(e.counters, counterNames.map(([k, label]) => [label, k.endsWith("_seconds") ? duration(d.counts[k]) : count(d.counts[k])]));
    causes(e.destroyed, d.destroyed_by_cause);
    causes(e.refused, d.refused_by_policy);
    causes(e.failedBy, d.failed_by_reason);
    const facts = d.facts ?? [];
    e.factsSection.hidden = facts.length === 0;
    pairs(e.facts, facts.map((f) => [f.name, count(f.value)]));
    const events = d.events ?? [];
    say(e.eventsNote, events.length ? "the newest first" : "");
    e.events.classList.toggle("none", events.length === 0);
    // Two events may be equal; a number tells them apart.
    const seen = new Map();
    const numbered = [...events].reverse().map((v) => {
      const k = `${v.time} ${v.kind} ${v.text}`;
      seen.set(k, (seen.get(k) ?? 0) + 1);
      return { ...v, key: `${k} ${seen.get(k)}` };
    }).reverse();
    keyed(e.events, numbered, (v) => v.key, (v) => make("li", { "data-kind": v.kind },
      make("time", { datetime: v.time }, clock(Date.parse(v.time))), kindOf(v.kind), make("span", {}, v.text, make("i", { class: "soft" }))),
    (e, v) => say(e.lastChild.lastChild, v.more ? ` and ${count(v.more)} like it` : ""));
  }
}

// guides are documents about the kinds of events that are shown in red.
const guides = {
  outage: "operating.md#what-an-outage-looks-like", overdue: "operating.md#hunting-a-leak", failed: "operating.md#what-an-outage-looks-like", panic: "operating.md#alerts", "not served": "failures.md#an-acquire-fails",
};

// kindOf is the kind of an event. The event itself says why it happened.
function kindOf(kind) {
  if (!Object.hasOwn(guides, kind)) return make("b", {}, kind);
  return make("b", {}, make("a", { href: docs.at + guides[kind], target: "_blank", rel: "noreferrer noopener", "aria-label": `${kind}: what to do (opens a new tab)` }, kind));
}

function causes(ul, map) {
  const all = Object.entries(map ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const most = Math.max(1, ...all.map(([, n]) => n));
  keyed(ul, all, ([cause]) => cause, ([cause]) => make("li", {}, make("span", {}, cause), make("b"), make("i", { "aria-hidden": "true" })), (e, [, n]) => {
    say(e.children[1], count(n));
    e.children[2].style.width = `${(100 * n) / most}%`;
  });
  ul.classList.toggle("none", all.length === 0);
}

// own is the first frame of a stack that is not the pool's.
const own = (stack) => stack.find((f) => !/^(runtime|github\.com\/respool\/respool\/(resource|wspool|metrics))[./]/.test(f.func)) ?? stack[0];

function newSite(g) {
  const at = own(g.stack);
  const summary = make("summary", {}, make("span", { class: "at" }, make("b", {}, at ? short(at.func) : "stack unknown"), make("span", { class: "soft" }, at ? fileLine(at) : "")),
    make("span", { class: "flags" }), make("span", { class: "many" }));
  const reasons = whys();
  const leases = table("Leases", ["Resource|n", "Lease|n", "Held|n", "Class", "State"]);
  const stack = make("ol", { class: "stack" }, ...g.stack.map((f) =>
    make("li", { class: f === at ? "own" : null }, make("code", {}, f.func), make("span", { class: "soft", title: `${f.file}:${f.line}` }, fileLine(f)))));
  const e = make("details", { class: "site" }, summary, make("div", { class: "inside" }, reasons, stack, scroller("Leases", leases)));
  return Object.assign(e, { leases, reasons, said: summary.lastChild, flagged: summary.children[1] });
}

function showSite(e, g) {
  const n = g.leases.length;
  say(e.said, `${count(n)} lease${n > 1 ? "s" : ""}, longest ${duration(g.leases[0].for_seconds)}`);
  const flags = [g.overdue && ["overdue", "bad"], g.leases.every((l) => l.shared) && ["shared", "plain"]].filter(Boolean);
  keyed(e.flagged, flags, ([x]) => x, ([x, css]) => make("span", { class: `flag ${css}` }, x), () => {});
  const late = g.leases.filter((l) => l.overdue);
  showWhys(e.reasons, late.length === 0 ? [] : [{
    kind: "overdue", text: "overdue", doc: "operating.md#hunting-a-leak",
    why: `${count(late.length)} lease${late.length > 1 ? "s" : ""} acquired here ${late.length > 1 ? "have" : "has"} not ended, the longest for ${duration(late[0].for_seconds)}: longer than Overdue allows.`,
  }]);
  rows(e.leases, g.leases, (l) => `${l.id} ${l.lease}`, (l) => [l.id, l.lease, duration(l.for_seconds), l.class ?? "", [l.shared && "shared", l.overdue && "overdue"].filter(Boolean).join(", ")]);
}

// parts of a shared quota: in use here, granted here but free, granted to other processes.
const quotaParts = [["leased", "held"], ["idle", "free here"], ["destroying", "others"]];

function newQuota(q) {
  const parts = quotaParts.map(([css]) => make("i", { class: css }));
  const legend = quotaParts.map(([css, label]) => {
    const value = make("b");
    return [value, make("li", {}, make("i", { class: `key ${css}` }), value, ` ${label}`)];
  });
  const limit = make("b");
  const flags = make("span", { class: "flags" });
  const reasons = whys();
  const figures = make("dl", { class: "figures" });
  const e = make("div", { class: "card quota" },
    make("h3", {}, make("bdi", {}, q.name), flags), reasons,
    make("span", { class: "levels", "aria-hidden": "true" }, ...parts),
    make("ul", { class: "legend" }, ...legend.map((l) => l[1]), make("li", {}, "of ", limit)), figures);
  return Object.assign(e, { parts, values: legend.map((l) => l[0]), limit, flags, reasons, figures });
}

function showQuota(e, q, flags) {
  showChips(e.flags, flags);
  showWhys(e.reasons, flags);
  const n = [q.held, Math.max(0, q.granted - q.held), Math.max(0, q.total - q.granted)];
  const all = Math.max(q.limit, n[0] + n[1] + n[2], 1);
  n.forEach((v, i) => {
    e.parts[i].hidden = v === 0;
    e.parts[i].style.width = `${(100 * v) / all}%`;
    say(e.values[i], count(v));
  });
  say(e.limit, count(q.limit));
  pairs(e.figures, [
    ["granted", count(q.granted)], ["held", count(q.held)], ["fair share", count(q.target)], ["wanted", count(q.want)],
    ["waiting", count(q.waiting)], ["processes", count(q.holders)],
    ["limit", q.highest > q.limit ? `${count(q.limit)} to ${count(q.highest)}` : count(q.limit)],
    ["beyond the grant", q.over_total > q.over ? `${count(q.over)}, ${count(q.over_total)} in all` : count(q.over)],
    ["closed", count(q.closed)], ["operations", q.operations_failed ? `${count(q.operations)}, ${count(q.operations_failed)} failed` : count(q.operations)],
    ["if lost", q.mode ?? "–"],
  ]);
}
