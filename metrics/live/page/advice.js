// What size a pool should have: the advice of metrics.Advise. While this part of the page is in
// sight the page asks the server for it at most once in fresh_seconds, unless another goal is chosen.

import { attribute, draw, keyed, make, say } from "./dom.js";
import { count, duration, long, rate, share } from "./format.js";
import { docs } from "./flags.js";
import { rows, scroller, section, table } from "./parts.js";

const choices = {
  quantile: ["Of the callers", [["0.5", "half"], ["0.9", "90 %"], ["0.95", "95 %"], ["0.99", "99 %"], ["0.999", "99.9 %"]], "0.99"],
  wait: ["wait at most", [["1ms", "1 ms"], ["5ms", "5 ms"], ["10ms", "10 ms"], ["50ms", "50 ms"], ["100ms", "100 ms"], ["500ms", "500 ms"], ["1s", "1 s"], ["10s", "10 s"]], "10ms"],
  growth: ["under", [["1", "the load as it was"], ["1.5", "1.5 times the load"], ["2", "twice the load"], ["4", "4 times the load"]], "1"],
};

const retry = 10; // seconds after a failure

// Advice is the panel of one pool.
export class Advice {
  constructor(name) {
    Object.assign(this, { name, goal: {}, next: 0, loading: null, seen: false });
    this.note = make("span", { class: "note" });
    this.state = make("p", { class: "soft", role: "status" }, "The advice is computed when this part is in sight.");
    this.tiles = make("dl", { class: "tiles" });
    this.values = ["MaxSize", "MinIdle", "Waiting limit", "Load"].map((label) => {
      const [value, more] = [make("dd", {}, "–"), make("dd", { class: "soft" }, "\u00a0")];
      this.tiles.append(make("div", {}, make("dt", {}, label), value, more));
      return [value, more];
    });
    this.doubts = make("ul", { class: "doubts" });
    this.basis = make("p", { class: "soft" }, "\u00a0");
    this.curve = new Curve();
    this.table = table("Waits by size", ["Size|n", "Median wait|n", "Wait|n", "in 95 of 100 cases|n", "Callers that wait|n", "In use|n", ""]);
    this.wait = this.table.querySelectorAll("th")[2];
    this.to = make("a", { target: "_blank", rel: "noreferrer noopener", "aria-label": "How the advice is made (opens a new tab)" }, "How the advice is made");
    this.section = section(["Advice on the size", this.note], "advice",
      make("div", { class: "tools" }, ...Object.keys(choices).map((k) => this.select(k))),
      make("div", { class: "card sizes" }, this.state, this.tiles,
        make("h3", {}, "How sure it is"), this.doubts, this.basis,
        this.curve.figure, make("details", {}, make("summary", {}, "The curve as a table"), scroller("Waits by size", this.table)), make("p", {}, this.to)));
    new IntersectionObserver((all) => {
      this.seen = all.at(-1).isIntersecting;
      if (this.seen) this.look();
    }).observe(this.section);
  }

  select(key) {
    const [label, options, preset] = choices[key];
    const s = make("select", { name: key }, ...options.map(([value, text]) => make("option", { value }, text)));
    s.value = this.goal[key] = preset;
    s.addEventListener("change", () => {
      this.goal[key] = s.value;
      this.next = 0;
      this.loading?.abort();
      this.loading = null;
      this.look();
    });
    return make("label", {}, make("span", {}, label), s);
  }

  // look asks for the advice if it is in sight and the last one is old. It is called at each update,
  // when this part comes into sight and when a goal is chosen. A paused page gets no updates, and one
  // that was hidden a minute ago neither.
  async look() {
    if (!this.seen || this.loading || performance.now() < this.next || !this.section.isConnected) return;
    const asked = new AbortController();
    this.loading = asked;
    if (!this.a) say(this.state, "Computing the advice.");
    attribute(this.section, "aria-busy", "true");
    let wait = retry;
    try {
      const r = await fetch(`advice.json?${new URLSearchParams({ pool: this.name, ...this.goal })}`, { cache: "no-store", signal: asked.signal });
      if (!r.ok) throw new Error((await r.text()).slice(0, 200));
      const a = await r.json();
      wait = Math.max(1, a.fresh_seconds);
      this.show(a);
    } catch (e) {
      if (asked.signal.aborted) return; // another goal or another pool was chosen
      say(this.state, `There is no advice now: ${e.message}`);
    }
    this.loading = null;
    this.next = performance.now() + 1000 * wait;
    attribute(this.section, "aria-busy", null);
  }

  // leave gives up the request, if there is one, so that the server need not compute its answer.
  leave() {
    this.loading?.abort();
  }

  show(a) {
    this.a = a;
    const none = Boolean(a.problem);
    attribute(this.to, "href", `${docs.at}sizing.md`);
    const name = `p${+(100 * a.goal.quantile).toFixed(3)}`;
    say(this.state, none ? `There is no advice yet: ${a.problem}.`
      : a.max_size === a.now.max ? `The pool has the size that the goal needs: ${count(a.max_size)}.`
      : `The goal needs a MaxSize of ${count(a.max_size)}; it is ${count(a.now.max)}.`);
    const values = none ? [["–", "\u00a0"], ["–", "\u00a0"], ["–", "\u00a0"], ["–", "\u00a0"]] : [
      [count(a.max_size), `${a.low < a.high ? `${count(a.low)} to ${count(a.high)}` : "no other in 95 of 100 cases"}; now ${count(a.now.max)}`],
      [count(a.min_idle), `now ${count(a.now.min_idle)}`],
      [count(a.max_waiting), "callers behind it wait longer"],
      [rate(a.load), `in use on average, ${count(a.peak)} at most`],
    ];
    values.forEach(([value, more], i) => { say(this.values[i][0], value); say(this.values[i][1], more); });
    const doubts = none ? [] : a.doubts.length ? a.doubts : [`No reason to doubt it: another such history needs ${a.low < a.high ? `${count(a.low)} to ${count(a.high)}` : "the same size"}, in 95 of 100 cases.`];
    keyed(this.doubts, doubts, (d) => d, (d) => make("li", {}, d), () => {});
    this.doubts.classList.toggle("sure", !none && a.doubts.length === 0);
    say(this.note, none ? "" : a.doubts.length ? `${count(a.doubts.length)} reason${a.doubts.length > 1 ? "s" : ""} to doubt it` : "no reason to doubt it");
    say(this.basis, none ? "\u00a0" : `From ${count(a.acquires)} acquires in ${long(a.span_seconds)}, ${rate(a.rate)} a second, with leases of ${duration(a.hold_seconds)} on average` +
      (a.make_seconds ? ` and creations of ${duration(a.make_seconds)} (p99)` : "") + `; replayed ${count(a.replays)} times in ${duration(a.took_seconds)}.`);
    say(this.wait, `Wait ${name}`);
    rows(this.table, a.curve, (c) => c.size, (c) => [count(c.size), duration(c.median_seconds), duration(c.wait_seconds), span(c), share(c.waited, 1), share(c.busy, 1), mark(a, c.size)]);
    this.curve.show(a, name);
  }
}

// span is the range of the wait of another such history.
const span = (c) => (c.low_seconds < c.high_seconds ? `${duration(c.low_seconds)} to ${duration(c.high_seconds)}` : duration(c.wait_seconds));

const mark = (a, size) => [size === a.max_size && "advised", size === a.now.max && "now"].filter(Boolean).join(", ");

// power writes 10 to the power of e seconds.
const power = (e) => (e < -3 ? `${10 ** (e + 6)} µs` : e < 0 ? `${10 ** (e + 3)} ms` : `${count(10 ** e)} s`);

const height = 170;
const pad = { top: 10, right: 14, bottom: 22, left: 56 };

// Curve draws the wait against the size of the pool, on a logarithmic scale.
class Curve {
  constructor() {
    this.svg = draw("svg", { class: "plot", height, role: "img", tabindex: 0, "aria-label": "Wait by size: not known yet" });
    this.title = make("h3", {}, "Wait by size");
    this.when = make("span", { class: "when" });
    this.goal = make("b", {}, "–");
    this.figure = make("figure", { class: "chart" }, make("figcaption", {}, this.title, this.when,
      make("ul", { class: "legend" }, make("li", {}, make("i", { class: "key leased thin" }), "wait"), make("li", {}, make("i", { class: "key alert thin" }), "goal ", this.goal),
        make("li", {}, make("i", { class: "key max thin" }), "present MaxSize"))), this.svg);
    this.at = null;
    this.svg.addEventListener("keydown", (e) => {
      const n = this.a?.curve.length ?? 0;
      const i = this.at ?? this.a?.curve.findIndex((c) => c.size === this.a.max_size) ?? 0;
      const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: n - 1 }[e.key];
      if (to == null || n === 0) return;
      e.preventDefault();
      this.at = Math.min(Math.max(to, 0), n - 1);
      this.paint();
    });
    this.svg.addEventListener("blur", () => { this.at = null; this.paint(); });
    new ResizeObserver((all) => {
      this.width = Math.floor(all[0].contentRect.width);
      this.paint();
    }).observe(this.svg);
  }

  show(a, name) {
    if (this.a?.curve.length !== a.curve.length) this.at = null;
    Object.assign(this, { a, name });
    say(this.title, `Wait (${name}) by size`);
    this.paint();
  }

  paint() {
    const { a, width } = this;
    if (!a || !width) return;
    say(this.goal, duration(a.goal.wait_seconds));
    attribute(this.svg, "viewBox", `0 0 ${width} ${height}`);
    if (a.curve.length === 0) {
      this.svg.replaceChildren(draw("text", { class: "none", x: width / 2, y: height / 2, "text-anchor": "middle" }, "none yet"));
      attribute(this.svg, "aria-label", "Wait by size: none yet");
      say(this.when, "");
      return;
    }
    const waits = [a.goal.wait_seconds, ...a.curve.map((c) => c.wait_seconds)].filter((w) => w > 0);
    const [low, high] = [Math.floor(Math.log10(Math.min(...waits))), Math.max(Math.ceil(Math.log10(Math.max(...waits))), Math.floor(Math.log10(Math.min(...waits))) + 1)];
    const [from, to] = [a.curve[0].size, Math.max(a.curve.at(-1).size, a.curve[0].size + 1)];
    const x = (size) => pad.left + ((size - from) / (to - from)) * (width - pad.left - pad.right);
    const [top, floor] = [pad.top, height - pad.bottom];
    // The lowest step is for a wait of 0, which a logarithm does not have.
    const y = (w) => (w <= 0 ? floor : floor - 14 - ((Math.log10(w) - low) / (high - low)) * (floor - 14 - top));
    const parts = [draw("line", { class: "rule", x1: pad.left, x2: width - pad.right, y1: floor, y2: floor }), draw("text", { x: pad.left - 6, y: floor + 4, "text-anchor": "end" }, "0")];
    const step = Math.ceil((high - low) / 4);
    for (let e = low; e <= high; e += step) {
      const at = y(10 ** e);
      parts.push(draw("line", { class: "rule", x1: pad.left, x2: width - pad.right, y1: at, y2: at }),
        draw("text", { x: pad.left - 6, y: at + 4, "text-anchor": "end" }, power(e)));
    }
    let free = -Infinity;
    const named = [a.max_size, a.now.max, from, to].filter((n) => n >= from && n <= to);
    const labels = [];
    for (const n of named) if (labels.every((o) => Math.abs(x(o) - x(n)) > 30)) labels.push(n);
    for (const n of labels.sort((p, q) => p - q)) {
      if (x(n) - free < 30) continue;
      free = x(n);
      parts.push(draw("text", { x: x(n), y: height - 5, "text-anchor": n === to ? "end" : n === from ? "start" : "middle" }, count(n)));
    }
    if (a.now.max >= from && a.now.max <= to) parts.push(draw("line", { class: "line max dashed", x1: x(a.now.max), x2: x(a.now.max), y1: top, y2: floor }));
    parts.push(draw("line", { class: "line alert dashed", x1: pad.left, x2: width - pad.right, y1: y(a.goal.wait_seconds), y2: y(a.goal.wait_seconds) }));
    parts.push(draw("path", { class: "line leased", d: `M${a.curve.map((c) => `${x(c.size).toFixed(1)} ${y(c.wait_seconds).toFixed(1)}`).join("L")}` }));
    a.curve.forEach((c, i) => parts.push(draw("circle", { class: `dot leased${c.size === a.max_size ? " advised" : ""}`, cx: x(c.size), cy: y(c.wait_seconds), r: i === this.at ? 6 : c.size === a.max_size ? 4.5 : 2.5 },
      draw("title", {}, this.words(c)))));
    this.svg.replaceChildren(...parts);
    const shown = a.curve[this.at ?? a.curve.findIndex((c) => c.size === a.max_size)] ?? a.curve[0];
    say(this.when, this.at == null ? "" : this.words(shown));
    attribute(this.svg, "aria-label", `Wait by size. ${this.words(shown)}. The goal is ${duration(a.goal.wait_seconds)}. Arrow keys read other sizes.`);
  }

  words(c) {
    const what = mark(this.a, c.size);
    return `${count(c.size)}${what ? ` (${what})` : ""}: ${this.name} ${duration(c.wait_seconds)}`;
  }
}
