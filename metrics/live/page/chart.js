// Charts of the last ten minutes, and histograms, in SVG.

import { attribute, draw, make, say } from "./dom.js";
import { clock, count, duration, share } from "./format.js";
import { bound, quantile } from "./history.js";

const height = 132;
const pad = { top: 8, right: 10, bottom: 20, left: 46 };

// Chart draws series of points. A series is {label, css, of(point), area,
// dashed}; with stacked, areas are stacked. of returns null where there is nothing
// to draw.
export class Chart {
  constructor({ title, series, format = count, stacked = false, least = 1 }) {
    Object.assign(this, { series, format, stacked, least, points: [], now: 0, span: 60, at: null, width: 0 });
    this.svg = draw("svg", { class: "plot", height, role: "img", tabindex: 0 });
    this.legend = make("ul", { class: "legend" });
    this.when = make("span", { class: "when" });
    this.values = series.map((s) => {
      const value = make("b");
      this.legend.append(make("li", {}, make("i", { class: `key ${s.css}` + (s.area ? "" : " thin") }), `${s.label} `, value));
      return value;
    });
    this.title = title;
    this.figure = make("figure", { class: "card chart" },
      make("figcaption", {}, make("h3", {}, title), this.when, this.legend), this.svg);
    this.lines();
    this.listen();
    new ResizeObserver((all) => {
      this.width = Math.floor(all[0].contentRect.width);
      this.paint();
    }).observe(this.svg);
  }

  // lines makes the elements that paint moves.
  lines() {
    this.grid = draw("g", { class: "grid" });
    this.paths = this.series.map((s) => draw("path", { class: (s.area ? "area " : "line ") + s.css + (s.dashed ? " dashed" : "") }));
    this.breaks = draw("g", { class: "breaks" });
    this.cursor = draw("line", { class: "cursor", visibility: "hidden" });
    // The first series is at the bottom; lines are above areas.
    const under = this.paths.filter((_, i) => this.series[i].area);
    const over = this.paths.filter((_, i) => !this.series[i].area);
    this.svg.append(this.grid, ...under, ...over, this.breaks, this.cursor);
  }

  // listen lets the pointer and the arrow keys choose a time.
  listen() {
    const choose = (t) => { this.at = t; this.paint(); };
    this.svg.addEventListener("pointermove", (e) => {
      const x = e.clientX - this.svg.getBoundingClientRect().left;
      choose(this.now - this.span + ((x - pad.left) / this.inner) * this.span);
    });
    this.svg.addEventListener("pointerleave", () => choose(null));
    this.svg.addEventListener("blur", () => choose(null));
    this.svg.addEventListener("keydown", (e) => {
      const i = this.points.indexOf(this.chosen() ?? this.points.at(-1));
      const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: this.points.length - 1 }[e.key];
      if (to == null || this.points.length === 0) return;
      e.preventDefault();
      choose(this.points[Math.min(Math.max(to, 0), this.points.length - 1)].t);
    });
  }

  get inner() { return Math.max(1, this.width - pad.left - pad.right); }

  // chosen returns the point nearest to the chosen time, or null.
  chosen() {
    if (this.at == null) return null;
    let best = null;
    for (const p of this.points) if (!best || Math.abs(p.t - this.at) < Math.abs(best.t - this.at)) best = p;
    return best;
  }

  show(history, now) {
    this.span = history.span(now);
    this.points = history.points.filter((p) => p.t >= now - this.span);
    this.now = now;
    this.paint();
  }

  paint() {
    if (!this.width || !this.now) return;
    attribute(this.svg, "viewBox", `0 0 ${this.width} ${height}`);
    const stacks = this.points.map((p) => this.stack(p));
    let top = this.least;
    for (const s of stacks) for (const v of s) if (v) top = Math.max(top, v.to);
    const ticks = steps(top, this.format === duration);
    this.top = ticks.at(-1);
    this.paintGrid(ticks);
    this.series.forEach((s, i) => attribute(this.paths[i], "d", this.path(stacks.map((v) => v[i]), s.area)));
    this.paintBreaks();
    this.tell();
  }

  // stack returns the lower and upper end of each series at one point.
  stack(p) {
    let below = 0;
    return this.series.map((s) => {
      const v = s.of(p);
      if (v == null) return null;
      if (!this.stacked || !s.area) return { from: 0, to: v };
      below += v;
      return { from: below - v, to: below };
    });
  }

  x(t) { return pad.left + ((t - this.now + this.span) / this.span) * this.inner; }
  y(v) { return height - pad.bottom - (v / this.top) * (height - pad.top - pad.bottom); }

  // path returns a path with a piece for each run of points without a gap.
  path(values, area) {
    let d = "", run = [];
    const end = () => {
      if (run.length === 0) return;
      const upper = run.map(({ x, v }) => `${x.toFixed(1)} ${this.y(v.to).toFixed(1)}`);
      if (area) {
        const lower = run.map(({ x, v }) => `${x.toFixed(1)} ${this.y(v.from).toFixed(1)}`).reverse();
        d += `M${upper.join("L")}L${lower.join("L")}Z`;
      } else {
        d += run.length > 1 ? `M${upper.join("L")}` : `M${upper[0]}h.1`;
      }
      run = [];
    };
    values.forEach((v, i) => {
      if (v == null || (i > 0 && !this.points[i].joined)) end();
      if (v != null) run.push({ x: this.x(this.points[i].t), v });
    });
    end();
    return d;
  }

  paintGrid(ticks) {
    const parts = ticks.map((v) => draw("line", { x1: pad.left, x2: this.width - pad.right, y1: this.y(v), y2: this.y(v) }));
    for (const v of ticks) parts.push(draw("text", { x: pad.left - 6, y: this.y(v) + 4, "text-anchor": "end" }, axis(this.format(v))));
    const step = this.span < 180 ? this.span / 4 : this.span < 600 ? 60 : 120;
    for (let ago = this.span; ago > 0; ago -= step) {
      if (this.width < 420 && ago < this.span && ago !== 2 * step) continue;
      const text = ago >= 60 && ago % 60 === 0 ? `−${ago / 60} min` : `−${ago} s`;
      parts.push(draw("text", { x: this.x(this.now - ago), y: height - 4, "text-anchor": ago === this.span ? "start" : "middle" }, text));
    }
    parts.push(draw("text", { x: this.width - pad.right, y: height - 4, "text-anchor": "end" }, "now"));
    this.grid.replaceChildren(...parts);
  }

  // paintBreaks marks where the process was restarted.
  paintBreaks() {
    const parts = [];
    this.points.forEach((p, i) => {
      if (i > 0 && this.points[i - 1].life !== p.life) {
        parts.push(draw("line", { x1: this.x(p.t), x2: this.x(p.t), y1: pad.top, y2: height - pad.bottom }, draw("title", {}, "restarted")));
      }
    });
    this.breaks.replaceChildren(...parts);
  }

  // tell writes the values of the chosen point, or of the last one.
  tell() {
    const chosen = this.chosen();
    const p = chosen ?? this.points.at(-1);
    this.series.forEach((s, i) => say(this.values[i], p ? write(this.format, s.of(p)) : "–"));
    say(this.when, chosen ? clock(chosen.t * 1000) : "");
    attribute(this.cursor, "visibility", chosen ? "visible" : "hidden");
    if (chosen) {
      const x = this.x(chosen.t);
      for (const [name, value] of [["x1", x], ["x2", x], ["y1", pad.top], ["y2", height - pad.bottom]]) attribute(this.cursor, name, value);
    }
    const said = this.series.map((s) => `${s.label} ${p ? write(this.format, s.of(p)) : "unknown"}`).join(", ");
    attribute(this.svg, "aria-label", `${this.title}, ${chosen ? `at ${clock(p.t * 1000)}` : "now"}: ${said}. Arrow keys read earlier values.`);
  }
}

// axis drops the zeros behind the point of a round value.
const axis = (text) => text.replace(/\.0+(?=\D|$)|(\.\d*?)0+(?=\D|$)/, "$1");

const write = (format, v) => (v == null ? "–" : format(v));

// steps returns round values from 0 to over top; durations are round in their unit.
function steps(top, time) {
  const unit = time ? 1000 ** Math.floor(Math.log10(top) / 3) : 1;
  const raw = top / unit / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 2.5, 4, 5, 8, 10].find((m) => m * power >= raw) * power * unit;
  if (!time) step = Math.max(1, Math.ceil(step));
  const all = [];
  for (let i = 0; ; i++) {
    all.push(i * step);
    if (i * step >= top) return all;
  }
}

// Spark is a small line without axes, for a row of a table.
export class Spark {
  constructor(of) {
    this.of = of;
    this.path = draw("path", { class: "line leased" });
    this.svg = draw("svg", { class: "spark", viewBox: "0 0 90 24", preserveAspectRatio: "none", "aria-hidden": "true" }, this.path);
  }

  show(history, now) {
    const span = history.span(now);
    const shown = history.points.filter((p) => p.t >= now - span);
    const top = Math.max(1, ...shown.map((p) => this.of(p) ?? 0));
    let d = "", pen = "M";
    for (const p of shown) {
      const v = this.of(p);
      if (v == null) {
        pen = "M";
        continue;
      }
      d += `${pen}${(90 - ((now - p.t) / span) * 90).toFixed(1)} ${(22 - (v / top) * 20).toFixed(1)}`;
      pen = "L";
    }
    attribute(this.path, "d", d);
  }
}

// Bars is a histogram over a logarithmic scale of durations.
export class Bars {
  constructor(title, css, ready) {
    this.title = title;
    this.ready = ready; // the word for values of zero
    this.svg = draw("svg", { class: "plot", height: 96, role: "img" });
    this.note = make("span", { class: "when" });
    this.facts = make("dl", { class: "facts" });
    this.css = css;
    this.shown = ["p50", "p90", "p99", "longest"].map((name) => {
      const value = make("dd");
      this.facts.append(make("div", {}, make("dt", {}, name), value));
      return value;
    });
    this.figure = make("figure", { class: "card chart" }, make("figcaption", {}, make("h3", {}, title), this.note), this.svg, this.facts);
    new ResizeObserver((all) => {
      this.width = Math.floor(all[0].contentRect.width);
      this.paint();
    }).observe(this.svg);
  }

  // show takes a histogram, with the quantiles of the server if it has them.
  show(h) {
    this.h = h;
    this.paint();
  }

  paint() {
    const h = this.h;
    if (!h || !this.width) return;
    const buckets = h.buckets ?? [];
    const total = h.count;
    const q = (v, given) => (total ? duration(given ?? quantile(h, v)) : "–");
    const values = [q(0.5, h.p50_seconds), q(0.9, h.p90_seconds), q(0.99, h.p99_seconds),
      total ? duration(longest(h)) : "–"];
    this.shown.forEach((e, i) => say(e, values[i]));
    say(this.note, count(total) + (this.ready && total ? `, ${share(h.zero, total)} ${this.ready}` : ""));
    attribute(this.svg, "aria-label", `${this.title}: p50 ${values[0]}, p99 ${values[2]}, of ${count(total)}`);
    this.svg.replaceChildren(...(buckets.some((n) => n > 0) ? this.bars(h, buckets) : [this.nothing(total)]));
    attribute(this.svg, "viewBox", `0 0 ${this.width} 96`);
  }

  nothing(total) {
    return draw("text", { x: this.width / 2, y: 50, "text-anchor": "middle", class: "none" }, total ? "all at once" : "none yet");
  }

  bars(h, buckets) {
    const used = buckets.flatMap((n, i) => (n > 0 ? [h.first + i] : []));
    // At least three powers of ten, so that a single bucket does not fill the chart.
    const decade = 4 * Math.log2(10);
    let from = used[0] - 1, to = used.at(-1) + 2;
    const more = Math.max(0, 2.2 * decade - (to - from));
    from -= more / 2;
    to += more / 2;
    const [left, right, floor] = [4, this.width - 4, 78];
    const x = (index) => left + ((index - from) / (to - from)) * (right - left);
    const most = Math.max(...buckets);
    const parts = [];
    for (let e = Math.ceil(from / decade); e * decade <= to; e++) {
      const at = x(e * decade);
      parts.push(draw("line", { class: "rule", x1: at, x2: at, y1: 6, y2: floor }));
      if (at > 20 && at < this.width - 20) parts.push(draw("text", { x: at, y: 92, "text-anchor": "middle" }, powers[e] ?? ""));
    }
    buckets.forEach((n, i) => {
      if (n === 0) return;
      const tall = Math.max(2, (n / most) * (floor - 8));
      const [a, b] = [x(h.first + i), x(h.first + i + 1)];
      parts.push(draw("rect", { class: `bar ${this.css}`, x: a + 0.5, width: Math.max(1, b - a - 1), y: floor - tall, height: tall, rx: 1 },
        draw("title", {}, `${duration(bound(h.first + i))} to ${duration(bound(h.first + i + 1))}: ${count(n)}`)));
    });
    return parts;
  }
}

const powers = { 3: "1 µs", 4: "10 µs", 5: "100 µs", 6: "1 ms", 7: "10 ms", 8: "100 ms", 9: "1 s", 10: "10 s", 11: "100 s", 12: "1000 s" };

// longest returns the upper bound of the last bucket in use.
function longest(h) {
  for (let i = (h.buckets ?? []).length - 1; i >= 0; i--) if (h.buckets[i] > 0) return bound(h.first + i + 1);
  return 0;
}
