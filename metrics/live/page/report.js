// The report for the ticket of a bug: a text that is copied, or else selected.

import { say } from "./dom.js";

const $ = (id) => document.getElementById(id);

let opened = 0; // how often the dialog was opened

// openReport shows the report of a pool, or of all pools, and copies it. An answer that comes after
// the dialog was opened again is dropped.
export async function openReport(pool) {
  const [box, text] = [$("ticket"), $("ticket-text")];
  say($("ticket-state"), "Collecting the report.");
  text.value = "";
  const own = ++opened;
  box.showModal();
  try {
    const r = await fetch(`report.txt${pool == null ? "" : `?${new URLSearchParams({ pool })}`}`, { cache: "no-store" });
    const answer = await r.text();
    if (own !== opened) return;
    if (!r.ok) throw new Error(answer.slice(0, 200));
    text.value = answer;
  } catch (e) {
    if (own !== opened) return;
    say($("ticket-state"), `There is no report: ${e.message}`);
    return;
  }
  await copyReport();
}

// copyReport copies the text. Without the permission, which a page that is served by http from
// another host never has, it is selected, so that the keys copy it.
export async function copyReport() {
  const text = $("ticket-text");
  text.focus();
  text.select();
  text.scrollTop = 0;
  const own = opened;
  const done = await copied(text);
  if (own === opened) say($("ticket-state"), done ? "The report is in the clipboard." : "The browser does not let the page copy. The report is selected: press Ctrl+C, or ⌘C.");
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text.value);
    return true;
  } catch {
    return document.execCommand("copy"); // of what is selected
  }
}

$("ticket-copy").addEventListener("click", copyReport);
$("ticket-close").addEventListener("click", () => $("ticket").close());
