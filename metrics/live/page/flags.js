// What is wrong with a pool, and why. The server says it, in flags.go; only what is computed
// from rates is said here.

import { attribute, keyed, make, say } from "./dom.js";
import { rate } from "./format.js";

// docs.at is the address before the name of a document.
export const docs = { at: "" };

// flagsOf returns the flags of a pool, or of one of its parts.
export const flagsOf = (s, of = "", name = null, key = null) => (s.flags ?? []).filter((f) =>
  (f.of ?? "") === of && (name == null || (f.name ?? "") === name) && (key == null || (f.key ?? "") === key));

const id = (f) => [f.of, f.name, f.key, f.kind].join(" ");

// sections have the reasons for the flags of the parts of a pool.
const sections = { quota: "#quotas", mux: "#shared", endpoints: "#endpoints" };

// showChips shows flags as a few words each. With whole they have the names of the parts, and
// with jump they lead to where the reason is.
export function showChips(e, all, { whole = false, jump = false } = {}) {
  const chip = (f) => (jump && f.of ? make("a", { href: sections[f.of] }) : make("span"));
  keyed(e, all.filter((f) => f.level !== "note"), id, chip, (c, f) => {
    attribute(c, "class", `flag ${f.level}`);
    say(c, whole && f.name ? `${f.name}: ${f.text}` : f.text);
  });
}

// whys is a list for showWhys.
export const whys = () => make("ul", { class: "whys", hidden: true });

// showWhys shows a sentence for each flag, and where it says what to do. With whole it has the
// names of the parts.
export function showWhys(ul, all, whole = false) {
  ul.hidden = all.length === 0;
  keyed(ul, all, id, () => make("li", {}, make("b"), " ", make("span"), " ", guide()), (li, f) => {
    const [what, why, to] = li.children;
    say(what, whole && f.name ? `${f.name}: ${f.text}:` : `${f.text}:`);
    say(why, f.why);
    attribute(to, "href", docs.at + f.doc);
    attribute(to, "aria-label", `What to do about: ${f.text} (opens a new tab)`);
  });
}

// guide is a link to a document; its accessible name says what it is about.
const guide = () => make("a", { target: "_blank", rel: "noreferrer noopener" }, "What to do");

// failing is the flag of a pool of which acquires fail now.
export function failing(history) {
  const all = history.rate("unserved");
  if (!(all > 0)) return [];
  const by = Object.entries(history.failing()).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1])
    .map(([reason, n]) => `${rate(n)} by ${reason.replaceAll("_", " ")}`);
  return [{
    kind: "failing", level: "note", text: "acquires fail", doc: "failures.md#an-acquire-fails",
    why: `${rate(all)} acquires a second fail${by.length ? `: ${by.join(", ")}` : ""}.`,
  }];
}
