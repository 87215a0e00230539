// Chart: a line over the last five minutes, one point a second, drawn by hand.

import { h } from "./page.js";

const WIDTH = 300, HEIGHT = 100, KEPT = 300;

export class Rate {
  constructor() { this.points = []; }

  // `history` are totals, one a second, the latest last; `total` is what it is now.
  read(history, total) {
    const totals = [...history, total].slice(-KEPT - 1);
    this.points = totals.slice(1).map((one, n) => Math.max(0, one - totals[n]));
    // The last second is not over: it would look like a fall.
    if (this.points.length > 1) this.points.pop();
  }

  // What a glance should show: the last few seconds together.
  get now() {
    const recent = this.points.slice(-3);
    return recent.length ? recent.reduce((a, b) => a + b, 0) / recent.length : 0;
  }

  get top() { return Math.max(1, ...this.points); }

  draw() {
    const x = n => WIDTH - (this.points.length - 1 - n) * (WIDTH / (KEPT - 1));
    const y = value => HEIGHT - 4 - (value / this.top) * (HEIGHT - 14);
    const line = this.points.map((one, n) => `${n ? "L" : "M"}${x(n).toFixed(1)} ${y(one).toFixed(1)}`).join("");
    const area = line && `${line}L${WIDTH} ${HEIGHT}L${x(0).toFixed(1)} ${HEIGHT}Z`;
    return h("svg:svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      [0.5, 1].map(part => h("svg:line", { class: "rule", x1: 0, x2: WIDTH, y1: y(this.top * part), y2: y(this.top * part) })),
      h("svg:line", { class: "rule", x1: 0, x2: WIDTH, y1: HEIGHT - 4, y2: HEIGHT - 4 }),
      area && h("svg:path", { class: "area", d: area }), line && h("svg:path", { class: "line", d: line }));
  }
}
