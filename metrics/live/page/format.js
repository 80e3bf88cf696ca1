// Figures as text.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (n) => whole.format(n);

export function rate(n) {
  if (n == null) return "–";
  return n < 9.95 && !Number.isInteger(n) ? n.toFixed(1) : whole.format(n);
}

function three(n) {
  return n >= 99.5 ? n.toFixed(0) : n >= 9.95 ? n.toFixed(1) : n.toFixed(2);
}

// duration writes seconds with three digits, or in two units.
export function duration(s) {
  if (s == null) return "–";
  if (s === 0) return "0";
  if (s < 0.9995e-3) return `${three(s * 1e6)} µs`;
  if (s < 0.9995) return `${three(s * 1e3)} ms`;
  if (s < 59.95) return `${three(s)} s`;
  return long(s);
}

// long writes seconds in whole units, for ages.
export function long(s) {
  s = Math.floor(s);
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${m} min`;
  if (m > 0) return `${m} min ${s % 60} s`;
  return `${s} s`;
}

export function share(part, all) {
  if (!all) return "–";
  const p = (100 * part) / all;
  if (p > 0 && p < 1) return "under 1 %";
  if (p < 100 && p > 99) return "over 99 %";
  return `${Math.round(p)} %`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

// short returns the name of a function without the path of its package.
export const short = (name) => name.slice(name.lastIndexOf("/") + 1);

// fileLine returns the last two elements of the path of a file, and the line.
export const fileLine = (f) => `${f.file.split("/").slice(-2).join("/")}:${f.line}`;
