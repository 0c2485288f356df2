// Elements, and figures for people. Text becomes text nodes alone: nothing here makes markup of it.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
export const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
export const $ = (id) => document.getElementById(id);

// Changes only what is different: focus, hover and screen readers keep their place.
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function number(value) {
  for (const [least, suffix] of [[999.5e6, "G"], [999.5e3, "M"], [999.5, "k"]]) {
    if (value >= least) return digits(value / (suffix === "G" ? 1e9 : suffix === "M" ? 1e6 : 1e3)) + suffix;
  }
  return digits(value);
}

function digits(value) {
  if (value === 0 || value >= 9.95) return value.toFixed(0);
  return String(Number(value.toFixed(value >= 0.995 ? 1 : 2)));
}

export function lapse(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${digits(us / 1e3)} ms`;
  return `${digits(us / 1e6)} s`;
}

export function bytes(count) {
  const text = number(count);
  return /\d$/.test(text) ? `${text} B` : `${text.slice(0, -1)} ${text.slice(-1)}B`;
}

export function percent(part, whole) {
  const share = whole ? (100 * part) / whole : 0;
  if (share > 0 && share < 0.1) return "<0.1 %";
  if (share > 99.9 && share < 100) return "99.9 %";
  return `${share === 0 || share >= 9.95 ? share.toFixed(0) : share.toFixed(1)} %`;
}

export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${digits(seconds / 3600)} h`;
  return `${digits(seconds / 86400)} days`;
}

// Times are UTC everywhere, as on the command line and in most logs.
export const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
export const fine = (ms) => new Date(ms).toISOString().slice(11, 23);
export const day = (ms) => new Date(ms).toISOString().slice(0, 10);

// `workload:shop/web` → `shop/web`.
export const name = (id) => id.slice(id.indexOf(":") + 1);

// A row of choices, of which one is made.
export function segments(element, choices, chosen, choose) {
  if (element.children.length !== choices.length) {
    element.replaceChildren(...choices.map(([value, text, title]) => el("button", { role: "radio", title, "data-value": value, onclick: () => choose(value) }, text)));
    element.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const at = [...element.children].indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      const next = element.children[(at + step + choices.length) % choices.length];
      next.focus();
      next.click();
    });
  }
  for (const button of element.children) {
    const is = button.dataset.value === String(chosen);
    set(button, { "aria-checked": is, tabindex: is ? 0 : -1 });
  }
}

export function bars(list, seconds, height = 34) {
  const most = Math.max(1, ...list.map((bar) => Math.max(bar.calls, bar.failed + bar.drops)));
  const first = list.length ? list[0].start_ms : 0;
  const last = list.length ? list[list.length - 1].start_ms : 0;
  const slots = Math.max(24, Math.round((last - first) / 1000 / Math.max(1, seconds)) + 1);
  const picture = svg("svg", { viewBox: `0 0 ${slots * 10} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": "Requests and failures over time" });
  for (const bar of list) {
    const x = Math.round((bar.start_ms - first) / 1000 / Math.max(1, seconds)) * 10;
    const no = bar.failed + bar.drops;
    const all = Math.max(bar.calls, no);
    const scale = (count) => (count ? Math.max(2, (count / most) * (height - 2)) : 0);
    const high = scale(all);
    const red = Math.min(high, scale(no));
    const tip = svg("title", {}, `${day(bar.start_ms)} ${clock(bar.start_ms)} UTC, ${span(seconds)}\n${number(all)} asked, ${number(no)} failed`);
    picture.append(
      svg("g", {}, tip,
        svg("rect", { x, y: 0, width: 10, height, fill: "transparent" }),
        svg("rect", { class: "ok", x: x + 1, y: height - high, width: 8, height: high - red, rx: 1 }),
        svg("rect", { class: "no", x: x + 1, y: height - red, width: 8, height: red, rx: 1 })),
    );
  }
  return picture;
}
