// The endpoints over which a pool is spread.

import { attribute, keyed, make, say } from "./dom.js";
import { count, duration, long, rate, share } from "./format.js";
import { Chart } from "./chart.js";
import { showChips, showWhys, whys } from "./flags.js";
import { pairs, scroller, section, table } from "./parts.js";

const columns = ["Endpoint", "Status", "Share", "Connections|n", "Idle|n", "Shared|n", "Load|n", "Latency|n", "Good|n", "Failed|n", "Refused|n", "Ejections|n", "Moved|n", "Zone", "Priority|n"];

export class Endpoints {
  constructor() {
    this.note = make("span", { class: "note" });
    this.flags = make("span", { class: "flags" });
    this.reasons = whys();
    const sum = (k) => (p) => p.s.layers && p.s.layers.endpoints > 0 ? p.s.layers[k] : null;
    const a = (k) => (p) => p.layered && p.s.layers.endpoints > 0 ? p.layered[k] : null;
    this.moving = [
      new Chart({ title: "Endpoints", stacked: true, series: [
        { label: "in use", css: "leased", area: true, of: (p) => (sum("endpoints")(p) == null ? null : p.s.layers.endpoints - p.s.layers.ejected) },
        { label: "ejected", css: "alert", area: true, of: sum("ejected") }] }),
      new Chart({ title: "Evidence a second", format: rate, series: [
        { label: "good", css: "leased", of: a("good") }, { label: "refused", css: "making", of: a("refused") }, { label: "failed", css: "alert", of: a("bad") }] }),
    ];
    this.table = table("Endpoints", columns);
    this.figures = make("dl", { class: "figures" });
    this.section = section(["Endpoints", this.note, this.flags], "endpoints", this.reasons, scroller("Endpoints", this.table), this.figures,
      make("div", { class: "grid two moving" }, ...this.moving.map((c) => c.figure)));
    this.section.hidden = true;
  }

  // show draws what a pool has; e is undefined if it is not spread.
  show(e, flags, history, t) {
    this.section.hidden = !e;
    if (!e) return;
    const all = e.rows ?? [];
    say(this.note, all.length < e.matched ? `${count(all.length)} of ${count(e.matched)}` : count(e.matched));
    showChips(this.flags, flags);
    showWhys(this.reasons, flags);
    for (const c of this.moving) c.show(history, t);
    keyed(this.table.body, all, (r) => r.addr, newRow, showRow);
    this.table.classList.toggle("none", all.length === 0);
    pairs(this.figures, [
      ["priority in use", count(e.priority)], ["failovers", count(e.failovers)], ["failbacks", count(e.failbacks)],
      ["connections moved", count(e.moved)], ["moves failed", count(e.moves_failed)],
      ["answers applied", count(e.updates)], ["answers not applied", count(e.updates_failed)],
    ]);
  }
}

// newRow has a bar beside the text of the share.
function newRow() {
  const cells = columns.map((c) => make("td", { class: c.split("|")[1] }));
  const level = make("i", { class: "leased" });
  const text = make("span");
  cells[2].append(make("span", { class: "levels part", "aria-hidden": "true" }, level), text);
  return Object.assign(make("tr", {}, ...cells), { parts: cells, level, text });
}

function showRow(tr, r) {
  const status = [`${r.status} for ${long(r.for_seconds)}`, r.failing && !r.ejected && "failing", r.ejected && r.ranked && "used nevertheless", r.cause].filter(Boolean).join(": ");
  const values = [r.addr, status, null, count(r.idle + r.leased), count(r.idle), count(r.shared), count(r.load), r.latency_seconds ? duration(r.latency_seconds) : "–",
    count(r.good), count(r.bad), count(r.refused), count(r.ejections), count(r.moved), r.zone ?? "", count(r.priority)];
  values.forEach((v, i) => { if (v != null) say(tr.parts[i], v); });
  tr.level.style.width = `${100 * r.share}%`;
  say(tr.text, share(r.share, 1));
  attribute(tr, "data-status", r.ejected ? "ejected" : r.status);
}
