// Acting: nothing is done without the operator's token and a reason.

import { ask, h, keepToken, token } from "./page.js";
import { t } from "./words.js";

const dialog = document.getElementById("ask");
let after = () => {};

export function whenDone(call) { after = call; }

export function done() { after(); }

export function act(title, path) {
  const reason = h("input", { name: "reason", required: true, minlength: 3, maxlength: 1000, placeholder: t("reason_hint"), autocomplete: "off" });
  const key = h("input", { name: "token", type: "password", required: !token(), autocomplete: "off", placeholder: token() ? "••••••••" : "" });
  const said = h("p", { class: "small bad-text", role: "alert" });
  const form = h("form", { method: "dialog", onsubmit: submit }, h("h3", {}, title),
    h("label", {}, t("reason"), reason),
    h("label", {}, t("token_hint"), key), h("p", { class: "small faint" }, t("token_why")), said,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, t("cancel")), h("button", { class: "main", type: "submit" }, t("do_it"))));
  open(form, reason);

  async function submit(event) {
    event.preventDefault();
    if (key.value) keepToken(key.value);
    try {
      await ask(path, { reason: reason.value });
      dialog.close();
      after();
    } catch (error) {
      if (error.status === 401) keepToken(null);
      said.textContent = t("failed") + error.message;
    }
  }
}

export function askForToken(why) {
  if (dialog.open) return;
  const key = h("input", { name: "token", type: "password", autocomplete: "off" });
  const form = h("form", { method: "dialog", onsubmit: event => { event.preventDefault(); keepToken(key.value); dialog.close(); after(); } },
    h("h3", {}, t("token")), h("p", { class: "small soft" }, why), h("label", {}, t("token_hint"), key),
    h("div", { class: "buttons" }, token() && h("button", { type: "button", onclick: () => { keepToken(null); dialog.close(); after(); } }, t("forget")),
      h("button", { type: "button", onclick: () => dialog.close() }, t("cancel")), h("button", { class: "main", type: "submit" }, t("save"))));
  open(form, key);
}

export function open(form, first) {
  dialog.replaceChildren(form);
  dialog.showModal();
  first.focus();
}
