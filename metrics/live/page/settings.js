// How a pool and the layers above it are configured.

import { make, say } from "./dom.js";
import { count } from "./format.js";
import { rows, scroller, section, table } from "./parts.js";

export class Settings {
  constructor() {
    this.note = make("span", { class: "note" });
    this.table = table("Settings", ["Setting", "Value", "Set by", "Of"]);
    this.only = make("input", { type: "checkbox" });
    this.only.addEventListener("change", () => this.show(this.all, this.multiplexers));
    this.section = section(["Settings", this.note], "settings",
      make("div", { class: "tools" }, make("label", {}, this.only, make("span", {}, "Only what is not the default"))),
      scroller("Settings", this.table));
  }

  // show lists the settings of the pool and of its multiplexers.
  show(all, multiplexers) {
    Object.assign(this, { all, multiplexers });
    const list = [...all.map((s) => ({ ...s })),
      ...multiplexers.flatMap((m) => (m.settings ?? []).map((s) => ({ ...s, of: `${s.of} of ${m.name}` })))];
    const own = list.filter((s) => !s.default);
    this.section.hidden = list.length === 0;
    say(this.note, `${count(own.length)} of ${count(list.length)} are not the default`);
    rows(this.table, this.only.checked ? own : list, (s) => `${s.of} ${s.name}`, (s) => [s.name, s.value, s.default ? "default" : "you", s.of],
      (tr, s) => tr.classList.toggle("default", Boolean(s.default)));
  }
}
