// Columns: a chart of one figure over time, and a table of many, drawn by hand.

import { h } from "./page.js";

const WIDTH = 300, HEIGHT = 100, FOOT = 4, WIDEST = 25;

// `points` are {label, value, told}; what is told of one appears where the pointer rests.
export function columns(points) {
  const most = Math.max(1, ...points.map(one => one.value)), wide = Math.min(WIDEST, WIDTH / Math.max(1, points.length));
  const bars = points.map((one, n) => {
    const high = one.value && Math.max(1, (one.value / most) * (HEIGHT - FOOT - 10));
    const bar = h("svg:rect", { class: "column", x: (n * wide + wide * 0.1).toFixed(2), width: (wide * 0.8).toFixed(2), y: (HEIGHT - FOOT - high).toFixed(2), height: high.toFixed(2) });
    bar.append(h("svg:title", {}, one.told));
    return bar;
  });
  const floor = h("svg:line", { class: "rule", x1: 0, x2: WIDTH, y1: HEIGHT - FOOT, y2: HEIGHT - FOOT });
  const chart = h("svg:svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, floor, bars);
  const ends = points.length ? [points[0].label, points[points.length - 1].label] : [];
  return h("div", {}, chart, h("div", { class: "axis" }, ends.map(one => h("span", {}, one))));
}

export function table(heads, lines) {
  const cells = (kind, line) => line.map((one, n) => h(kind, { class: n ? "n" : "" }, one));
  return h("div", { class: "wide" }, h("table", {}, h("thead", {}, h("tr", {}, cells("th", heads))),
    h("tbody", {}, lines.map(line => h("tr", {}, cells("td", line))))));
}
