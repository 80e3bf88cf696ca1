// What the page remembers of a pool: five minutes of levels and rates, and a
// minute of histograms. The server keeps none of it.

const spans = [60, 120, 180, 240, 300]; // seconds that charts show, the least that has all
const span = spans.at(-1);
const minute = 60;
const counters = ["acquired", "made", "failed", "destroyed", "unserved", "canceled", "waited"];
const levels = ["max", "leased", "idle", "making", "destroying", "waiting", "oldest_wait_seconds"];

// pick is some members of an object: what is kept for minutes has no others.
export const pick = (from, names) => Object.fromEntries(names.map((k) => [k, from[k]]));

// History is of one pool.
export class History {
  points = [];
  waits = new Minute();

  // add notes a summary. t is the server's clock, and every how long it is
  // between two of them, in seconds.
  add(t, life, every, s) {
    while (this.last?.t > t) this.points.pop(); // its clock was set back
    const before = this.last;
    if (before && t === before.t && life === before.life) return;
    const { wait } = s;
    const p = { t, life, s: { ...pick(s, levels), counts: pick(s.counts, counters) }, rates: null, p50: null, p99: null };
    // Across a restart, a pause or a gap there is no rate, nor for another pool of that name.
    p.joined = before != null && before.life === life && t - before.t < Math.max(10, 4 * every) &&
      counters.every((k) => s.counts[k] >= before.s.counts[k]);
    const d = p.joined ? difference(wait, this.waits.last?.wait) : null;
    this.waits.add(t, life, { wait });
    if (p.joined) {
      p.rates = {};
      for (const k of counters) p.rates[k] = (s.counts[k] - before.s.counts[k]) / (t - before.t);
      if (d && d.count > 0) [p.p50, p.p99] = [quantile(d, 0.5), quantile(d, 0.99)];
    }
    this.points.push(p);
    while (this.points[0].t < t - span - 10) this.points.shift();
  }

  get last() { return this.points.at(-1); }

  // span is how many seconds there are to be seen.
  span(now) {
    const age = this.points.length ? now - this.points[0].t : 0;
    return spans.find((s) => age <= s) ?? span;
  }

  // young reports whether there is less than charts can show.
  young(now) { return this.points.length === 0 || now - this.points[0].t < span; }

  // rate is over the last three updates: steady enough to be read.
  rate(counter) {
    const joined = [];
    for (let i = this.points.length - 1; i >= 0 && joined.length < 3 && this.points[i].joined; i--) {
      joined.push(this.points[i].rates[counter]);
    }
    return joined.length ? joined.reduce((a, b) => a + b) / joined.length : null;
  }
}

// Minute keeps histograms, to say what came in the last minute.
export class Minute {
  kept = [];

  add(t, life, histograms) {
    while (this.kept.at(-1)?.t > t) this.kept.pop();
    const before = this.kept.at(-1);
    // Those of another process or pool cannot be subtracted, and those of before a pause not be called the last minute.
    if (before && (before.life !== life || t - before.t > minute || fewer(histograms, before.histograms))) this.kept = [];
    this.kept.push({ t, life, histograms });
    // One as old as a minute has to stay, to be subtracted.
    while (this.kept.length > 1 && this.kept[1].t <= t - minute) this.kept.shift();
  }

  get last() { return this.kept.at(-1)?.histograms; }

  // of is what came in the last minute, or null.
  of(name) {
    if (this.kept.length < 2) return null;
    return difference(this.kept.at(-1).histograms[name], this.kept[0].histograms[name]);
  }
}

const fewer = (now, before) => Object.keys(now).some((k) => now[k]?.count < before[k]?.count);

// difference is what came between two snapshots of one histogram; null if they
// are not of one.
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

// bound is the lower bound of a bucket, in seconds.
export const bound = (index) => 2 ** (index / 4) / 1e9;

// quantile is in seconds. Inside a bucket it goes by the logarithm.
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
