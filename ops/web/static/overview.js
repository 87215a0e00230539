// Overview: how the whole is doing, at a glance and then in detail.

import { Rate } from "./chart.js";
import { act } from "./acting.js";
import { ask, card, h, measure, row } from "./page.js";
import { clock, count, name, span, t, yuan } from "./words.js";

const rate = new Rate();
let asides = { dead_letters: [], quarantine: [] };
let asidesAt = 0;

export async function overview() {
  const found = await ask("/ops/api/overview");
  rate.read(found.history, found.settled);
  const waiting = found.queues.quarantine + found.queues.dead_letters;
  if (waiting !== asidesAt) {
    asides = await ask("/ops/api/asides");
    asidesAt = waiting;
  }
  return { health: health(found), content: [tiles(found), columns(found)], found };
}

export function refreshAsides() { asidesAt = -1; }

function health(found) {
  const q = found.queues, d = found.deadlines;
  if (q.redis !== "up" || (found.audit && !found.audit.ok) || q.dead_letters || !q.workers_alive) return "bad";
  if (q.oldest_seconds > 30 || d.worst_overdue_seconds > 60 || q.outbox.lag_seconds > 60) return "warn";
  return "good";
}

function tile(title, number, under, level = "") {
  return h("section", { class: `card tile ${level}` }, h("h2", {}, title),
    h("div", { class: "number" }, number), h("div", { class: "under" }, under || ""));
}

function tiles(found) {
  const q = found.queues, c = q.queues.commands || { waiting: 0, in_flight: 0 }, d = found.deadlines;
  const armed = Object.values(d.armed).reduce((a, b) => a + b, 0);
  const old = q.oldest_seconds;
  return h("div", { class: "tiles" },
    tile(t("waiting"), count(c.waiting), q.inbox.commands ? t("of_inbox", count(q.inbox.commands)) : ""),
    tile(t("in_flight"), count(c.in_flight)),
    tile(t("oldest"), old ? span(old) : t("none"), old ? "" : t("nothing_waits"), old > 30 ? "bad" : old > 5 ? "warn" : ""),
    tile(t("settled_rate"), count(rate.now < 10 ? rate.now.toFixed(1) : Math.round(rate.now)), t("total_settled", count(found.settled))),
    tile(t("due_hour"), count(d.due_within), t("armed", count(armed))),
    tile(t("overdue"), count(d.overdue), d.overdue ? t("worst", span(d.worst_overdue_seconds)) : "", d.worst_overdue_seconds > 60 ? "bad" : d.overdue ? "warn" : ""));
}

function columns(found) {
  return h("div", { class: "columns" },
    h("div", { class: "stack" }, chart(), deadlines(found.deadlines), setAside(), orders(found.orders, found.standstill)),
    h("div", { class: "stack" }, money(found), processes(found), times(found)));
}

function chart() {
  const made = card(t("chart"), rate.draw(), h("div", { class: "axis" }, h("span", {}, t("minutes_ago", 5)), h("span", {}, t("now"))));
  made.firstChild.append(h("span", { class: "more number" }, `max ${count(Math.round(rate.top))}`));
  return made;
}

function deadlines(found) {
  if (!found.next.length) return card(t("deadlines"), h("p", { class: "empty" }, t("no_deadlines")));
  return card(t("deadlines"), h("div", { class: "list" }, found.next.map(one => row(
    h("a", { href: `/ops/orders/${encodeURIComponent(one.order_id)}` }, h("code", {}, one.order_id), " ", h("span", { class: "pill live" }, name(one.state))),
    one.seconds < 0 ? t("late_by", span(one.seconds)) : t("in", span(one.seconds)), one.seconds < 0 ? "warn-text" : "soft"))));
}

function money(found) {
  const most = Math.max(1, ...Object.values(found.money).map(Math.abs));
  const audit = found.audit;
  const verdict = !audit ? [t("audit_none"), "faint"] : audit.ok ? [t("audit_ok", count(audit.orders)), "good-text"] : [t("audit_bad", audit.findings.length), "bad-text"];
  return card(t("money"), h("div", { class: "list" },
    Object.entries(found.money).map(([family, fen]) => measure(name(family), yuan(fen), Math.abs(fen) / most)),
    owed(t("refunds"), found.refunds), owed(t("payouts"), found.payouts),
    row(t("audit"), verdict[0], verdict[1]),
    audit && h("div", { class: "small faint" }, t("ago", span(audit.age_seconds)))),
    audit && audit.findings.slice(0, 5).map(one => h("p", { class: "note bad" }, `${one.law}: ${one.where} ${one.detail}`)));
}

function owed(word, one) {
  const told = [one.waiting && `${count(one.waiting)} · ${yuan(one.fen)}`, one.failed && `${name("failed")} ${count(one.failed)}`, one.held && `${t("payout_held")} ${count(one.held)}`].filter(Boolean);
  return row(word, told.join(" · ") || t("none"), one.failed ? "warn-text" : "soft");
}

function orders(found, still) {
  const most = Math.max(1, ...Object.values(found));
  const shown = Object.entries(found).filter(([, n]) => n);
  if (!shown.length) return card(t("orders"), h("p", { class: "empty" }, t("none")));
  return card(t("orders"), h("div", { class: "list" }, shown.map(([state, n]) => measure(name(state), count(n), n / most)),
    ["arbitrations_overdue", "clocks_stopped", "creators_banned"].filter(one => still[one]).map(one => row(t(one), count(still[one]), one === "arbitrations_overdue" ? "bad-text" : "warn-text"))));
}

function processes(found) {
  const q = found.queues;
  const light = (label, good, text) => row(h("span", { class: "state" }, h("span", { class: `dot ${good ? "good" : "bad"}` }), label), text, "soft");
  return card(t("processes"), h("div", { class: "list" },
    light(t("redis"), q.redis === "up", q.redis === "up" ? t("up") : t("away")),
    light(t("workers"), q.workers_alive > 0, t("alive", q.workers_alive)),
    q.stalled.length ? row(t("stalled"), count(q.stalled.length), "bad-text") : null,
    light(t("relay"), q.relay, q.relay ? t("up") : t("away")),
    light(t("scheduler"), q.scheduler, q.scheduler ? t("up") : t("away"))));
}

function times(found) {
  const sent = Object.entries(found.reminders).map(([key, n]) => {
    const [who, why] = key.split("|");
    return row(`${t("reminders")}: ${t(who)}, ${name(why)}`, count(n), "soft");
  });
  const told = (key, one) => one.count ? t(key, span(one.half_below), one.most_below === null ? "—" : span(one.most_below)) : t("none");
  return card(t("times"), h("div", { class: "list" },
    row(t("settle"), told("settle_is", found.settle), "soft small"),
    row(t("lateness"), told("lateness_is", found.lateness), "soft small"),
    row(t("outbox"), found.queues.outbox.events ? `${count(found.queues.outbox.events)} · ${span(found.queues.outbox.lag_seconds)}` : t("none"), "soft"),
    sent.length ? sent : row(t("reminders"), t("none"), "soft")));
}

function setAside() {
  const letters = asides.dead_letters, items = asides.quarantine;
  if (!letters.length && !items.length) return card(t("asides"), h("p", { class: "empty" }, t("no_asides")));
  return card(t("asides"),
    letters.map(one => aside(`${t("dead_letters")} ${one.letter}`, [name(one.kind), one.command], one.error, one.received_at,
      h("button", { class: "replay", onclick: () => act(t("replay"), `/ops/api/dead-letters/${one.letter}/replay`) }, t("replay")))),
    items.map(one => aside(`${t("quarantine")} ${one.item}`, [one.queue, `${count(one.bytes)} B`], `${one.reason} — ${one.beginning}`, one.at,
      h("button", { class: "danger", onclick: () => act(t("drop"), `/ops/api/quarantine/${one.item}/drop`) }, t("drop")))));
}

function aside(title, marks, text, at, button) {
  return h("div", { class: "aside" },
    h("div", { class: "head" }, h("span", {}, h("span", { class: "pill bad" }, title), " ", marks.filter(Boolean).join(" · ")), button),
    h("code", {}, text), h("span", { class: "small faint" }, clock(at)));
}
