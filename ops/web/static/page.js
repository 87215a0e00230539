// Page: elements made from data, never from markup, and requests with our token.

export function h(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "width%") made.style.width = `${value}%`;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter(one => one !== null && one !== undefined && one !== false));
  return made;
}

export function card(title, ...children) {
  return h("section", { class: "card" }, title && h("h2", {}, title), ...children);
}

export function row(left, right, className = "") {
  return h("div", { class: "row" }, h("div", { class: "name" }, left), h("div", { class: `right number ${className}` }, right));
}

export function measure(left, right, share) {
  return h("div", { class: "measure" }, row(left, right), h("div", { class: "bar" }, h("i", { "width%": 100 * share })));
}

export function pairs(found) {
  return h("dl", { class: "pairs" }, Object.entries(found).filter(([, value]) => value !== null && value !== "")
    .flatMap(([key, value]) => [h("dt", {}, key), h("dd", { class: "number" }, String(value))]));
}

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || String(status));
    this.status = status;
  }
}

export function token() { return sessionStorage.getItem("earnest.token"); }

export function keepToken(value) {
  if (value) sessionStorage.setItem("earnest.token", value);
  else sessionStorage.removeItem("earnest.token");
}

export async function ask(path, body) {
  const headers = { Accept: "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body !== undefined) Object.assign(headers, { "Content-Type": "application/json", "X-Earnest-Action": "1" });
  const options = { headers, credentials: "omit", cache: "no-store" };
  if (body !== undefined) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  const answer = await fetch(path, options);
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, found);
  return found;
}
