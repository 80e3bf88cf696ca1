// Parts of the page of one pool.

import { keyed, make, say } from "./dom.js";

// section has a title, which may have elements behind the text, and an id.
export function section(title, id, ...children) {
  const [name, ...more] = [title].flat();
  return make("section", { id, "aria-label": name }, make("h2", {}, name, ...more), ...children);
}

// table has a column for each "Title", or "Title|n" where it has numbers.
export function table(caption, columns) {
  const body = make("tbody");
  const t = make("table", { class: "list" }, make("caption", { class: "unseen" }, caption),
    make("thead", {}, make("tr", {}, ...columns.map((c) => make("th", { scope: "col", class: c.split("|")[1] }, c.split("|")[0])))), body);
  return Object.assign(t, { body, kinds: columns.map((c) => c.split("|")[1]) });
}

// scroller lets a table that is too wide or too long scroll, by keyboard too.
export const scroller = (label, t) => make("div", { class: "card scroll", tabindex: 0, role: "region", "aria-label": `${label}, can be scrolled` }, t);

// rows shows a row of a table for each item; cells returns its texts.
export function rows(t, items, key, cells, more = () => {}) {
  keyed(t.body, items, key, () => make("tr", {}, ...t.kinds.map((css) => make("td", { class: css }))), (tr, item) => {
    cells(item).forEach((v, i) => say(tr.children[i], v));
    more(tr, item);
  });
  t.classList.toggle("none", items.length === 0);
}

// pairs shows [label, value] as a list.
export function pairs(dl, all) {
  keyed(dl, all, ([label]) => label, ([label]) => make("div", {}, make("dt", {}, label), make("dd")), (e, [, value]) => {
    say(e.lastChild, value);
    e.classList.toggle("zero", value === "0");
  });
}
