"use strict";
const paths = JSON.parse(document.getElementById("paths").textContent);
const main = document.querySelector("main");
const aside = document.querySelector("aside");
const cells = [...document.querySelectorAll("[data-cell]")];
const drawings = [...document.querySelectorAll(".lines-of-cell")];
const colours = {test: "var(--gen)", training: "var(--mem)", other: "var(--ink)"};
let current = null;

// --- a cell opens its numbers, trials and curves

function open(cell) {
  current = cell;
  const index = cell.dataset.cell;
  aside.hidden = false;
  main.classList.add("showing");
  cells.forEach(each => each.setAttribute("aria-selected", each === cell));
  document.querySelectorAll("aside section").forEach(section => { section.hidden = section.dataset.cellOf !== index; });
  document.getElementById("chosen").textContent = document.getElementById("cell-" + index).dataset.label;
  const lines = drawings.map(() => document.createDocumentFragment());
  for (const [chart, trial, rows, d] of paths[index]) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", d);
    line.setAttribute("stroke", colours[rows]);
    line.dataset.tip = trial + ", " + rows;
    lines[chart].append(line);
  }
  drawings.forEach((drawing, chart) => {
    drawing.classList.toggle("dense", lines[chart].childElementCount > 30);
    drawing.replaceChildren(lines[chart]);
  });
}

function close() {
  if (current === null) return;
  aside.hidden = true;
  main.classList.remove("showing");
  cells.forEach(each => each.setAttribute("aria-selected", "false"));
  enter(current);
  current = null;
}

/** The grid is one stop of the Tab key: the cell that was last there. */
function enter(cell) {
  cells.forEach(each => { each.tabIndex = each === cell ? 0 : -1; });
  cell.focus();
}

const across = cell => Number(cell.dataset.column), down = cell => Number(cell.dataset.row);
const moves = {
  ArrowRight: (from, to) => down(to) === down(from) && across(to) - across(from),
  ArrowLeft: (from, to) => down(to) === down(from) && across(from) - across(to),
  ArrowDown: (from, to) => across(to) === across(from) && down(to) - down(from),
  ArrowUp: (from, to) => across(to) === across(from) && down(from) - down(to),
};

cells.forEach(cell => {
  cell.addEventListener("click", () => {
    enter(cell);
    open(cell);
    if (aside.getBoundingClientRect().top > innerHeight - 80) aside.scrollIntoView({block: "start"});
  });
  cell.addEventListener("keydown", event => {
    let target = null;
    if (event.key in moves) {
      // The nearest cell in that direction: there may be holes.
      const distance = to => moves[event.key](cell, to);
      target = cells.filter(to => distance(to) > 0).sort((a, b) => distance(a) - distance(b))[0];
    } else if (event.key === "Home") {
      target = cells[0];
    } else if (event.key === "End") {
      target = cells[cells.length - 1];
    } else {
      return;
    }
    event.preventDefault();
    if (target) enter(target);
  });
});
document.querySelector(".close").addEventListener("click", close);
document.addEventListener("keydown", event => {
  if (event.key === "Escape") { hideTip(); close(); }
});

// --- what the pointer is on

const tip = document.getElementById("tip");
function hideTip() { tip.hidden = true; }
document.addEventListener("pointermove", event => {
  const said = event.target.closest("[data-tip]"), cell = event.target.closest("[data-cell]");
  if (!said && !cell) return hideTip();
  if (said) {
    tip.textContent = said.dataset.tip;
  } else {
    const section = document.getElementById("cell-" + cell.dataset.cell);
    const name = document.createElement("b");
    name.textContent = section.dataset.label;
    tip.replaceChildren(name, section.querySelector("dl").cloneNode(true));
  }
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 4)) + "px";
  tip.style.top = (event.clientY + 18 + height < innerHeight ? event.clientY + 18 : Math.max(4, event.clientY - height - 10)) + "px";
});
document.addEventListener("pointerleave", hideTip);
document.addEventListener("scroll", hideTip, {passive: true});

/** Where in a chart the pointer is. */
document.querySelectorAll(".chart").forEach(chart => {
  const area = chart.querySelector(".area"), readout = chart.querySelector(".readout");
  const low = Number(chart.dataset.low), high = Number(chart.dataset.high);
  area.addEventListener("pointermove", event => {
    const box = area.getBoundingClientRect();
    const part = 1 - (event.clientY - box.top) / box.height;
    const value = chart.dataset.log ? low * (high / low) ** part : low + part * (high - low);
    const along = (event.clientX - box.left) / box.width, tau = Number(main.dataset.tau);
    const step = main.dataset.log ? tau ** along : tau * along;
    readout.textContent = "step " + Math.round(step) + ": " + Number(value.toPrecision(3));
  });
  area.addEventListener("pointerleave", () => { readout.textContent = ""; });
});

// --- copies

document.querySelectorAll("button.copy").forEach(button => button.addEventListener("click", () => {
  const table = button.dataset.table && document.getElementById(button.dataset.table);
  const source = table || button.parentElement.querySelector("code");
  const rows = table && [...table.rows].map(row => [...row.cells].map(each => each.textContent.trim()).join("\t"));
  const select = () => getSelection().selectAllChildren(source);  // Where a copy is not allowed.
  if (!navigator.clipboard) return select();
  navigator.clipboard.writeText(table ? rows.join("\n") : source.textContent).then(() => {
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  }, select);
}));

const first = cells.find(cell => cell.dataset.cell === main.dataset.first) || cells[0];
first.tabIndex = 0;
open(first);
document.body.dataset.ready = "yes";
