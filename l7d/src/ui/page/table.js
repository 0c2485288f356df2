// Flows as rows: the latest first, a bounded number of them, whatever comes.

import { $, el, fine, day, lapse, name, number, say, segments, set } from "./dom.js";

const SHOWS = [["failures", "Failures", "What failed or was dropped (f)"], ["exchanges", "Requests", "Requests, drops, ends of connections"], ["all", "Everything", "Packets as well"]];
const ROWS = 200;
const ROWS_MOST = 1000;

export class Table {
  constructor(state, change, open) {
    Object.assign(this, { state, change, open });
    this.rows = [];
    this.more = false;
    this.text = "";
    const words = $("words");
    let timer;
    words.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => change({ words: words.value.trim() }), 250);
    });
    words.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        this.focus(0);
      }
      if (event.key === "Escape") {
        words.value = "";
        change({ words: "" });
        words.blur();
      }
    });
    this.body = el("tbody");
    this.list = el("table", { class: "list" },
      el("thead", {}, el("tr", {}, ...[["t", "Time (UTC)"], ["e", "Client"], ["e", "Server"], ["p", "Protocol"], ["w", "What"], ["c", "Status"], ["v", "Verdict"], ["l", "Latency"]].map(([kind, text]) => el("th", { class: kind, scope: "col" }, text)))),
      this.body);
    this.older = el("button", { class: "more", onclick: () => this.load(true) }, "Older ones");
    this.nothing = el("p", { class: "nothing" });
    $("table").append(this.list, this.nothing, this.older);
    this.body.addEventListener("keydown", (event) => this.key(event));
  }

  query(before) {
    const { state } = this;
    const query = new URLSearchParams({ show: state.show, limit: ROWS });
    for (const key of ["client", "server", "node", "namespace", "words"]) if (state[key]) query.set(key, state[key]);
    if (state.seconds) query.set("seconds", state.seconds);
    if (before) query.set("before", before);
    return `/api/flows?${query}`;
  }

  // Whether somebody reads further down: what they read must not move away.
  get isReading() {
    return $("table").scrollTop > 40 || this.rows.length > ROWS;
  }

  async load(older = false) {
    if (this.state.show === null) return;
    const url = this.query(older ? this.rows.at(-1)?.number : undefined);
    const response = await fetch(url);
    if (!response.ok || url !== this.query(older ? this.rows.at(-1)?.number : undefined)) return;
    const text = await response.text();
    if (!older && text === this.text) return;
    const answer = JSON.parse(text);
    this.text = older ? "" : text;
    this.rows = (older ? [...this.rows, ...answer.rows] : answer.rows).slice(0, ROWS_MOST);
    this.more = answer.is_more && this.rows.length < ROWS_MOST;
    this.draw();
  }

  draw() {
    const { state } = this;
    segments($("show"), SHOWS, state.show, (show) => this.change({ show }));
    const words = $("words");
    if (document.activeElement !== words) words.value = state.words ?? "";
    const scope = [];
    const chip = (text, change) => el("button", { class: "chip", title: "Show all again", onclick: () => this.change(change) }, `${text}  ×`);
    if (state.client) scope.push(chip(`${name(state.client)} → ${name(state.server)}`, { client: null, server: null }));
    if (state.node) scope.push(chip(name(state.node), { node: null }));
    if ($("scope").textContent !== scope.map((one) => one.textContent).join("")) $("scope").replaceChildren(...scope);
    say($("count"), this.rows.length ? `${number(this.rows.length)}${this.more ? " latest" : ""}` : "");
    const held = new Map([...this.body.children].map((row) => [Number(row.dataset.number), row]));
    const rows = this.rows.map((row) => held.get(row.number) ?? this.row(row));
    const focused = document.activeElement;
    if (rows.length !== this.body.children.length || rows.some((row, at) => this.body.children[at] !== row)) this.body.replaceChildren(...rows);
    if (this.body.contains(focused)) focused.focus({ preventScroll: true });
    this.mark();
    this.list.hidden = this.rows.length === 0;
    this.nothing.hidden = this.rows.length > 0;
    this.older.hidden = !this.more;
    const nothing = state.words ? "Nothing that is kept has these words." : state.show === "failures" ? "Nothing has failed." : "No flows yet.";
    say(this.nothing, nothing);
  }

  row(row) {
    const isBad = row.fault && row.fault !== "rejected" && row.fault !== "audited";
    const tone = isBad ? "bad" : row.fault ? "warn" : null;
    const cell = (kind, text, tone) => el("td", { class: [kind, tone].filter(Boolean).join(" "), title: text }, text);
    return el("tr", { tabindex: -1, "data-number": row.number, onclick: () => this.open(row.number) },
      el("td", { class: "t", title: `${day(row.time_ms)} ${fine(row.time_ms)} UTC` }, fine(row.time_ms)),
      cell("e", name(row.client)), cell("e", name(row.server)), cell("p", row.protocol), cell("w", row.what),
      cell("c", row.code, tone),
      cell("v", row.verdict, ["dropped", "error"].includes(row.verdict) ? "bad" : row.verdict === "audit" ? "warn" : "soft"),
      cell("l", row.latency_us === null ? "" : lapse(row.latency_us)));
  }

  mark() {
    const rows = [...this.body.children];
    const hasStop = rows.some((row) => row.tabIndex === 0);
    rows.forEach((row, at) => {
      set(row, { "aria-selected": Number(row.dataset.number) === this.state.flow });
      if (!hasStop && at === 0) row.tabIndex = 0;
    });
  }

  focus(at) {
    const rows = this.body.children;
    const row = rows[Math.min(Math.max(at, 0), rows.length - 1)];
    if (!row) return;
    for (const other of rows) other.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  // From anywhere: to the next row, or the former one.
  step(by) {
    const rows = [...this.body.children];
    const at = rows.indexOf(document.activeElement);
    const chosen = rows.findIndex((row) => Number(row.dataset.number) === this.state.flow);
    this.focus(at >= 0 ? at + by : chosen >= 0 ? chosen + by : 0);
    if (this.state.flow !== null && this.state.flow !== undefined) this.open(Number(document.activeElement.dataset.number));
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -1e6, End: 1e6 }[event.key];
    if (step) {
      event.preventDefault();
      this.step(step);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.open(Number(event.target.closest("tr").dataset.number));
    }
  }
}
