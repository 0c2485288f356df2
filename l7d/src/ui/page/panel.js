// What stands beside the map: all connections, or what is chosen of them, or one flow and what it means.

import { $, bars, bytes, clock, day, el, fine, lapse, name, number, percent } from "./dom.js";

const MILD = new Set(["rejected", "audited"]);

export class Panel {
  constructor(change) {
    this.change = change;
    this.element = $("panel");
    this.shown = "";
  }

  // Draws only what is different, and keeps what is read in its place.
  put(key, place, ...children) {
    if (key === this.shown) return;
    const [former] = this.shown.split("\n");
    const isSame = former === place;
    const top = isSame ? this.element.scrollTop : 0;
    const open = isSame && this.element.querySelector("details")?.open;
    this.shown = key;
    this.element.replaceChildren(...children.flat(Infinity).filter(Boolean));
    this.element.scrollTop = top;
    if (open) this.element.querySelector("details").open = true;
  }

  close(what) {
    return el("button", { class: "close", title: "Back (Esc)", "aria-label": "Back", onclick: () => this.change(what) }, "×");
  }

  pairs(map, { client, server, node }) {
    const list = node ? map.pairs.filter((pair) => pair.client === node || pair.server === node) : map.pairs;
    const place = `pairs ${node ?? ""}`;
    this.put(`${place}\n${JSON.stringify(list)}`, place,
      node ? this.node(map, node, list) : el("div", { class: "head" }, el("h2", {}, "Connections"), el("span", { class: "soft number" }, String(map.pairs.length + map.hidden))),
      list.length ? el("ul", { class: "pairs" }, list.map((pair) => el("li", {}, this.pair(pair, pair.client === client && pair.server === server)))) : el("p", { class: "nothing" }, "Nothing was seen in this time."));
  }

  node(map, id, pairs) {
    const asks = pairs.filter((pair) => pair.client === id).length;
    const failing = pairs.filter((pair) => pair.state === "failing").length;
    const text = [`asked by ${pairs.length - asks}, asks ${asks}`, failing ? `${failing} of them fail` : "nothing fails"].join("; ");
    return [el("div", { class: "head" }, el("h2", {}, name(id)), this.close({ node: null })), el("p", { class: "soft" }, text, el("br"), "Its connections:")];
  }

  pair(pair, isCurrent) {
    const tone = pair.state === "failing" ? "bad" : "warn";
    const facts = [pair.protocol, pair.pace, pair.p99_us === null ? "" : `p99 ${lapse(pair.p99_us)}`].filter(Boolean).join(" · ");
    return el("button", { class: "pair", "aria-current": isCurrent ? "true" : null, onclick: () => this.change({ client: pair.client, server: pair.server, node: null, flow: null }) },
      el("span", { class: "who" }, pair.client_name, el("i", {}, " → "), pair.server_name),
      el("span", {}, pair.failed ? el("span", { class: `pill ${pair.state}` }, pair.is_cut ? "cut off" : pair.failed) : null),
      el("span", { class: "what soft" }, facts),
      pair.trouble ? el("span", { class: `what ${tone}` }, pair.by ? `${pair.trouble}: ${pair.by}` : pair.trouble) : null);
  }

  edge({ edge, bars: list, bar_seconds: width, trouble }) {
    const place = `edge ${edge.client} ${edge.server}`;
    const tile = (value, text, tone = "") => el("div", { class: "tile" }, el("b", { class: tone }, value), el("span", {}, text));
    const { load } = edge;
    const tiles = [
      tile(number(load.count), load.unit),
      tile(percent(load.failed, load.count), "failed", load.failed ? "bad" : ""),
      edge.p50_us === undefined ? null : tile(lapse(edge.p50_us), "p50"),
      edge.p99_us === undefined ? null : tile(lapse(edge.p99_us), "p99"),
      edge.drops ? tile(number(edge.drops), "dropped", "bad") : null,
      edge.rejected ? tile(number(edge.rejected), "rejected", "warn") : null,
      edge.failed_connections ? tile(number(edge.failed_connections), "failed connections", "bad") : null,
      edge.retransmits ? tile(number(edge.retransmits), "sent again") : null,
      edge.bytes[0] + edge.bytes[1] ? tile(`${bytes(edge.bytes[0])} / ${bytes(edge.bytes[1])}`, "to / from server") : null,
    ];
    const state = edge.is_cut ? "nothing gets through" : { failing: "failing", notable: "worth a look", good: "good" }[edge.state];
    this.put(`${place}\n${JSON.stringify([edge, list])}`, place,
      el("div", { class: "head" }, el("h2", {}, name(edge.client), " → ", name(edge.server)), this.close({ client: null, server: null })),
      el("p", {}, el("span", { class: `pill ${edge.state}` }, state), " ", el("span", { class: "soft" }, edge.ports.map((one) => (one.port ? `${one.protocol} :${one.port}` : one.protocol)).join(", "))),
      el("div", { class: "tiles" }, tiles.filter(Boolean)),
      list.length > 1 ? el("div", { class: "over" }, el("h3", {}, "Over time"), bars(list, width, 40)) : null,
      edge.reasons.length ? [el("h3", {}, trouble ? "Why it fails" : "What did not go well"), edge.reasons.map((reason) => this.reason(reason))] : null,
      edge.operations.length ? [el("h3", {}, "What is asked for"), this.small(["", "asked", "failed", "p50", "p99"], edge.operations.map((one) => [el("code", {}, one.operation), number(one.calls), this.part(one.failed, one.calls), lapse(one.p50_us), lapse(one.p99_us)]))] : null,
      edge.pods.length ? [el("h3", {}, "Pods"), this.small(["", "flows", "failed"], edge.pods.map((one) => [`${short(one.client)} → ${short(one.server)}`, number(one.flows), this.part(one.failed, one.flows)]))] : null,
      edge.allowed_by.length ? [el("h3", {}, "Allowed by"), edge.allowed_by.map((policy) => el("p", {}, el("code", {}, policy)))] : null);
  }

  reason(reason) {
    return el("div", { class: "reason" }, el("b", { class: `number ${MILD.has(reason.fault) ? "warn" : "bad"}` }, number(reason.count)), el("span", {}, reason.text),
      el("span", { class: "soft number", title: "last seen (UTC)" }, clock(Date.parse(reason.last))), reason.by ? el("span", { class: "by" }, "by ", el("code", {}, reason.by)) : null);
  }

  part(part, whole) {
    return part ? el("span", { class: "bad" }, percent(part, whole)) : "–";
  }

  small(head, rows) {
    return el("table", { class: "small" }, el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))))));
  }

  flow(detail) {
    const { row, meaning, sections, commands, json } = detail;
    const place = `flow ${row.number}`;
    const facts = (section) => el("dl", { class: "facts" }, section.rows.map(([key, value]) => [el("dt", {}, key), el("dd", { class: section.name === "Headers" || section.name === "Message" ? "mono" : null }, value)]));
    const mild = MILD.has(row.fault);
    this.put(place, place,
      el("div", { class: "head" }, el("h2", { class: "mono" }, detail.title), this.close({ flow: null })),
      el("p", {}, el("span", { class: `pill ${row.verdict}` }, row.verdict), " ", row.code ? el("span", { class: `pill ${row.fault ? (mild ? "notable" : "failing") : ""}` }, row.code) : null, " ",
        el("span", { class: "soft number" }, `${day(row.time_ms)} ${fine(row.time_ms)} UTC`, row.latency_us === null ? "" : ` · ${lapse(row.latency_us)}`)),
      el("p", {}, name(row.client), " → ", name(row.server)),
      meaning ? el("div", { class: `meaning ${mild ? "mild" : ""}` }, el("b", {}, meaning.title), el("p", {}, ticks(meaning.text)), meaning.by.map((by) => el("p", {}, el("code", {}, by)))) : null,
      sections.map((section) => [el("h3", {}, section.name), facts(section)]),
      commands.length ? [el("h3", {}, "On a terminal"), commands.map((command) => this.command(command))] : null,
      el("details", {}, el("summary", {}, "The whole flow, as JSON"), el("pre", {}, JSON.stringify(json, null, 2))));
  }

  command({ what, line }) {
    const button = el("button", { title: what, onclick: async () => {
      await navigator.clipboard?.writeText(line);
      button.textContent = "Copied";
    } }, "Copy");
    return el("div", { class: "copy" }, el("code", { title: what }, line), button);
  }

  gone(text) {
    this.put(text, text, el("div", { class: "head" }, el("h2", {}, "Not there any more"), this.close({ flow: null, client: null, server: null })), el("p", { class: "soft" }, text));
  }
}

// Commands stand between backticks.
const ticks = (text) => text.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));

// Pods' names are long; the namespace stands above.
const short = (pod) => pod.slice(pod.indexOf("/") + 1);
