// Order: where it is, what happens next and when, and everything that led there.

import { ask, card, h, pairs, row } from "./page.js";
import { powers, powersOf, trail } from "./powers.js";
import { clock, limits, name, span, t, waiting, yuan } from "./words.js";

const FINAL = ["expired", "declined", "cancelled", "forfeited", "completed"];

export async function order(id) {
  const [found, mine] = await Promise.all([ask(`/ops/api/orders/${encodeURIComponent(id)}`), powersOf(id)]);
  document.title = `${id} · Earnest`;
  return { content: [title(found), next(found), h("div", { class: "columns" },
    h("div", { class: "stack" }, timeline(found)),
    h("div", { class: "stack" }, powers(found, mine), money(found), trail(found), parties(found), schedule(found), may(found), clocks(found), policy(found)))] };
}

function pill(found) {
  const level = ["forfeited", "balance_overdue", "in_arbitration"].includes(found.status) ? "bad" : FINAL.includes(found.status) ? "" : "live";
  return h("span", { class: `pill ${level}`, id: "status" }, name(found.status), found.reason ? ` · ${name(found.reason)}` : "");
}

function title(found) {
  return h("div", { class: "title" }, h("h1", {}, found.name), pill(found), h("code", { class: "faint" }, found.order_id));
}

function next(found) {
  const n = found.next;
  const said = !n ? [h("div", { class: "big" }, t("next_nothing"))]
    : n.stopped_by ? stopped(found, n) : n.alert_at ? undecided(found, n) : running(found, n);
  const late = n && n.overdue_seconds > 0;
  return h("section", { class: `card next ${late ? "warn" : ""}` }, h("h2", {}, t("next")), said, also(found));
}

function running(found, n) {
  const left = (new Date(n.due_at) - new Date(found.clock.at)) / 1000;
  const becomes = n.becomes.map(name).join(t("or"));
  const grace = n.lapses_at === n.due_at ? "" : t("grace", span((new Date(n.lapses_at) - new Date(n.due_at)) / 1000));
  return [
    h("div", { class: "big" }, t("waits_for", waiting(found.status)), " · ", h("span", { class: left < 0 ? "warn-text number" : "number" }, left < 0 ? t("late_by", span(left)) : t("in", span(left)))),
    h("div", { class: "soft" }, `${t("until")} ${clock(n.due_at)}${grace ? `, ${grace}` : ""}; ${t("then_becomes", becomes)}${effects(n.then)}`),
    n.numbers.counted && h("div", { class: "soft small" }, t("day_count", name(n.numbers.counted), clock(n.numbers.elapsed_due_at))),
    n.reminder_at && h("div", { class: "faint small" }, `${t("reminder_at")} ${clock(n.reminder_at)}`),
    n.held_back_by_backlog && h("div", { class: "warn-text small" }, t("held_back"))];
}

function undecided(found, n) {
  return [h("div", { class: "big" }, t("waits_for", waiting(found.status)), " · ", t("no_time_ends")),
    h("div", { class: "soft" }, `${t("told_at")} ${clock(n.alert_at)}`)];
}

function stopped(found, n) {
  return [h("div", { class: "big" }, t("waits_for", waiting(found.status)), " · ", h("span", { class: "warn-text" }, t("clock_stopped"))),
    ...n.stopped_by.map(one => h("div", { class: "soft" }, t("stopped_by", t(one.who)), ` · ${t("since")} ${clock(one.since)}`, one.until ? ` · ${t("until")} ${clock(one.until)}` : "")),
    h("div", { class: "soft" }, t("left", span(n.left_seconds)), n.due_then ? ` · ${t("runs_on", clock(n.resumes_at))} · ${t("due_then", clock(n.due_then))}` : "")];
}

function also(found) {
  const bans = found.creator.bans.map(one => h("div", { class: "warn-text small" },
    `${t("creator")} ${found.parties.creator} · ${t("banned")} ${clock(one.since)} – ${one.until ? clock(one.until) : t("for_good")} · `, h("code", {}, one.violation_id)));
  return bans.length ? bans : null;
}

// What it costs or gives back, of all that the account says.
function effects(terms) {
  const shown = { cost_fen: "costs", back_fen: "gives_back", forfeited_fen: "forfeits" };
  const said = Object.entries(shown).filter(([key]) => terms[key]).map(([key, word]) => t(word, yuan(terms[key])));
  if (terms.left !== undefined) said.push(t("left_n", terms.left));
  return said.length ? ` · ${said.join(", ")}` : "";
}

function timeline(found) {
  const steps = found.chain.map(one => ({ at: one.at, made: step(one) }))
    .concat(found.refused.map(one => ({ at: one.received_at, made: refusal(one) })));
  steps.sort((a, b) => new Date(a.at) - new Date(b.at));
  return card(t("timeline"), h("ol", { class: "timeline" }, steps.map(one => one.made)));
}

function step(one) {
  const cause = one.cause, byCommand = cause.kind === "command";
  const who = byCommand ? cause.by.split(" or ").map(whose) : [];
  const why = byCommand ? [who.join(t("or")), " ", t("by_command"), " ", h("code", {}, cause.id)]
    : [cause.kind === "deadline" ? t("by_deadline", name(cause.state)) : cause.kind === "reminder" ? t("by_reminder") : t("by_standing", name(cause.kind), cause.name)];
  const margin = one.margin_seconds !== null && byCommand && one.margin_seconds > 0 ? ` · ${t("before_deadline", span(one.margin_seconds))}` : "";
  const facts = one.events.flatMap(event => [event.amount_fen, event.held_fen, event.cost_fen, event.creator_fen].filter(fen => fen).slice(0, 1).map(fen => `${name(event.type)} ${yuan(fen)}`))
    .concat(one.events.map(event => event.note || event.comment).filter(Boolean).map(said => `“${said}”`));
  return h("li", { class: byCommand ? "" : "clock" },
    h("div", { class: "what" }, [...new Set(one.events.map(event => name(event.type)))].join(" · "), one.from !== one.to && one.from ? h("span", { class: "faint" }, `  → ${name(one.to)}`) : ""),
    h("div", { class: "why" }, h("time", { datetime: one.at, title: one.at }, clock(one.at)), " · ", ...why, margin),
    facts.length > 0 && h("div", { class: "facts" }, facts.join(" · ")));
}

function whose(party) {
  const [role, id] = party.split(":");
  return id ? `${t(role)} ${id}` : t(role);
}

function refusal(one) {
  return h("li", { class: "refused" }, h("div", { class: "what" }, t("refused"), ": ", name(one.reason)),
    h("div", { class: "why" }, h("time", { datetime: one.received_at, title: one.received_at }, clock(one.received_at)), " · ", one.by && `${whose(one.by)} `, h("code", {}, one.command_id)),
    one.limits && h("div", { class: "facts" }, limits(one.limits)));
}

function money(found) {
  const m = found.money;
  return card(t("money"), h("div", { class: "list" },
    row(t("total"), yuan(m.total_fen)), row(t("amount"), yuan(m.amount_fen)),
    m.original_amount_fen !== m.amount_fen && row(t("original"), yuan(m.original_amount_fen), "soft"),
    row(t("deposit"), yuan(m.deposit_fen)), row(t("held"), yuan(m.held_fen)), row(t("balance_due"), yuan(m.balance_due_fen), m.balance_due_fen ? "warn-text" : "soft"),
    m.refunds.map(one => debt(t("refund"), one.refund_id, one)), m.payouts.map(one => debt(t("payout"), one.payout_id, one))));
}

function debt(word, id, one) {
  const state = one.held_at ? `${name(one.status)}, ${t("payout_held")}` : name(one.status);
  return row([word, " ", h("code", { title: one.reference }, id)], `${yuan(one.amount_fen)} · ${state}`, one.status === "failed" || one.held_at ? "warn-text" : "soft");
}

function parties(found) {
  const link = id => id ? h("a", { href: `/ops?q=${encodeURIComponent(id)}` }, h("code", {}, id)) : t("none");
  return card(null, h("div", { class: "list" }, row(t("client"), link(found.parties.client)), row(t("creator"), link(found.parties.creator)),
    found.parties.mcn && row(t("mcn"), link(found.parties.mcn)), found.parties.mcn_share_bps ? row(t("mcn"), [h("code", {}, found.parties.payee_mcn), ` ${t("payee", `${found.parties.mcn_share_bps / 100} %`)}`]) : null,
    ["client", "creator"].map(side => found.parties[`${side}_provider`] && row(t("provider"), [h("code", {}, found.parties[`${side}_provider`]), ` ${t("acts_for", t(side))}`]))));
}

function may(found) {
  if (!found.may.length) return card(t("may"), h("p", { class: "empty" }, t("nobody")));
  return card(t("may"), h("div", { class: "list" }, found.may.filter(one => !one.terms.stands_in_for).map(right)));
}

function schedule(found) {
  const { expected_publish_at: at, proposal } = found.schedule;
  if (!at && !proposal) return null;
  return card(null, h("div", { class: "list" }, at && row(t("publish_at"), clock(at)),
    proposal && row(t("proposed", t(proposal.side)), [clock(proposal.expected_publish_at), h("span", { class: "faint small" }, ` · ${t("open_until")} ${clock(proposal.open_until)}`)], "soft")));
}

function right(one) {
  const who = one.who.map(who => t(who.role)).join(", ");
  if (one.refused) return row([name(one.command), h("span", { class: "faint small" }, ` · ${name(one.refused)}`)], who, "faint small");
  return row([name(one.command), h("span", { class: "soft small" }, effects(one.terms))], who, "soft small");
}

function clocks(found) {
  const n = found.next || {};
  return h("details", { class: "card" }, h("summary", {}, t("clocks")), pairs({
    [t("door_clock")]: clock(found.clock.at), [t("watermark")]: clock(found.clock.watermark), [`${name(found.status)} ${t("since")}`]: clock(found.since),
    [t("until")]: clock(n.due_at), [t("overdue")]: clock(n.lapses_at), [t("reminder_at")]: clock(n.reminder_at) }));
}

function policy(found) {
  const numbers = Object.fromEntries(Object.entries(found.policy.numbers).map(([key, value]) => [key, Array.isArray(value) ? value.join(", ") : value]));
  return h("details", { class: "card" }, h("summary", {}, t("policy"), " ", h("code", { class: "faint" }, found.policy.version)), pairs(numbers));
}
