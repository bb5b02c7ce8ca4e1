"use strict";

// Shows the moves of tenants, as GET /v1/moves gives them, once a second. Text goes in as text alone, never as HTML.

const LOOK_MS = 1000;
const ENDED = 50;
const SILENT_SECONDS = 5;
const LATEST = "9223372036854775807";
const WAY = ["planned", "prepared", "copied", "following", "verified", "shadowed", "fenced", "flipped", "released", "done"];
const BACK = { aborting: "aborting", returned: "rolled back", "rolled-back": "rolled back" };
const KEY = "cellplane-token";

const WISHES = {
  pause: { label: "Pause", phases: WAY.slice(0, 6) },
  run: { label: "Resume", phases: WAY.slice(0, 7) },
  abort: { label: "Abort", phases: WAY.slice(0, 7), ask: "stays where it is. Abort the move?" },
  rollback: { label: "Roll back", phases: ["flipped"], ask: "goes back, with what was written since. Roll back?" },
  release: { label: "Release", phases: ["flipped"], ask: "stays where it is now; the way back is given up. Release?" },
};

const at = (id) => document.getElementById(id);

function made(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function say(text, isWrong = false) {
  at("said").textContent = text;
  at("said").className = isWrong ? "wrong" : "";
}

async function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}`, ...options.headers };
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  const body = await answer.json();
  if (answer.ok) return body;
  const error = new Error(body.detail || `the control plane answered with ${answer.status}`);
  error.status = answer.status;
  throw error;
}

async function all(path) {
  const items = [];
  for (let after = 0; after !== null; ) {
    const page = await ask(`${path}&after=${after}`);
    items.push(...page.items);
    after = page.next;
  }
  return items;
}

const number = new Intl.NumberFormat("en");
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function steps(move) {
  const list = made("ol", "steps");
  const reached = WAY.indexOf(move.phase);
  for (const [place, phase] of WAY.slice(0, -1).entries()) {
    // Only some moves have a shadow.
    if (phase === "shadowed" && place !== reached) continue;
    const item = made("li", place <= reached ? "reached" : "", phase);
    if (place === reached) item.setAttribute("aria-current", "step");
    list.append(item);
  }
  if (reached < 0) list.append(made("li", "back", BACK[move.phase] || move.phase));
  return list;
}

function bar(progress) {
  const element = made("progress", "");
  element.max = Math.max(progress.rows_expected, progress.rows);
  element.value = progress.rows;
  element.setAttribute("aria-label", progress.doing);
  return element;
}

function figures(move) {
  const list = made("dl", "figures");
  const add = (name, value, className) => list.append(made("div", className, made("dt", "", name), made("dd", "", value)));
  const { progress } = move;
  if (progress === null) {
    add("mover", "has said nothing yet", "wrong");
    return list;
  }
  add("doing", progress.doing || "not begun");
  if (progress.rows) {
    const known = progress.rows <= progress.rows_expected ? ` of some ${number.format(progress.rows_expected)}` : "";
    add("rows", number.format(progress.rows) + known);
  }
  if (progress.bytes) add("data", megabytes(progress.bytes));
  if (progress.lag_seconds !== null) add("lag", `${Math.round(1000 * progress.lag_seconds)} ms`);
  if (progress.eta_seconds !== null) add("left", `about ${duration(progress.eta_seconds)}`);
  if (move.pause_seconds !== null) add("writes waited", `${Math.round(1000 * move.pause_seconds)} ms`);
  if (move.wish !== "run") add("wanted", move.wish + (move.heard ? "" : " (not heard yet)"));
  if (move.report_age_seconds > SILENT_SECONDS) add("mover", `silent for ${duration(move.report_age_seconds)}`, "wrong");
  return list;
}

function buttons(move) {
  const list = made("p", "buttons");
  for (const [wish, { label, phases, ask: question }] of Object.entries(WISHES)) {
    const isIdle = wish === move.wish || (wish === "run" && move.wish !== "pause");
    if (isIdle || !phases.includes(move.phase)) continue;
    const button = made("button", question ? "careful" : "", label);
    button.type = "button";
    button.addEventListener("click", () => {
      if (!question || window.confirm(`${move.tenant} ${question}`)) want(move, wish);
    });
    list.append(button);
  }
  return list;
}

function* content(move) {
  const { progress } = move;
  yield made("h2", "", move.tenant, made("span", "way", `${move.source} → ${move.target}`), made("code", "", move.id));
  yield steps(move);
  if (progress !== null && progress.rows && progress.rows_expected) yield bar(progress);
  yield figures(move);
  if (move.reason) yield made("p", "wrong", move.reason);
}

const cards = new Map();

function show(move) {
  const offers = `${move.phase} ${move.wish}`;
  let card = cards.get(move.id);
  if (card === undefined || card.offers !== offers) {
    const fresh = { element: made("article", ""), buttons: buttons(move), offers };
    fresh.element.append(fresh.buttons);
    if (card === undefined) at("living").append(fresh.element);
    else card.element.replaceWith(fresh.element);
    cards.set(move.id, (card = fresh));
  }
  // The buttons stay where they are: somebody may be about to press one.
  while (card.element.firstChild !== card.buttons) card.element.firstChild.remove();
  card.buttons.before(...content(move));
}

function showLiving(moves) {
  const ids = new Set(moves.map((move) => move.id));
  for (const [id, { element }] of cards) {
    if (ids.has(id)) continue;
    element.remove();
    cards.delete(id);
  }
  moves.forEach(show);
}

function row(move) {
  const waited = move.pause_seconds === null ? "–" : `${Math.round(1000 * move.pause_seconds)} ms`;
  const ended = new Date(move.ended).toLocaleString();
  const cells = [move.tenant, move.source, move.target, move.phase, ended, waited, move.reason];
  const element = made("tr", "", ...cells.map((text) => made("td", "", text)));
  element.children[3].className = `how ${move.phase}`;
  element.children[5].className = "number";
  return element;
}

async function want(move, wish) {
  try {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() };
    await ask(`/v1/moves/${move.id}/wish`, { method: "PUT", headers, body: JSON.stringify({ wish }) });
    await look();
  } catch (error) {
    say(error.message, true);
  }
}

let shown = "";

async function look() {
  const living = await all("/v1/moves?living=true&limit=1000");
  const { items: ended } = await ask(`/v1/moves?living=false&limit=${ENDED}&before=${LATEST}`);
  say(living.length ? `${living.length} under way` : "No tenant is moving.");
  showLiving(living);
  const last = JSON.stringify(ended);
  if (last !== shown) at("ended").replaceChildren(...ended.map(row));
  shown = last;
  at("past").hidden = ended.length === 0;
}

function enter(isIn) {
  at("enter").hidden = isIn;
  at("leave").hidden = !isIn;
  if (isIn) return;
  sessionStorage.removeItem(KEY);
  showLiving([]);
  at("past").hidden = true;
}

async function watch() {
  if (sessionStorage.getItem(KEY) === null) {
    enter(false);
    return;
  }
  try {
    await look();
    enter(true);
  } catch (error) {
    if (error.status === 401 || error.status === 403) enter(false);
    say(error.status ? error.message : "The control plane does not answer; what is shown is what was.", true);
  }
  if (sessionStorage.getItem(KEY) !== null) setTimeout(watch, LOOK_MS);
}

at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("token").value.trim());
  at("token").value = "";
  watch();
});
at("leave").addEventListener("click", () => {
  enter(false);
  say("");
});
watch();
