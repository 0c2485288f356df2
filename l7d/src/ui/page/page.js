// Asks, draws, and asks again when it has drawn: a browser that is slow asks less often, and one that
// nobody looks at not at all. What is looked at stands in the address, so that it can be sent to others.

import { $, bars, clock, day, el, lapse, number, say, segments, set, span } from "./dom.js";
import { Graph } from "./graph.js";
import { Panel } from "./panel.js";
import { Table } from "./table.js";

const EVERY = 1000;
const IDLE = 5000;
const WINDOWS = [[60, "1 min", "The last minute (1)"], [300, "5 min", "The last 5 minutes (2)"], [900, "15 min", "The last 15 minutes (3)"], [0, "All", "Everything that is kept (4)"]];
const GROUPS = [["workload", "Workloads", "Workloads (w)"], ["namespace", "Namespaces", "Namespaces (w)"]];
const KEYS = [["/", "search the flows"], ["f", "failures alone, or all requests"], ["j k", "next and former flow; arrows too"], ["Enter", "open what has the focus"], ["Esc", "back"], ["n", "next connection that fails"], ["1 2 3 4", "1, 5, 15 minutes, everything"], ["w", "workloads or namespaces"], ["+ − 0", "the picture larger, smaller, whole"], ["space", "pause"], ["t", "light or dark"]];

const state = read();
let map = null;
let text = "";
let isPaused = false;
let timer = 0;

const graph = new Graph($("graph"), (choice) => change(choice === null ? { node: null, client: null, server: null, flow: null } : { node: null, client: null, server: null, flow: null, ...choice }));
const panel = new Panel(change);
const table = new Table(state, change, (flow) => change({ flow }));

function read() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const text = (key) => asked.get(key) || null;
  return {
    seconds: asked.has("seconds") ? Number(asked.get("seconds")) || 0 : null,
    by: asked.get("by") === "namespace" ? "namespace" : "workload",
    namespace: text("namespace"), node: text("node"), client: text("client"), server: text("server"),
    show: ["failures", "exchanges", "all"].includes(asked.get("show")) ? asked.get("show") : null,
    words: text("words"), flow: Number(asked.get("flow")) || null,
  };
}

function change(changes) {
  if (Object.entries(changes).every(([key, value]) => state[key] === value)) return;
  const isOther = ["by", "namespace"].some((key) => key in changes && changes[key] !== state[key]);
  Object.assign(state, changes);
  if (isOther && !("node" in changes)) Object.assign(state, { node: null, client: null, server: null });
  if (isOther) graph.fit();
  const asked = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value !== null && value !== "" && !(key === "by" && value === "workload")) asked.set(key, value);
  history.replaceState(null, "", `#${asked}`);
  draw();
  if (Object.keys(changes).some((key) => key !== "flow")) $("table").scrollTop = 0;
  again(0);
}

function again(after) {
  clearTimeout(timer);
  timer = setTimeout(turn, after);
}

// One turn: asks for everything that is shown, draws it, and says when the next one is.
async function turn() {
  if (document.hidden) return;
  const began = { ...state };
  let wait = EVERY;
  try {
    if (!isPaused || map === null || changedSince(began)) await ask();
    await beside();
    if (!table.isReading || !isPaused) await refresh();
    if (map?.is_recording) wait = IDLE;
  } catch (error) {
    offline(error);
    wait = IDLE;
  }
  set(document.body, { "data-turn": Number(document.body.dataset.turn ?? 0) + 1 });
  again(wait);
}

let asked = "";
const changedSince = (one) => query(one) !== asked;

function query({ seconds, by, namespace }) {
  const query = new URLSearchParams({ by });
  if (seconds) query.set("seconds", seconds);
  if (namespace) query.set("namespace", namespace);
  return query.toString();
}

async function ask() {
  const now = query(state);
  const response = await fetch(`/api/map?${now}`);
  if (!response.ok) throw new Error(await response.text());
  const got = await response.text();
  if (now !== query(state)) return;
  asked = now;
  const isFirst = map === null;
  if (got === text) return;
  text = got;
  map = JSON.parse(got);
  // Where something fails, that is what somebody has come for.
  state.show ??= map.pairs.some((pair) => pair.state === "failing") ? "failures" : "exchanges";
  // What goes on is looked at by its last minutes, a recording as a whole.
  if (isFirst && state.seconds === null) {
    state.seconds = map.is_recording || map.flows === 0 ? 0 : 300;
    if (state.seconds) return ask();
  }
  draw();
}

async function refresh() {
  if (!table.isReading) await table.load();
}

async function beside() {
  const { flow, client, server } = state;
  if (flow) {
    if (panel.shown === `flow ${flow}`) return;
    const response = await fetch(`/api/flow?number=${flow}`);
    if (state.flow !== flow) return;
    if (response.ok) panel.flow(await response.json());
    else panel.gone(await response.text());
  } else if (client) {
    const response = await fetch(`/api/edge?${query(state)}&${new URLSearchParams({ client, server })}`);
    if (state.client !== client || state.server !== server || state.flow) return;
    if (response.ok) panel.edge(await response.json());
    else panel.gone(await response.text());
  } else if (map) {
    panel.pairs(map, state);
  }
}

function offline(error) {
  set($("server"), { class: "server off" });
  $("server").replaceChildren(el("span", { class: "dot" }), `l7d does not answer: ${error.message}`);
}

function draw() {
  segments($("window"), WINDOWS, state.seconds ?? 0, (seconds) => change({ seconds: Number(seconds) }));
  segments($("by"), GROUPS, state.by, (by) => change({ by }));
  table.draw();
  if (!map) return;
  server();
  verdict();
  namespaces();
  const list = map.bars;
  $("bars").replaceChildren(...(list.length ? [el("span", { class: "at number" }, clock(list[0].start_ms)), bars(list, map.bar_seconds), el("span", { class: "at number" }, clock(map.last_ms), " UTC")] : []));
  const notes = [map.hidden ? `${map.hidden} quieter connections are not drawn` : "", map.folded ? `${number(map.folded)} flows are of others` : "", map.health.lost ? `${number(map.health.lost)} events were lost on the way` : ""];
  graph.draw(map.drawing, notes.filter(Boolean).join("; "));
  graph.mark(state);
  if (!state.flow && !state.client) panel.pairs(map, state);
}

function server() {
  const { health } = map;
  const isPast = map.is_recording && health.is_connected;
  set($("server"), { class: `server ${health.is_connected ? (isPast ? "past" : "") : "off"}` });
  const nodes = health.nodes ? `, ${health.nodes} nodes` : "";
  const away = health.unavailable.length ? `, not reached: ${health.unavailable.join(", ")}` : "";
  const what = !health.is_connected ? ["not connected: ", health.error] : isPast ? ["recorded ", el("b", {}, `${day(map.last_ms)} ${clock(map.first_ms)} – ${clock(map.last_ms)} UTC`)] : [isPaused ? "paused" : "live"];
  $("server").replaceChildren(el("span", { class: "dot" }), el("b", {}, health.server), ` ${health.version}${nodes}${away} · `, ...what);
}

function verdict() {
  const failing = map.pairs.filter((pair) => pair.state === "failing");
  const all = map.pairs.length + map.hidden;
  const says = !all ? "Nothing was seen in this time" : failing.length ? `${failing.length} of ${all} connections fail` : `All ${all} connections are well`;
  const alarms = failing.slice(0, 3).map((pair) => el("button", { class: "alarm", title: `${pair.trouble} ${pair.by}`, onclick: () => change({ client: pair.client, server: pair.server, node: null, flow: null }) },
    el("b", {}, `${pair.client_name} → ${pair.server_name}`), el("span", {}, pair.trouble)));
  const rest = failing.length > 3 ? el("span", { class: "soft" }, `and ${failing.length - 3} more`) : null;
  const key = JSON.stringify([says, failing.slice(0, 3).map((pair) => [pair.client, pair.server, pair.trouble]), span(map.seconds)]);
  if ($("verdict").dataset.key === key) return;
  $("verdict").dataset.key = key;
  $("verdict").replaceChildren(el("span", { class: `says ${failing.length ? "bad" : all ? "good" : "soft"}` }, says), el("span", { class: "soft" }, `in ${span(map.seconds)}`), ...alarms, ...(rest ? [rest] : []));
  document.title = failing.length ? `(${failing.length}) l7d` : "l7d";
}

function namespaces() {
  const element = $("namespace");
  const key = map.namespaces.join("\n");
  if (element.dataset.key !== key) {
    element.dataset.key = key;
    element.replaceChildren(el("option", { value: "" }, "All namespaces"), ...map.namespaces.map((name) => el("option", { value: name }, name)));
  }
  element.value = state.namespace ?? "";
}

// Failing connections in turn.
function next() {
  const failing = map?.pairs.filter((pair) => pair.state === "failing") ?? [];
  if (!failing.length) return;
  const at = failing.findIndex((pair) => pair.client === state.client && pair.server === state.server);
  const pair = failing[(at + 1) % failing.length];
  change({ client: pair.client, server: pair.server, node: null, flow: null });
}

function back() {
  if ($("keys").open) $("keys").close();
  else if (state.flow) change({ flow: null });
  else if (state.client || state.node) change({ client: null, server: null, node: null });
  else if (state.words) change({ words: null });
}

function pause() {
  isPaused = !isPaused;
  set($("pause"), { "aria-pressed": isPaused });
  if (map) server();
  again(0);
}

function theme(chosen) {
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem("l7d-theme", chosen);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

const dark = matchMedia("(prefers-color-scheme: dark)");
function startTheme() {
  let kept = null;
  try {
    kept = localStorage.getItem("l7d-theme");
  } catch {
    // As above.
  }
  document.documentElement.dataset.theme = kept ?? (dark.matches ? "dark" : "light");
}

const ACTIONS = {
  "/": () => $("words").focus(),
  f: () => change({ show: state.show === "failures" ? "exchanges" : "failures" }),
  j: () => table.step(1), k: () => table.step(-1),
  n: next, w: () => change({ by: state.by === "workload" ? "namespace" : "workload" }),
  1: () => change({ seconds: 60 }), 2: () => change({ seconds: 300 }), 3: () => change({ seconds: 900 }), 4: () => change({ seconds: 0 }),
  "+": () => graph.zoom(1.25), "-": () => graph.zoom(0.8), 0: () => graph.fit(),
  t: () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  "?": () => $("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && !$("keys").open) return back();
  if (event.target.matches("input, select, textarea")) return;
  if (event.key === " " && !event.target.matches("button, summary, [role=button]")) {
    event.preventDefault();
    return pause();
  }
  const action = ACTIONS[event.key];
  if (!action || $("keys").open) return;
  event.preventDefault();
  action();
});

$("pause").addEventListener("click", pause);
$("theme").addEventListener("click", ACTIONS.t);
$("help").addEventListener("click", ACTIONS["?"]);
$("namespace").addEventListener("change", (event) => change({ namespace: event.target.value || null }));
$("keys").append(el("h2", {}, "Keys"), el("dl", {}, KEYS.map(([keys, what]) => [el("dt", {}, keys.split(" ").map((key) => [el("kbd", {}, key), " "])), el("dd", {}, what)])), el("p", { class: "soft" }, "Times are UTC. The address of this page keeps what you look at: send it to others."));
$("keys").addEventListener("click", (event) => event.target === $("keys") && $("keys").close());
document.addEventListener("visibilitychange", () => !document.hidden && again(0));
addEventListener("hashchange", () => {
  Object.assign(state, read());
  draw();
  again(0);
});

startTheme();
draw();
again(0);
