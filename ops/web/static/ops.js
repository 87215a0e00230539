// Ops: the page's own clockwork: which view, how often, and what to do when nobody answers.

import { askForToken, whenDone } from "./acting.js";
import { order } from "./order.js";
import { overview, refreshAsides } from "./overview.js";
import { ask, card, h, row, token } from "./page.js";
import { r } from "./reading_words.js";
import { reports } from "./reports.js";
import { tasks } from "./tasks.js";
import { name, t, toggle, yuan } from "./words.js";

const main = document.getElementById("main");
const top = document.getElementById("top");
const PACE = { overview: 1000, order: 2000 };

const dot = h("span", { class: "dot" });
const said = h("span", {});
const key = h("button", { class: "plain", id: "token", onclick: () => askForToken(t("token_why")) });
const box = h("input", { name: "q", type: "search", placeholder: t("search"), "aria-label": t("search"), autocomplete: "off" });

top.append(
  h("a", { class: "brand", href: "/ops" }, h("img", { src: "/ops/static/icon.svg", alt: "" }), "Earnest"),
  h("span", { class: "state", id: "health" }, dot, said), h("a", { href: "/ops/tasks" }, r("tasks")), h("a", { href: "/ops/reports" }, r("reports")), h("span", { class: "grow" }),
  h("form", { class: "search", action: "/ops", role: "search", onsubmit: find }, box),
  h("button", { class: "plain", id: "language", onclick: toggle }, t("language")), key);

function find(event) {
  event.preventDefault();
  location.href = `/ops?q=${encodeURIComponent(box.value.trim())}`;
}

function show(health) {
  dot.className = `dot ${health === "lost" ? "bad" : health}`;
  said.textContent = t(`health_${health}`);
  key.textContent = token() ? t("token_set") : t("token");
}

async function search(words) {
  const found = (await ask(`/ops/api/search?q=${encodeURIComponent(words)}`)).orders;
  box.value = words;
  const rows = found.map(one => row(
    h("a", { href: `/ops/orders/${encodeURIComponent(one.order_id)}` }, h("code", {}, one.order_id), " ", h("span", { class: "pill live" }, name(one.status)),
      h("span", { class: "small faint" }, ` ${one.client_id} → ${one.creator_id}`)), yuan(one.total_fen)));
  return { content: [card(words ? t("found") : t("latest"), rows.length ? h("div", { class: "list" }, rows) : h("p", { class: "empty" }, t("not_found")))] };
}

const path = location.pathname, words = new URLSearchParams(location.search).get("q");
const orderId = path.startsWith("/ops/orders/") ? decodeURIComponent(path.slice("/ops/orders/".length)) : null;
const still = { "/ops/tasks": tasks, "/ops/reports": reports }[path] || (words !== null && !orderId ? () => search(words) : null);
const view = still || (orderId ? () => order(orderId) : overview);

// What a finger rests on must not be exchanged under it.
let pressed = false;
addEventListener("pointerdown", () => { pressed = true; });
addEventListener("pointerup", () => { pressed = false; });
addEventListener("pointercancel", () => { pressed = false; });

function exchange(content) {
  const reach = () => [...main.querySelectorAll("a, button, summary")];
  const opened = [...main.querySelectorAll("details")].map(one => one.open);
  const focused = reach().indexOf(document.activeElement);
  main.replaceChildren(...content);
  main.querySelectorAll("details").forEach((one, n) => { one.open = opened[n] || false; });
  if (focused >= 0) reach()[focused]?.focus({ preventScroll: true });
}

async function turn() {
  try {
    const made = await view();
    if (pressed || !getSelection().isCollapsed) return;
    exchange(made.content);
    show(made.health || "good");
  } catch (error) {
    if (error.status === 404) main.replaceChildren(card(t("not_found")));
    else if (error.status === 401 || error.status === 403) askForToken(t("token_read"));
    show("lost");
  }
}

async function live() {
  if (!document.hidden) await turn();
  setTimeout(live, orderId ? PACE.order : PACE.overview);
}

whenDone(() => { refreshAsides(); turn(); });
show("good");
if (still) turn();
else live();
