// Tasks: the list of a creator, or of an agency's creators, filtered, a page at a time.

import { ask, card, h, row } from "./page.js";
import { STATUS_NAMES, r, status } from "./reading_words.js";
import { clock, name, yuan } from "./words.js";

const TEXTS = { creator: "whose", mcn: "whose_mcn", id: "id_begins" };
const INSTANTS = { created_after: "created_from", created_before: "created_until" };
const LEVELS = { in_progress: "live", pending_payment: "warn", pending_acceptance: "warn", finished: "good" };

export async function tasks() {
  const asked = new URLSearchParams(location.search);
  const list = h("div", { class: "list", id: "tasks" });
  const rest = h("button", { id: "more", onclick: () => fill(list, rest, asked) }, r("more"));
  await fill(list, rest, asked);
  return { content: [filters(asked), card(r("tasks"), list, h("p", { class: "pages" }, rest))] };
}

function filters(asked) {
  const pick = h("select", { name: "status" }, h("option", { value: "" }, r("every_status")),
    STATUS_NAMES.map(one => h("option", { value: one, selected: asked.get("status") === one }, status(one))));
  const texts = Object.entries(TEXTS).map(([key, label]) => h("label", {}, r(label), h("input", { name: key, value: asked.get(key) || "", autocomplete: "off" })));
  const instants = Object.entries(INSTANTS).map(([key, label]) => h("label", {}, r(label), h("input", { name: key, type: "datetime-local", step: 1, value: local(asked.get(key)) })));
  return h("form", { class: "card filters", onsubmit: find }, texts, h("label", {}, r("status"), pick), instants, h("button", { class: "main", type: "submit" }, r("find")));
}

function find(event) {
  event.preventDefault();
  const given = new URLSearchParams();
  for (const [key, value] of new FormData(event.target)) {
    if (value) given.set(key, key in INSTANTS ? new Date(value).toISOString() : value.trim());
  }
  location.search = given;
}

function local(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

// A page may be short, even empty, and yet the list go on: then the next one is asked for.
async function fill(list, rest, asked) {
  let found = { tasks: [], next: rest.dataset.next || null };
  do {
    const wanted = new URLSearchParams(asked);
    if (found.next) wanted.set("cursor", found.next);
    found = await ask(`/tasks?${wanted}`);
    list.append(...found.tasks.map(shown));
  } while (found.next && !found.tasks.length);
  rest.hidden = !found.next;
  rest.dataset.next = found.next || "";
  if (!list.children.length) list.append(h("p", { class: "empty" }, r("no_tasks")));
}

function shown(one) {
  const precise = [one.state, one.reason].filter(Boolean).map(name).join(" · ");
  const times = [r("created", clock(one.created_at)), one.expected_publish_at && r("publish_at", clock(one.expected_publish_at))];
  return row([
    h("a", { href: `/ops/orders/${encodeURIComponent(one.task_id)}` }, h("b", {}, one.name), " ", h("code", { class: "faint" }, one.task_id)), " ",
    h("span", { class: `pill ${LEVELS[one.status] || ""}` }, status(one.status)), " ", h("span", { class: "small soft" }, precise),
    h("div", { class: "small faint" }, [one.client_name || one.client_id, one.creator_id, one.industry, ...times].filter(Boolean).join(" · ")),
  ], yuan(one.amount_fen));
}
