// The page: what it shows, and the stream that it shows it from.

import { attribute, say } from "./dom.js";
import { clock } from "./format.js";
import { History } from "./history.js";
import { showGlance } from "./glance.js";
import { One } from "./one.js";

const $ = (id) => document.getElementById(id);
const histories = new Map(); // by name of pool
const choice = { pool: null, state: "", sort: "id", find: "", span: "minute", pools: "" };
let glance = null, detail = null, one = null, arrived = 0;

// link is how the page goes from one pool to another.
const link = {
  to: (name) => `?${new URLSearchParams({ pool: name })}`,
  go(name) {
    history.pushState(null, "", name == null ? location.pathname : link.to(name));
    enter();
    window.scrollTo(0, 0);
    $("main").focus({ preventScroll: true });
  },
};

// enter shows what the address says.
function enter() {
  const pool = new URLSearchParams(location.search).get("pool");
  Object.assign(choice, { pool, state: "", sort: "id", find: "" });
  detail = one = null;
  if (pool != null) one = new One($("one"), pool, choice, () => stream.open());
  $("glance").hidden = pool != null || !glance;
  $("one").hidden = pool == null;
  $("crumb").hidden = pool == null;
  say($("crumb"), pool ?? "");
  $("crumb").setAttribute("title", pool ?? "");
  document.title = pool ? `${pool} · Pools` : "Pools";
  attribute($("json"), "href", pool == null ? "pools.json" : `pool.json${link.to(pool)}`);
  attribute($("one"), "aria-busy", pool != null ? "true" : null);
  paint();
  stream.open();
}

function paint() {
  if (!glance) return;
  const minute = choice.span === "minute";
  if (choice.pool == null) {
    $("glance").hidden = false;
    showGlance($("glance"), glance, histories, minute, link);
    const none = glance.pools.length === 0;
    $("pools").hidden = none;
    $("nopools").hidden = !none;
    say($("nopools"), none ? (choice.pools ? "No pool has a name like that." : "No pool is watched yet. A pool appears here once a meter watches it.") : "");
  } else if (detail && detail.name === choice.pool) {
    const lost = detail.gone || detail.problem;
    document.body.classList.toggle("lost", Boolean(lost));
    if (!lost) one.show(detail, histories.get(detail.name) ?? new History(), glance.life, minute);
    attribute($("one"), "aria-busy", null);
  }
  if (choice.pool == null || !detail?.gone) delete $("main").dataset.gone;
  else $("main").dataset.gone = "This pool is not watched any more.";
  say($("asof"), `As of ${clock(Date.parse(glance.time))}.`);
}

function onPools(g) {
  glance = g;
  arrived = performance.now();
  const t = Date.parse(g.time) / 1000;
  for (const s of g.pools) {
    if (!histories.has(s.name)) histories.set(s.name, new History());
    if (!s.problem) histories.get(s.name).add(t, g.life, s);
  }
  // A pool that is gone is forgotten when its charts would be empty.
  for (const [name, h] of histories) if (h.last && t - h.last.t > 300) histories.delete(name);
}

// stream is the connection. It is closed while paused, and some time after the
// page went out of sight, so that nothing is collected that nobody sees.
const stream = {
  source: null, timer: 0, tries: 0, paused: false, away: false,

  open() {
    this.close();
    if (this.paused || this.away) return;
    const q = new URLSearchParams();
    if (choice.pool != null) for (const k of ["pool", "state", "sort", "find"]) q.set(k, choice[k]);
    else if (choice.pools) q.set("find", choice.pools);
    const source = new EventSource(`events?${q}`);
    this.source = source;
    source.addEventListener("pools", (e) => {
      this.tries = 0;
      arrived = performance.now();
      onPools(JSON.parse(e.data));
      if (choice.pool == null) paint();
      this.tell();
    });
    source.addEventListener("pool", (e) => {
      detail = JSON.parse(e.data);
      paint();
    });
    source.onerror = () => {
      // It tries again by itself, but not after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) this.retry();
      this.tell();
    };
    arrived = performance.now();
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

  // tell says in words how new the figures are.
  tell() {
    const open = this.source?.readyState === EventSource.OPEN;
    const [css, text] = this.paused ? ["paused", `Paused at ${glance ? clock(Date.parse(glance.time)) : "the start"}`]
      : open && glance ? ["live", "Live"] : glance ? ["waiting", "Reconnecting"] : ["waiting", "Connecting"];
    attribute($("news"), "class", `news ${css}`);
    say($("news"), text);
    document.body.classList.toggle("stale", css === "waiting" && glance != null);
  },
};

function pause() {
  stream.paused = !stream.paused;
  attribute($("pause"), "aria-pressed", stream.paused);
  say($("pause"), stream.paused ? "Go on" : "Pause");
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
addEventListener("popstate", enter);

document.addEventListener("keydown", (e) => {
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
    stream.open();
  }
});

// A connection over which nothing comes any more tells nobody.
setInterval(() => {
  const late = performance.now() - arrived > Math.max(5000, 4000 * (glance?.every_seconds ?? 1));
  if (late && stream.source?.readyState === EventSource.OPEN) stream.retry();
  stream.tell();
}, 1000);

enter();
