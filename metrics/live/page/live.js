// The page: its state, and the stream of events that feeds it.

import { attribute, say } from "./dom.js";
import { docs } from "./flags.js";
import { clock } from "./format.js";
import { History, span } from "./history.js";
import { showOverview } from "./overview.js";
import { One } from "./one.js";
import { openReport } from "./report.js";

const $ = (id) => document.getElementById(id);
const histories = new Map(); // by name of pool
const choice = { pool: null, state: "", sort: "id", find: "", span: "minute", pools: "" };
let overview = null, detail = null, one = null, arrived = 0;

// link moves from one pool to another.
const link = {
  to: (name) => `?${new URLSearchParams({ pool: name })}`,
  go(name) {
    if (name !== choice.pool) history.pushState(null, "", name == null ? location.pathname : link.to(name));
    if (name !== choice.pool) enter();
    window.scrollTo(0, 0);
    $("main").focus({ preventScroll: true });
  },
};

// addressed returns the pool in the address, or null.
const addressed = () => new URLSearchParams(location.search).get("pool");

// enter shows the pool in the address, or all pools.
function enter() {
  const pool = addressed();
  Object.assign(choice, { pool, state: "", sort: "id", find: "" });
  one?.advice.leave();
  detail = one = null;
  if (pool != null) one = new One($("one"), pool, choice, () => stream.open());
  $("overview").hidden = pool != null || !overview;
  $("one").hidden = pool == null;
  $("crumb").hidden = pool == null;
  say($("crumb"), pool ?? "");
  $("crumb").setAttribute("title", pool ?? "");
  document.title = pool ? `${pool} · Pools` : "Pools";
  attribute($("json"), "href", pool == null ? "pools.json" : `pool.json${link.to(pool)}`);
  attribute($("ticket-link"), "href", pool == null ? "report.txt" : `report.txt${link.to(pool)}`);
  attribute($("one"), "aria-busy", pool != null ? "true" : null);
  $("one").classList.remove("lost", "blank");
  paint();
  if (stream.paused && pool == null && overview) stream.close(); // the overview stays unchanged
  else stream.open();
}

function paint() {
  if (!overview) return;
  const minute = choice.span === "minute";
  if (choice.pool == null) {
    $("overview").hidden = false;
    showOverview($("overview"), overview, histories, minute, link);
    const none = overview.pools.length === 0;
    $("pools").hidden = none;
    $("nopools").hidden = !none;
    say($("nopools"), none ? (choice.pools ? "No pool has such a name." : "No pool is watched yet. A pool appears here once a meter watches it.") : "");
  } else if (detail && detail.name === choice.pool) {
    const lost = detail.gone || detail.problem;
    one.root.classList.toggle("lost", Boolean(lost));
    one.root.classList.toggle("blank", Boolean(lost) && !one.d);
    if (!lost) one.show(detail, histories.get(detail.name) ?? new History(), overview.life, minute);
    attribute($("one"), "aria-busy", null);
  }
  const missing = choice.pool == null || !detail ? "" : detail.problem ? `This pool cannot be shown: ${detail.problem}.`
    : !detail.gone ? "" : one.d ? "This pool is no longer watched. These are its last figures." : "No pool of this name is watched.";
  $("missing").hidden = missing === "";
  say($("missing"), missing);
  say($("asof"), `As of ${clock(Date.parse(overview.time))}.`);
}

// remember adds a summary to the history of its pool.
function remember(s, time) {
  if (!histories.has(s.name)) histories.set(s.name, new History());
  if (!s.problem && !s.gone) histories.get(s.name).add(Date.parse(time) / 1000, overview.life, overview.every_seconds, s);
}

function onPools(g) {
  overview = g;
  docs.at = g.docs;
  for (const s of g.pools) remember(s, g.time);
  const t = Date.parse(g.time) / 1000;
  // A pool that is gone is forgotten when its charts would be empty.
  for (const [name, h] of histories) if (h.last && Math.abs(t - h.last.t) > span) histories.delete(name);
}

// recall fetches the histories of the pools in sight, so that charts do not begin when
// the page was opened. Without an answer they do.
async function recall() {
  const q = choice.pool != null ? { pool: choice.pool } : choice.pools ? { find: choice.pools } : {};
  try {
    const r = await fetch(`history.json?${new URLSearchParams(q)}`, { cache: "no-store" });
    if (!r.ok) return;
    const { life, pools } = await r.json();
    for (const p of pools) {
      if (!histories.has(p.name)) histories.set(p.name, new History());
      histories.get(p.name).recall(life, p);
    }
  } catch {
    return;
  }
  paint();
}

// stream is the connection to the server. It is closed while paused, and a minute
// after the page was hidden, so that the server collects nothing that is not seen.
// A view that is opened while paused gets one update.
const stream = {
  source: null, timer: 0, tries: 0, paused: false, away: false, broken: false,

  open() {
    this.close();
    if (this.away) return;
    const q = new URLSearchParams();
    if (choice.pool != null) for (const k of ["pool", "state", "sort", "find"]) q.set(k, choice[k]);
    else if (choice.pools) q.set("find", choice.pools);
    const url = `events?${q}`;
    const source = new EventSource(url);
    this.source = source;
    source.onopen = () => { recall(); }; // again after each gap
    source.addEventListener("pools", (e) => {
      onPools(JSON.parse(e.data));
      this.comes(choice.pool == null);
    });
    source.addEventListener("pool", (e) => {
      detail = JSON.parse(e.data);
      remember(detail, detail.time); // the overview may lack it
      this.comes(true);
    });
    source.onerror = () => {
      this.broken = true;
      // EventSource reconnects by itself, but not after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) {
        this.retry();
        this.why(url);
      }
      this.tell();
    };
    arrived = performance.now();
    this.tell();
  },

  // comes is called for each event; whole reports that it was the last of an update.
  comes(whole) {
    Object.assign(this, { tries: 0, broken: false });
    arrived = performance.now();
    $("trouble").hidden = true;
    if (whole) {
      paint();
      if (this.paused) this.close();
    }
    this.tell();
  },

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  },

  retry() {
    this.close();
    this.timer = setTimeout(() => this.open(), Math.min(10, 2 ** this.tries++) * 1000 * (0.75 + Math.random() / 2));
  },

  // why shows the answer of the server that is not a stream; EventSource hides it.
  async why(url) {
    const look = new AbortController();
    let text = "";
    try {
      const r = await fetch(url, { signal: look.signal, cache: "no-store" });
      const plain = r.headers.get("Content-Type")?.startsWith("text/plain");
      if (!r.ok) text = plain ? (await r.text()).slice(0, 300) : `${r.status} ${r.statusText}`;
      else if (!r.headers.get("Content-Type")?.startsWith("text/event-stream")) text = "another page was served; is a login needed?";
    } catch {
      return; // no answer at all: "Reconnecting" says so
    } finally {
      look.abort();
    }
    if (!this.broken || text === "") return;
    say($("trouble"), `No figures arrive: ${text}`);
    $("trouble").hidden = false;
  },

  // tell shows how current the figures are.
  tell() {
    const [css, text] = this.paused && overview ? ["paused", `Paused at ${clock(Date.parse(overview.time))}`]
      : this.paused ? ["paused", "Paused"] : !overview ? ["waiting", "Connecting"]
      : this.broken ? ["waiting", "Reconnecting"] : ["live", "Live"];
    attribute($("news"), "class", `news ${css}`);
    say($("news"), text);
    document.body.classList.toggle("stale", css === "waiting" && overview != null);
  },
};

function pause() {
  stream.paused = !stream.paused;
  attribute($("pause"), "aria-pressed", stream.paused);
  say($("pause"), stream.paused ? "Resume" : "Pause");
  if (stream.paused) stream.close();
  else stream.open();
  stream.tell();
}

function spanTo(value) {
  choice.span = value;
  for (const r of document.querySelectorAll("input[name=span]")) r.checked = r.value === value;
  paint();
}

$("pause").addEventListener("click", pause);
$("report").addEventListener("click", () => openReport(choice.pool));
$("home").addEventListener("click", (e) => {
  if (e.metaKey || e.ctrlKey || e.shiftKey) return;
  e.preventDefault();
  link.go(null);
});
for (const r of document.querySelectorAll("input[name=span]")) r.addEventListener("change", () => spanTo(r.value));
let typed = 0;
$("findpool").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    choice.pools = $("findpool").value;
    stream.open();
  }, 250);
});
addEventListener("popstate", () => {
  if (addressed() !== choice.pool) enter(); // otherwise only the part after # changed
});

document.addEventListener("keydown", (e) => {
  if ($("ticket").open) return; // the keys are those of the dialog
  const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) && e.target.type !== "radio";
  if (e.key === "Escape") {
    if (writing) e.target.blur();
    else if (choice.pool != null) link.go(null);
    return;
  }
  if (writing || e.metaKey || e.ctrlKey || e.altKey) return;
  if (e.key === "p") pause();
  else if (e.key === "w") spanTo(choice.span === "minute" ? "all" : "minute");
  else if (e.key === "/") $(choice.pool == null ? "findpool" : "findresource")?.focus();
  else return;
  e.preventDefault();
});

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => {
      stream.away = true;
      stream.close();
    }, 60_000);
  } else if (stream.away) {
    stream.away = false;
    if (!stream.paused) stream.open();
  }
});

// A connection over which nothing arrives any more raises no error.
setInterval(() => {
  const late = performance.now() - arrived > Math.max(5000, 4000 * (overview?.every_seconds ?? 1));
  if (late && stream.source) {
    stream.broken = true;
    if (stream.source.readyState === EventSource.OPEN) stream.retry();
  }
  stream.tell();
}, 1000);

enter();
