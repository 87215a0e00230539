// Powers: what an operator may do with an order, tried out first; forms are drawn from what the pipeline says of them.

import { done, open } from "./acting.js";
import { ask, card, h, keepToken, row, token } from "./page.js";
import { label, p } from "./power_words.js";
import { clock, limits, name, t, yuan } from "./words.js";

const OWN_FIRST = ["extend_deadline", "pause_clock", "resume_clock", "cancel_order"];

export async function powersOf(id) {
  return (await ask(`/ops/api/orders/${encodeURIComponent(id)}/powers`)).powers;
}

export function powers(order, found) {
  const rank = one => (OWN_FIRST.indexOf(one.kind) + OWN_FIRST.length + 1) % (OWN_FIRST.length + 1);
  const sensible = found.filter(one => makesSense(order, one));
  const own = sensible.filter(one => !one.lent).sort((a, b) => rank(a) - rank(b)), lent = sensible.filter(one => one.lent);
  const button = one => h("button", { [one.lent ? "data-lent" : "data-power"]: one.kind, class: one.kind === "cancel_order" ? "danger" : "", ...hindrance(order, one), onclick: () => use(order, one) }, heading(one.kind));
  const buttons = some => h("div", { class: "powers" }, some.map(button));
  if (!sensible.length) return null;
  return h("section", { class: "card", id: "powers" }, h("h2", {}, p("powers")), own.length > 0 && buttons(own),
    lent.length > 0 && h("details", {}, h("summary", {}, p("in_stead")), buttons(lent)));
}

// Of what the table allows, what the account of the order leaves out has nothing to be about: no pause, no work.
function makesSense(order, power) {
  if (power.names) return true;
  return power.lent ? allowed(order).some(one => one.terms.stands_in_for?.includes(power.kind)) : allowed(order).some(one => one.command === power.kind);
}

function allowed(order) { return order.may.filter(one => one.who.some(who => who.role === "operator")); }

function hindrance(order, power) {
  const refused = power.lent ? null : allowed(order).find(one => one.command === power.kind)?.refused;
  return refused ? { disabled: true, title: name(refused) } : {};
}

function heading(kind) {
  const said = name(kind);
  return said[0].toUpperCase() + said.slice(1);
}

export function trail(order) {
  const acts = order.chain.flatMap(step => step.events.filter(one => one.type === "operator.acted").map(one => ({ at: step.at, ...one })));
  if (!acts.length) return null;
  return card(p("trail"), h("div", { class: "list", id: "trail" }, acts.reverse().map(one => h("div", { class: "aside" },
    h("div", { class: "head" }, h("b", {}, heading(one.act)), h("span", { class: "small soft" }, one.by.replace("operator:", ""), " · ", h("time", { datetime: one.at, title: one.at }, clock(one.at)))),
    h("div", { class: "small" }, one.note),
    one.before && one.after && h("div", { class: "small faint" }, changes(one.before, one.after).map(([what, before, after]) => h("div", {}, `${what}: ${before} → ${after}`)))))));
}

function changes(before, after) {
  if (!before || !after) return [];
  const shown = { status: name, reason: name, due_at: clock, expected_publish_at: clock, amount_fen: yuan, held_fen: yuan, held: held => held ? t("payout_held") : "–" };
  const text = (values, key, write) => values[key] === null ? "–" : write(values[key]);
  return Object.entries(shown).filter(([key]) => before[key] !== after[key]).map(([key, write]) => [label(key), text(before, key, write), text(after, key, write)]);
}

function use(order, power) {
  const at = `/ops/api/orders/${encodeURIComponent(order.order_id)}`;
  const fields = power.entries.map(one => field(one, order));
  const reason = h("input", { name: "reason", required: true, minlength: 3, maxlength: 1000, placeholder: p("reason_hint"), autocomplete: "off" });
  const key = h("input", { name: "token", type: "password", required: !token(), autocomplete: "off", placeholder: token() ? "••••••••" : "" });
  const verdict = h("div", { class: "verdict", role: "status" });
  const button = h("button", { class: "main", type: "submit" }, p("preview"));
  let tried = null;
  const form = h("form", { method: "dialog", onsubmit: submit, oninput: forget }, h("h3", {}, heading(power.kind)),
    power.lent && h("p", { class: "small soft" }, p("in_stead_hint")), fields.map(one => one.made),
    h("label", {}, t("reason"), reason), h("label", {}, t("token_hint"), key), h("p", { class: "small faint" }, t("token_why")), verdict,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => key.closest("dialog").close() }, t("cancel")), button));
  open(form, form.querySelector("input, select, textarea"));

  function forget() {
    tried = null;
    button.textContent = p("preview");
    verdict.replaceChildren();
  }

  async function submit(event) {
    event.preventDefault();
    if (key.value) keepToken(key.value);
    button.disabled = true;
    try {
      await (tried ? act() : preview());
    } catch (error) {
      if (error.status === 401) keepToken(null);
      say("bad", t("failed") + error.message);
    } finally {
      button.disabled = false;
    }
  }

  async function preview() {
    const said = Object.fromEntries(fields.map(one => [one.name, one.read()]).filter(([, value]) => value !== undefined));
    const body = { kind: power.kind, lent: power.lent, said, reason: reason.value };
    const found = await ask(`${at}/preview`, body);
    verdict.replaceChildren(...foreseen(found));
    if (found.outcome !== "applied") return;
    tried = { ...body, id: found.id };
    button.textContent = t("do_it");
  }

  async function act() {
    const sent = await ask(`${at}/act`, tried);
    say("", t("sent"));
    const found = await ask(`${sent.outcome_at}?wait=20`);
    if (found.outcome === "applied") {
      key.closest("dialog").close();
      done();
    } else {
      say("bad", found.status === "settled" ? `${t("refused")}: ${name(found.reason)}` : p("no_outcome"));
      tried = null;
      button.textContent = p("preview");
    }
  }

  function say(level, text) { verdict.replaceChildren(h("p", { class: `note ${level}` }, text)); }
}

function foreseen(found) {
  if (found.outcome !== "applied") {
    const bounds = found.limits ? ` · ${limits(found.limits)}` : "";
    return [h("p", { class: "note bad", id: "verdict" }, `${p("would_refuse")}: ${name(found.reason)}${bounds}`)];
  }
  const moved = found.moves.map(one => row(`${name(one.from.split(":")[0])} → ${name(one.to.split(":")[0])}`, yuan(one.amount_fen), "small"));
  const events = [...new Set(found.events.map(one => one.type))].filter(one => one !== "operator.acted").map(name).join(" · ");
  return [h("p", { class: "note good", id: "verdict" }, p("would_apply")), h("div", { class: "list small" },
    changes(found.before, found.after).map(([what, before, after]) => row(what, `${before} → ${after}`, "small")), moved), h("p", { class: "small soft" }, events)];
}

function field(entry, order) {
  if (entry.takes === "flag") return flag(entry);
  if (entry.takes === "records") return records(entry, order);
  const input = control(entry, order);
  return { name: entry.name, made: h("label", {}, label(entry.name) + unit(entry.name), input), read: () => value(entry, input) };
}

function flag(entry) {
  const input = h("input", { type: "checkbox", name: entry.name });
  return { name: entry.name, made: h("label", { class: "flag" }, input, label(entry.name)), read: () => input.checked || undefined };
}

function control(entry, order) {
  const common = { name: entry.name, required: entry.required && !entry.nullable, autocomplete: "off" };
  if (entry.takes === "choice") {
    const options = entry.choices.map(one => h("option", { value: one }, label(one)));
    return h("select", common, entry.required ? options : [h("option", { value: "" }, "–"), ...options]);
  }
  if (entry.takes === "number") return h("input", { ...common, type: "number", min: 0, step: SCALES.find(([end]) => entry.name.endsWith(end)) ? 0.01 : 1, inputmode: "decimal" });
  if (entry.takes === "instant") return h("input", { ...common, type: "datetime-local", step: 1, value: entry.required ? local(suggested(entry, order)) : "" });
  if (entry.takes === "texts" || entry.long) return h("textarea", { ...common, rows: entry.takes === "texts" ? 3 : 2, placeholder: entry.takes === "texts" ? p("one_a_line") : "" });
  return h("input", common);
}

// People say money in yuan and shares in per cent; the pipeline knows only whole fen and basis points.
const SCALES = [["_fen", 100, " (¥)"], ["_bps", 100, " (%)"]];

function unit(key) { return SCALES.find(([end]) => key.endsWith(end))?.[2] ?? ""; }

function value(entry, input) {
  const given = input.value.trim();
  if (given === "") return entry.required && entry.nullable ? null : undefined;
  if (entry.takes === "number") return Math.round(Number(given) * (SCALES.find(([end]) => entry.name.endsWith(end))?.[1] ?? 1));
  if (entry.takes === "instant") return new Date(given).toISOString();
  if (entry.takes === "texts") return given.split("\n").map(one => one.trim()).filter(Boolean);
  return given;
}

function suggested(entry, order) {
  if (entry.name !== "until") return new Date();
  const due = order.next ? new Date(order.next.due_at) : new Date(order.clock.at);
  return new Date(Math.max(due, new Date(order.clock.at)) + 86_400_000);
}

function local(at) {
  const pad = n => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

function records(entry, order) {
  const rows = [];
  const box = h("div", { class: "records" });
  const add = () => {
    const made = entry.entries.map(one => field({ ...one, required: true }, order));
    rows.push(made);
    box.append(h("div", { class: "record" }, made.map(one => one.made)));
  };
  add();
  const more = h("button", { type: "button", onclick: add }, p("one_more"));
  const read = () => rows.map(made => Object.fromEntries(made.map(one => [one.name, one.read()]).filter(([, found]) => found !== undefined)));
  return { name: entry.name, made: h("fieldset", {}, h("legend", {}, label(entry.name)), box, more), read };
}
