// Reports: what became of all orders, what was booked, and what falls due next.

import { columns, table } from "./columns.js";
import { ask, card, h, measure, row } from "./page.js";
import { r, share } from "./reading_words.js";
import { clock, count, name, span, yuan } from "./words.js";

const HOURS = 24, MOST = 100;
const PARTS = ["client", "creator", "mcn", "task_type", "month"];
const BROKEN = { funnel, endings, money };

export async function reports() {
  const found = {};
  for (const [key, path] of [["funnel", "funnel"], ["endings", "endings"], ["money", "money"], ["months", "money?by=month"],
    ["forecast", `forecast?hours=${HOURS}`], ["hours", `forecast?by=hour&hours=${HOURS}`]]) found[key] = await made(path);
  const place = h("div", { class: "stack", id: "broken" });
  return { content: [h("div", { class: "columns" },
    h("div", { class: "stack" }, stages(found.funnel), months(found.months), ended(found.endings)),
    h("div", { class: "stack" }, due(found.forecast, found.hours), booked(found.money))),
  card(r("by"), pick(place)), place, h("p", { class: "small faint" }, `${r("as_of", clock(found.funnel.at))} · ${found.funnel.zone}`)] };
}

// One report is made at a time; somebody else's may have to end first.
async function made(path) {
  for (let left = 60; ; left -= 1) {
    try {
      return await ask(`/reports/${path}`);
    } catch (error) {
      if (error.status !== 429 || !left) throw error;
      await new Promise(done => { setTimeout(done, 1000); });
    }
  }
}

function stages(found) {
  const lines = found.rows.map(one => measure([r(one.stage), " ", h("span", { class: "small faint" }, one.median_seconds === null ? "" : r("took", span(one.median_seconds)))],
    [count(one.orders), " ", h("span", { class: "small soft" }, r("of_placed", share(one.of_placed)))], one.of_placed || 0));
  return card(r("funnel"), h("div", { class: "list", id: "funnel" }, lines.length ? lines : h("p", { class: "empty" }, r("none"))));
}

function ended(found) {
  const most = Math.max(1, ...found.rows.map(one => one.orders));
  const lines = found.rows.map(one => measure(`${name(one.state)} · ${name(one.reason)}`, `${count(one.orders)} · ${yuan(one.total_fen)}`, one.orders / most));
  return card(r("endings"), h("div", { class: "list", id: "endings" }, lines.length ? lines : h("p", { class: "empty" }, r("none"))));
}

function months(found) {
  const points = found.rows.map(one => ({ label: one.month, value: one.received_fen, told: `${one.month}: ${yuan(one.received_fen)}` }));
  return card(r("months"), points.length ? columns(points) : h("p", { class: "empty" }, r("none")));
}

function booked(found) {
  const [sums = {}] = found.rows;
  return card(r("money"), h("div", { class: "list", id: "money" }, Object.entries(sums).map(([key, fen]) => row(r(key), yuan(fen)))));
}

function due(found, hours) {
  const byHour = new Map(hours.rows.map(one => [Date.parse(one.hour), one]));
  const first = Math.floor(Date.parse(hours.at) / 3_600_000) * 3_600_000;
  const points = Array.from({ length: HOURS + 1 }, (_, n) => first + n * 3_600_000).map(at => {
    const one = byHour.get(at) || { deadlines: 0, held_fen: 0, total_fen: 0 }, label = clock(new Date(at).toISOString());
    return { label, value: one.deadlines, told: `${label}: ${count(one.deadlines)}, ${r("at_stake", yuan(one.held_fen), yuan(one.total_fen))}` };
  });
  const lines = found.rows.map(one => row([name(one.state), one.overdue ? h("span", { class: "small warn-text" }, ` ${r("overdue", count(one.overdue))}`) : "",
    h("div", { class: "small faint" }, r("at_stake", yuan(one.held_fen), yuan(one.total_fen)))], count(one.deadlines)));
  return card(r("forecast", HOURS), columns(points), h("div", { class: "list", id: "forecast" }, lines.length ? lines : h("p", { class: "empty" }, r("none"))));
}

function pick(place) {
  const chosen = h("select", { id: "by", "aria-label": r("by"), onchange: () => fill(place, chosen.value) }, h("option", { value: "" }, r("by_none")),
    PARTS.map(one => h("option", { value: one }, r(one))));
  return chosen;
}

async function fill(place, by) {
  place.replaceChildren(...(by ? [h("p", { class: "empty" }, r("making"))] : []));
  if (!by) return;
  const cards = [];
  for (const [key, lines] of Object.entries(BROKEN)) {
    const { rows } = await made(`${key}?by=${by}`);
    const [heads, body] = lines(rows, by);
    cards.push(card(r(key), table(heads, body.slice(0, MOST)), body.length > MOST && h("p", { class: "small faint" }, r("rows_left", body.length - MOST))));
  }
  place.replaceChildren(...cards);
}

function funnel(rows, by) {
  const found = Object.entries(grouped(rows, by)).map(([key, all]) => [key || r("none"), ...all.map(one => `${count(one.orders)} (${share(one.of_placed)})`)]);
  return [[r(by), ...["placed", "offered", "accepted", "funded", "published", "completed"].map(one => r(one))], found];
}

function grouped(rows, by) {
  const found = {};
  for (const one of rows) (found[one[by] ?? ""] ||= []).push(one);
  return found;
}

function endings(rows, by) {
  return [[r(by), name("state"), r("orders"), r("total")], rows.map(one => [one[by] || r("none"), `${name(one.state)} · ${name(one.reason)}`, count(one.orders), yuan(one.total_fen)])];
}

function money(rows, by) {
  const keys = rows.length ? Object.keys(rows[0]).filter(one => one !== by) : [];
  return [[r(by), ...keys.map(one => r(one))], rows.map(one => [one[by] || r("none"), ...keys.map(key => yuan(one[key]))])];
}
