// History: ten minutes of levels and rates of a pool, and one minute of histograms.
// The page adds a point for each update. Points from before the page was opened come
// from the meter, which keeps ten minutes as well.

const spans = [60, 120, 180, 240, 300, 420, 600]; // seconds that charts show: the first that holds all points
export const span = spans.at(-1);
const minute = 60;
const counters = ["acquired", "waited", "unserved", "made", "failed", "destroyed"];
const layerCounters = ["answered", "not_sent", "may_have_run", "good", "bad", "refused"];
const levels = ["max", "leased", "idle", "making", "destroying", "waiting", "oldest_wait_seconds"];

// pick returns an object with some members of from: points are kept for minutes and
// have no others.
export const pick = (from, names) => Object.fromEntries(names.map((k) => [k, from[k]]));

// History is the history of one pool. A point is {t, life, every, s, p50, p99} and,
// once it is joined to the point before it, {joined, rates, failed, layered}: counts a
// second, failed acquires a second by reason, and counts a second of the layers above the pool.
export class History {
  points = [];
  added = 0;
  waits = new Minute();
  began = null; // when the meter began to keep its history, in seconds

  // add adds a summary. t is the time by the clock of the server and every the time
  // between two summaries, in seconds.
  add(t, life, every, s) {
    while (this.last?.t > t) this.points.pop(); // its clock was set back
    const before = this.last;
    if (before && t === before.t && life === before.life) return;
    const { wait } = s;
    const p = { t, life, every, s: { ...pick(s, levels), counts: pick(s.counts, counters), failed: s.failed_by_reason ?? {}, layers: s.layers ?? null }, p50: null, p99: null };
    join(before, p);
    const d = p.joined ? difference(wait, this.waits.last?.wait) : null;
    if (d && d.count > 0) [p.p50, p.p99] = [quantile(d, 0.5), quantile(d, 0.99)];
    this.waits.add(t, life, { wait });
    this.points.push(p);
    while (this.points[0].t < t - span - 10) this.points.shift();
    if (++this.added % 30 === 0) this.thin(t);
  }

  // thin drops points that are over a minute old and less than two seconds after
  // another one: the page of 200 pools keeps ten minutes of each. The largest of the
  // quantiles stays.
  thin(now) {
    let kept = null;
    const points = this.points.filter((p) => {
      if (kept && p.t < now - minute && p.joined && p.t - kept.t < 1.9) {
        for (const q of ["p50", "p99"]) if (p[q] != null) kept[q] = Math.max(kept[q] ?? 0, p[q]);
        return false;
      }
      kept = p;
      return true;
    });
    if (points.length < this.points.length) this.set(points);
  }

  // set replaces the points, which are in order.
  set(points) {
    this.points = points;
    points.forEach((p, i) => join(points[i - 1], p));
  }

  // recall inserts the points that the meter has kept, where there is no point yet.
  // Points of another life are from an earlier process, so none goes before them.
  recall(life, past) {
    this.began = past.since;
    const known = (p) => p.past && p.life === life;
    if (!past.levels && this.points.some((p) => known(p) && p.s.max != null)) return; // there is more already
    const own = this.points.filter((p) => !known(p));
    const now = Math.max(this.last?.t ?? 0, past.t.at(-1) ?? 0);
    const after = Math.max(now - span, ...own.filter((p) => p.life !== life).map((p) => p.t));
    const taken = new Set(own.flatMap((p) => [-1, 0, 1].map((d) => Math.round(p.t) + d)));
    const told = past.t.flatMap((t, i) => (t <= after || taken.has(Math.round(t)) ? [] : [{
      t, life, every: past.every_seconds, past: true,
      s: { ...at(past.levels, i), counts: at(past.counts, i), failed: past.failed_by_reason && at(past.failed_by_reason, i), layers: layersAt(past.layers, i) },
      p50: past.wait_p50_seconds?.[i] ?? null, p99: past.wait_p99_seconds?.[i] ?? null,
    }]));
    this.set([...own, ...told].sort((a, b) => a.t - b.t));
  }

  get last() { return this.points.at(-1); }

  // reach returns how many seconds the points go back.
  reach(now) { return this.points.length ? now - this.points[0].t : 0; }

  // span returns how many seconds charts show.
  span(now) { return spans.find((s) => this.reach(now) <= s) ?? span; }

  // since says in words how far the charts go back; long writes seconds.
  since(now, long) {
    const reach = this.reach(now);
    if (reach > span - 10) return `last ${span / 60} minutes`;
    const late = this.points.length ? this.points[0].t - (this.began ?? Infinity) : Infinity;
    if (late >= 0 && late < 10) return `since the meter was started ${long(now - this.began)} ago`;
    return `since this page was opened ${long(reach)} ago`;
  }

  // rate is the mean of the last three updates: steady enough to be read.
  rate(counter) {
    const joined = [];
    for (let i = this.points.length - 1; i >= 0 && joined.length < 3 && this.points[i].joined; i--) {
      const r = this.points[i].rates[counter];
      if (r != null) joined.push(r);
    }
    return joined.length ? joined.reduce((a, b) => a + b) / joined.length : null;
  }

  // failing is rate of the failed acquires, by reason, without those that did not want to wait.
  failing() {
    const last = this.points.slice(-3).filter((p) => p.joined && p.failed);
    const by = {};
    for (const p of last) for (const [k, n] of Object.entries(p.failed)) if (k !== "none_idle") by[k] = (by[k] ?? 0) + n / last.length;
    return by;
  }
}

// layersAt is null where the pool had no layers above it.
function layersAt(columns, i) {
  return columns?.multiplexers[i] == null ? null : at(columns, i);
}

const at = (columns, i) => Object.fromEntries(Object.entries(columns ?? {}).map(([k, all]) => [k, all[i]]));

// join sets the rates of p since the point before it. There are none across a
// restart, a pause or a gap, nor where another pool has the name now. A point of the
// meter may lack some counters.
function join(before, p) {
  const both = before ? counters.filter((k) => p.s.counts[k] != null && before.s.counts[k] != null) : [];
  const took = before ? p.t - before.t : 0;
  p.joined = before != null && before.life === p.life && took < Math.max(10, 4 * p.every, 4 * before.every) &&
    both.every((k) => p.s.counts[k] >= before.s.counts[k]);
  [p.rates, p.failed, p.layered] = [null, null, null];
  if (!p.joined) return;
  p.rates = Object.fromEntries(both.map((k) => [k, (p.s.counts[k] - before.s.counts[k]) / took]));
  const [now, then] = [p.s.layers, before.s.layers];
  // The sums over endpoints fall when one leaves.
  if (now && then) p.layered = Object.fromEntries(layerCounters.map((k) => [k, now[k] < then[k] ? null : (now[k] - then[k]) / took]));
  if (p.s.failed && before.s.failed) p.failed = Object.fromEntries(Object.entries(p.s.failed).map(([k, n]) => [k, Math.max(0, n - (before.s.failed[k] ?? 0)) / took]));
}

// Minute keeps histograms of a minute, of which the last minute is the difference.
export class Minute {
  kept = [];

  add(t, life, histograms) {
    while (this.kept.at(-1)?.t > t) this.kept.pop();
    const before = this.kept.at(-1);
    // Histograms of another process or pool cannot be subtracted, and histograms from
    // before a pause are not the last minute.
    if (before && (before.life !== life || t - before.t > minute || fewer(histograms, before.histograms))) this.kept = [];
    this.kept.push({ t, life, histograms });
    // One as old as a minute stays, to be subtracted.
    while (this.kept.length > 1 && this.kept[1].t <= t - minute) this.kept.shift();
  }

  get last() { return this.kept.at(-1)?.histograms; }

  // of returns the values of the last minute, or null.
  of(name) {
    if (this.kept.length < 2) return null;
    return difference(this.kept.at(-1).histograms[name], this.kept[0].histograms[name]);
  }
}

const fewer = (now, before) => Object.keys(now).some((k) => now[k]?.count < before[k]?.count);

// difference returns the values between two snapshots of a histogram; null if the
// snapshots are of two.
export function difference(now, before) {
  if (!now || !before || now.count < before.count) return null;
  const first = now.first;
  const d = {
    count: now.count - before.count, sum_seconds: Math.max(0, now.sum_seconds - before.sum_seconds),
    zero: Math.max(0, now.zero - before.zero), first, buckets: [...(now.buckets ?? [])],
  };
  (before.buckets ?? []).forEach((n, i) => {
    const j = before.first + i - first;
    if (j >= 0 && j < d.buckets.length) d.buckets[j] = Math.max(0, d.buckets[j] - n);
  });
  return d;
}

// bound returns the lower bound of a bucket, in seconds.
export const bound = (index) => 2 ** (index / 4) / 1e9;

// quantile is in seconds. Within a bucket it interpolates by the logarithm.
export function quantile(h, q) {
  let total = h.zero;
  for (const n of h.buckets ?? []) total += n;
  if (total === 0) return null;
  const rank = q * total;
  let seen = h.zero;
  if (rank <= seen) return 0;
  for (let i = 0; i < h.buckets.length; i++) {
    const n = h.buckets[i];
    if (n > 0 && rank <= seen + n) return bound(h.first + i + (rank - seen) / n);
    seen += n;
  }
  return bound(h.first + h.buckets.length);
}
