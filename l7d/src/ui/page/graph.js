// The map as a picture. Places come from the server; elements are kept by their nodes, so that what is
// looked at stays where it is.

import { el, say, set, svg } from "./dom.js";

const STRANGERS = new Set(["name", "address", "entity", "others"]);

export class Graph {
  constructor(element, pick) {
    this.element = element;
    this.pick = pick;
    this.nodes = new Map();
    this.links = new Map();
    this.view = null;
    this.size = { width: 100, height: 100 };
    this.links_ = svg("g");
    this.nodes_ = svg("g");
    this.picture = svg("svg", { role: "group", "aria-label": "Service map: clients left, servers right" }, this.links_, this.nodes_);
    this.notes = el("div", { class: "notes" });
    const tool = (text, title, work) => el("button", { title, "aria-label": title, onclick: work }, text);
    element.append(this.picture, this.notes, el("div", { class: "tools" },
      tool("+", "Larger (+)", () => this.zoom(1.25)),
      tool("−", "Smaller (−)", () => this.zoom(0.8)),
      tool("⤢", "All of it (0)", () => this.fit())));
    this.listen();
    new ResizeObserver(() => this.look()).observe(element);
  }

  listen() {
    let from = null;
    const { picture } = this;
    picture.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      from = { x: event.clientX, y: event.clientY, view: { ...this.seen() }, moved: false };
    });
    picture.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      if (!from.moved && Math.hypot(dx, dy) < 4) return;
      if (!from.moved) picture.setPointerCapture(event.pointerId);
      from.moved = true;
      picture.classList.add("dragging");
      const scale = from.view.width / picture.clientWidth;
      this.view = { ...from.view, x: from.view.x - dx * scale, y: from.view.y - dy * scale };
      this.look();
    });
    const end = (event) => {
      // A click that moved nothing chooses what is there, or nothing.
      if (from && !from.moved && event.type === "pointerup" && event.target === picture) this.pick(null);
      from = null;
      picture.classList.remove("dragging");
    };
    picture.addEventListener("pointerup", end);
    picture.addEventListener("pointercancel", end);
    picture.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = picture.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 400), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }, { passive: false });
  }

  // What is seen when nobody has moved it: everything, but not larger than life, and not unreadably small.
  whole() {
    const { clientWidth: width, clientHeight: height } = this.picture;
    if (!width || !height) return { x: 0, y: 0, ...this.size };
    const scale = Math.max(0.6, Math.min(1.2, width / this.size.width, height / this.size.height));
    const seen = { width: width / scale, height: height / scale };
    return {
      ...seen,
      x: seen.width >= this.size.width ? (this.size.width - seen.width) / 2 : 0,
      y: seen.height >= this.size.height ? (this.size.height - seen.height) / 2 : 0,
    };
  }

  seen() {
    return this.view ?? this.whole();
  }

  look() {
    const { x, y, width } = this.seen();
    const { clientWidth, clientHeight } = this.picture;
    const height = clientWidth ? (width * clientHeight) / clientWidth : width;
    set(this.picture, { viewBox: `${x.toFixed(1)} ${y.toFixed(1)} ${width.toFixed(1)} ${height.toFixed(1)}` });
  }

  zoom(factor, fx = 0.5, fy = 0.5) {
    const old = this.seen();
    const width = Math.min(Math.max(old.width / factor, 200), this.size.width * 4);
    const height = (old.height * width) / old.width;
    this.view = { x: old.x + (old.width - width) * fx, y: old.y + (old.height - height) * fy, width, height };
    this.look();
  }

  fit() {
    this.view = null;
    this.look();
  }

  draw(drawing, notes) {
    this.size = { width: drawing.width, height: drawing.height };
    keep(this.links, this.links_, drawing.lines, (line) => `${line.client}\n${line.server}`, (line) => this.link(line), link);
    keep(this.nodes, this.nodes_, drawing.cards, (card) => card.id, (card) => this.node(card), node);
    say(this.notes, notes);
    this.look();
  }

  link(line) {
    const choice = { client: line.client, server: line.server };
    return this.choosable(svg("g", {}, svg("title"), svg("path", { class: "hit" }), svg("path", { class: "line" }), svg("path", { class: "head" }),
      svg("text", { class: "label" }), svg("text", { class: "label trouble" })), choice);
  }

  node(card) {
    return this.choosable(svg("g", {}, svg("title"), svg("rect", { class: "card", rx: 7 }), svg("rect", { x: 5, y: 9, width: 3.5, rx: 1.7 }),
      svg("text", { class: "title", x: 15 }), svg("text", { class: "sub", x: 15, y: 37 }), svg("text", { class: "badge" })), { node: card.id });
  }

  choosable(element, choice) {
    set(element, { tabindex: 0, role: "button" });
    element.addEventListener("click", () => this.pick(choice));
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.pick(choice);
    });
    return element;
  }

  // Shows what is chosen, and what it has to do with.
  mark({ node: id, client, server }) {
    this.picture.classList.toggle("dimmed", Boolean(id || client));
    const near = new Set(client ? [client, server] : [id]);
    for (const [key, element] of this.links) {
      const [from, to] = key.split("\n");
      const picked = from === client && to === server;
      const touches = picked || (id !== undefined && (from === id || to === id));
      if (touches && id) near.add(from).add(to);
      element.classList.toggle("picked", picked);
      element.classList.toggle("near", touches);
    }
    for (const [key, element] of this.nodes) {
      element.classList.toggle("picked", key === id);
      element.classList.toggle("near", near.has(key));
    }
  }
}

// Makes the children those of a list, by their keys.
function keep(held, parent, list, key, make, update) {
  const keys = new Set(list.map(key));
  for (const [old, element] of held) {
    if (!keys.has(old)) {
      element.remove();
      held.delete(old);
    }
  }
  list.forEach((item, at) => {
    const element = held.get(key(item)) ?? make(item);
    held.set(key(item), element);
    if (parent.children[at] !== element) parent.insertBefore(element, parent.children[at] ?? null);
    update(element, item);
  });
}

function classes(element, wanted) {
  const kept = ["picked", "near"].filter((name) => element.classList.contains(name));
  set(element, { class: [...wanted, ...kept].filter(Boolean).join(" ") });
}

function link(element, line) {
  const [title, hit, path, head, label, trouble] = element.children;
  classes(element, ["link", line.state, line.is_cut && "cut"]);
  say(title, line.tip);
  set(element, { "aria-label": line.tip.replaceAll("\n", ", ") });
  set(hit, { d: line.path });
  set(path, { d: line.path, "stroke-width": line.thickness });
  set(head, { d: line.head });
  say(label, line.label?.text ?? "");
  say(trouble, line.label?.trouble ?? "");
  if (line.label) {
    const { x, y } = line.label.at;
    set(label, { x, y: y - 5 });
    // With nothing above the line, what fails stands there.
    set(trouble, { x, y: line.label.text ? y + 13.5 : y - 5 });
  }
}

function node(element, card) {
  const [title, box, stripe, name, sub, badge] = element.children;
  const stranger = STRANGERS.has(card.kind);
  classes(element, ["node", card.state, stranger && "stranger"]);
  element.style.transform = `translate(${card.x}px,${card.y}px)`;
  say(title, card.tip);
  set(element, { "aria-label": card.tip.replaceAll("\n", ", ") });
  set(box, { width: card.width, height: card.height });
  set(stripe, { class: `h${card.hue}`, height: stranger ? 0 : card.height - 18 });
  const middle = card.subtitle ? 21 : 28.5;
  say(name, card.title);
  set(name, { y: middle });
  say(sub, card.subtitle);
  say(badge, card.badge);
  set(badge, { x: card.width - 10, y: middle });
}
