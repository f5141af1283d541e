"use strict";

// -- tables ----------------------------------------------------------------------------------------------------

// Tables sort by the column whose heading is pressed: numbers by what they are, the rest as text, blanks last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement;
    const place = heading.cellIndex;
    const body = heading.closest("table").tBodies[0];
    const down = heading.getAttribute("aria-sort") === "ascending";
    const key = (row) => {
      const cell = row.cells[place];
      if ("v" in cell.dataset) return Number(cell.dataset.v);
      return heading.classList.contains("n") ? null : cell.textContent.trim().toLowerCase();
    };
    const compare = (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1);
    };
    const rows = [...body.rows].map((row) => [key(row), row]).sort((a, b) => compare(a[0], b[0]));
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map((pair) => pair[1]));
  });
}

// A table or a picture that goes on to the right, or below, says so.
const sized = new ResizeObserver((entries) => entries.forEach((entry) => point(entry.target)));
function point(box) {
  const more = box.scrollWidth - box.clientWidth;
  box.classList.toggle("more", more - box.scrollLeft > 2);
  const ways = [more > 2 && "to the right", box.scrollHeight - box.clientHeight > 2 && "down"].filter(Boolean);
  const hint = box.previousElementSibling;
  hint.textContent = `Scroll ${ways.join(" and ")} for more.`;
  hint.hidden = !ways.length;
}
for (const box of document.querySelectorAll(".scroll, .natural-size")) {
  sized.observe(box);
  box.addEventListener("scroll", () => point(box), { passive: true });
}

// -- values of pictures ----------------------------------------------------------------------------------------

const tip = document.getElementById("tip");
const REACH = 26; // pixels from a mark
let on = null;

function show(text, x, y) {
  tip.textContent = text;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - width - 4))}px`;
  tip.style.top = `${y - height - 12 < 4 ? y + 16 : y - height - 12}px`;
}
function mark(dot) {
  if (on) on.classList.remove("on");
  on = dot;
  if (!dot) return void (tip.textContent = "");
  dot.classList.add("on");
  const box = dot.getBoundingClientRect();
  show(dot.dataset.tip, box.left + box.width / 2, box.top);
}
function nearest(dots, x, y) {
  const away = (dot) => {
    const box = dot.getBoundingClientRect();
    return Math.hypot(box.left + box.width / 2 - x, box.top + box.height / 2 - y);
  };
  const [first] = dots.map((dot) => [away(dot), dot]).sort((a, b) => a[0] - b[0]);
  return first && first[0] < REACH ? first[1] : null;
}

for (const svg of document.querySelectorAll("figure svg")) {
  const dots = [...svg.querySelectorAll(".dot")].filter((dot) => dot.querySelector("title"));
  if (!dots.length) continue;
  for (const dot of dots) { // shown by us, and not again by the browser
    dot.dataset.tip = dot.querySelector("title").textContent;
    dot.querySelector("title").remove();
  }
  svg.tabIndex = 0;
  svg.addEventListener("pointermove", (event) => mark(nearest(dots, event.clientX, event.clientY)));
  svg.addEventListener("pointerdown", (event) => mark(nearest(dots, event.clientX, event.clientY)));
  svg.addEventListener("pointerleave", () => mark(null));
  svg.addEventListener("blur", () => mark(null));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") mark(null);
    if (!step) return;
    event.preventDefault();
    mark(dots[(dots.indexOf(on) + step + dots.length + (on ? 0 : step < 0)) % dots.length]);
  });
}

// -- attention maps --------------------------------------------------------------------------------------------

// The weights of a map are bytes of a lower triangle, row by row, as base64.
function sizeOf(map) {
  map.weights ??= Uint8Array.from(atob(map.dataset.weights), (byte) => byte.charCodeAt(0));
  return (Math.sqrt(8 * map.weights.length + 1) - 1) / 2;
}
function cell(map, query, key) {
  if (key < 0 || query >= sizeOf(map) || key > query) return null;
  map.tokens ??= JSON.parse(map.dataset.tokens);
  const name = (place) => (place in map.tokens ? `\u201c${map.tokens[place]}\u201d (${place + 1})` : place + 1);
  const weight = (map.weights[(query * (query + 1)) / 2 + key] / 255).toFixed(2);
  return `${map.dataset.tip}: ${name(query)} attends to ${name(key)} with ${weight}`;
}
for (const map of document.querySelectorAll(".map")) {
  map.dataset.tip = map.querySelector("title").textContent;
  map.querySelector("title").remove();
  const tell = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    const [key, query] = [at.x, at.y].map((place) => Math.floor(place / Number(map.dataset.cell)));
    const text = cell(map, query, key);
    if (text) show(text, event.clientX, event.clientY);
    else tip.textContent = "";
  };
  map.addEventListener("pointermove", tell);
  map.addEventListener("pointerdown", tell);
  map.addEventListener("pointerleave", () => (tip.textContent = ""));
}

// Arrow keys move from cell to cell, Page Up and Page Down from head to head.
for (const svg of document.querySelectorAll("svg.natural")) {
  const maps = [...svg.querySelectorAll(".map")];
  const at = { map: 0, query: 0, key: 0 };
  svg.tabIndex = 0;
  svg.addEventListener("blur", () => (tip.textContent = ""));
  svg.addEventListener("keydown", (event) => {
    const moves = {
      ArrowRight: [0, 0, 1], ArrowLeft: [0, 0, -1], ArrowDown: [0, 1, 0], ArrowUp: [0, -1, 0],
      PageDown: [1, 0, 0], PageUp: [-1, 0, 0],
    };
    if (event.key === "Escape") tip.textContent = "";
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [head, down, right] = moves[event.key];
    const within = (value, most) => Math.max(0, Math.min(value, most));
    at.map = within(at.map + head, maps.length - 1);
    at.query = within(at.query + down, sizeOf(maps[at.map]) - 1);
    at.key = within(at.key + right, at.query);
    const cellSize = Number(maps[at.map].dataset.cell);
    const place = new DOMPoint((at.key + 0.5) * cellSize, (at.query + 0.5) * cellSize);
    const seen = place.matrixTransform(maps[at.map].getScreenCTM());
    show(cell(maps[at.map], at.query, at.key), seen.x, seen.y);
  });
}

// -- paper -----------------------------------------------------------------------------------------------------

addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
