/** The live page's script: plain JavaScript for browsers, without templates of its own, so that it can live in one here. */
export const pageScript: string = `"use strict";
const byId = (id) => document.getElementById(id);
const dash = "\u2013";
const stateWords = { healthy: "healthy", neighbour: "neighbour", healing: "healing", idle: "idle", failed: "failed" };
let picture;
let points = [];
let chosen;
let isOver = false;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
function whole(value) { return Math.round(value).toLocaleString("en-US"); }
function bytesText(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit++; }
  return (unit === 0 ? value : value.toPrecision(3)) + " " + units[unit];
}
function clock(at) { return new Date(at).toLocaleTimeString("en-GB"); }
function share(value) { return (100 * value).toFixed(1) + " %"; }
function stagesText(from, to) { return to - from === 1 ? "stage " + from : "stages " + from + "\u2013" + (to - 1); }

/** What a cell says besides its state. */
function detailOf(cell) {
  if (cell.state === "failed") return cell.hostedBy ? "hosted by " + cell.hostedBy : "nobody hosts it";
  if (cell.state === "idle") return "its pipeline is lost";
  if (cell.to - cell.from > 1) {
    const others = [];
    for (let stage = cell.from; stage < cell.to; stage++) if (stage !== cell.stage) others.push("p" + cell.pipeline + "s" + stage);
    return "also hosts " + others.join(", ");
  }
  return "hosts " + stagesText(cell.from, cell.to);
}

function drawGrid() {
  const { pipelines, stages, mixerPipelines, cells } = picture;
  const table = byId("grid");
  const [head, body] = [table.tHead, table.tBodies[0]];
  const shape = pipelines + "x" + stages + ":" + cells.length;
  if (table.dataset.shape !== shape) {
    table.dataset.shape = shape;
    table.style.setProperty("--stages", stages);
    const row = element("tr");
    row.append(element("th"));
    for (let stage = 0; stage < stages; stage++) {
      const cell = element("th", "stage " + stage);
      cell.scope = "col";
      const mixer = element("span", undefined, "mixer");
      const bar = element("span", undefined, "bar");
      bar.append(element("span"));
      mixer.append("|N| ", element("b"), " of " + pipelines, bar);
      cell.append(mixer);
      row.append(cell);
    }
    head.replaceChildren(row);
    body.replaceChildren();
    for (let pipeline = 0; pipeline < pipelines; pipeline++) {
      const row = element("tr");
      const title = element("th");
      title.scope = "row";
      title.append(element("span", "pipeline ", "pipeline-word"), String(pipeline));
      row.append(title);
      for (const cell of cells) {
        if (cell.pipeline !== pipeline) continue;
        const button = element("button", undefined, "cell");
        button.type = "button";
        button.id = "cell-" + cell.slot;
        button.append(element("b", cell.slot), element("span", undefined, "what"), element("span"));
        button.addEventListener("click", () => openWorker(cell.slot));
        const place = element("td");
        place.append(button);
        row.append(place);
      }
      if (row.children.length > 1) body.append(row);
    }
  }
  mixerPipelines.forEach((count, stage) => {
    const mixer = head.rows[0].cells[stage + 1].querySelector(".mixer");
    setText(mixer.querySelector("b"), String(count));
    mixer.querySelector(".bar > span").style.width = 100 * count / pipelines + "%";
    mixer.classList.toggle("low", count * 2 <= pipelines && count < pipelines);
    mixer.setAttribute("aria-label", "N of stage " + stage + ": " + count + " of " + pipelines + " pipelines give a mixer gradient");
  });
  for (const cell of cells) {
    const button = byId("cell-" + cell.slot);
    if (!button) continue;
    button.className = "cell " + cell.state;
    setText(button.children[1], stateWords[cell.state]);
    setText(button.children[2], detailOf(cell));
    button.setAttribute("aria-label", cell.slot + ": " + stateWords[cell.state] + ", " + detailOf(cell));
  }
  const hidden = byId("hidden-cells");
  hidden.hidden = picture.hiddenCells === 0;
  setText(hidden, picture.hiddenCells + " more workers are not shown.");
}

const svgNamespace = "http://www.w3.org/2000/svg";
function svg(tag, attributes, text) {
  const made = document.createElementNS(svgNamespace, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
function niceTicks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const factor = [1, 2, 5, 10].find((one) => one * power >= rough);
  const every = factor * power;
  const ticks = [];
  for (let tick = Math.ceil(low / every) * every; tick <= high + every * 1e-6; tick += every) ticks.push(Number(tick.toPrecision(10)));
  return ticks;
}
/** A curve over steps: index 1 is the loss, 2 the tokens a second, 4 the energy, which only degraded steps have. */
function drawCurve(target, index, bounds, format, name) {
  const own = points.filter((point) => point[index] !== null);
  if (own.length === 0) { target.replaceChildren(element("p", "No step has been taken yet.", "empty")); return; }
  const [width, height, left, right, top, bottom] = [Math.max(240, target.clientWidth), target.dataset.height || 220, 52, 10, 8, 26];
  const first = own[0][0];
  const last = Math.max(own[own.length - 1][0], first + 1);
  let [low, high] = [Infinity, -Infinity];
  for (const point of own) { low = Math.min(low, point[index]); high = Math.max(high, point[index]); }
  if (bounds.low !== undefined) low = bounds.low;
  const room = (high - low) * 0.06 || Math.abs(high) * 0.05 || 1;
  if (bounds.low === undefined) low -= room;
  high = bounds.high === undefined ? high + room : bounds.high;
  const x = (step) => left + (step - first) / (last - first) * (width - left - right);
  const y = (value) => top + (high - value) / (high - low) * (height - top - bottom);
  const label = name + " over steps " + first + " to " + last + ", now " + format(own[own.length - 1][index]);
  const drawn = svg("svg", { viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": label });
  const gap = points.length > 1 ? (last - first) / (points.length - 1) : 1;
  let begun;
  points.forEach((point, i) => {
    if (bounds.isDegradedAlone) return;
    if (point[3] && begun === undefined) begun = point[0];
    const ends = begun !== undefined && (!point[3] || i === points.length - 1);
    if (!ends) return;
    const end = point[3] ? point[0] + gap / 2 : point[0] - gap / 2;
    const from = Math.max(left, x(begun - gap / 2));
    const shaded = Math.max(1, Math.min(width - right, x(end)) - from);
    drawn.append(svg("rect", { class: "shade", x: from, y: top, width: shaded, height: height - top - bottom }));
    begun = undefined;
  });
  for (const tick of niceTicks(low, high, 4)) {
    drawn.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    drawn.append(svg("text", { x: left - 7, y: y(tick) + 4, "text-anchor": "end" }, format(tick)));
  }
  for (const tick of niceTicks(first, last, 6)) {
    if (Number.isInteger(tick)) drawn.append(svg("text", { x: x(tick), y: height - 8, "text-anchor": "middle" }, String(tick)));
  }
  if (own.length === 1) drawn.append(svg("circle", { class: "point", cx: x(first), cy: y(own[0][index]), r: 3 }));
  // Where nothing was measured the curve breaks.
  let path = "";
  let isDown = false;
  for (const point of points) {
    if (point[index] !== null) path += (isDown ? "L" : "M") + x(point[0]).toFixed(1) + " " + y(point[index]).toFixed(1);
    isDown = point[index] !== null;
  }
  drawn.append(svg("path", { class: "curve", d: path }));
  target.replaceChildren(drawn);
}
function shortNumber(value) {
  if (Math.abs(value) >= 1e6) return (value / 1e6).toPrecision(3) + "M";
  if (Math.abs(value) >= 1e4) return (value / 1e3).toFixed(0) + "k";
  return whole(value);
}

function drawTiles() {
  const { cells } = picture;
  const live = cells.filter((cell) => cell.state !== "failed").length;
  const small = (target, value, rest) => target.replaceChildren(value + " ", element("small", rest));
  small(byId("step"), whole(picture.step), "of " + whole(picture.steps));
  setText(byId("loss"), picture.loss === null ? dash : picture.loss.toFixed(4));
  setText(byId("speed"), picture.tokensPerSecond === null ? dash : whole(picture.tokensPerSecond));
  setText(byId("goodput"), picture.goodput === null ? dash : share(picture.goodput));
  if (cells.length > 0 && picture.hiddenCells === 0) small(byId("workers"), String(live), "of " + cells.length);
  setText(byId("epoch"), String(picture.epoch));
  setText(byId("recoveries"), String(picture.recoveries));
  const recovery = picture.lastFailure;
  if (recovery) small(byId("recovery"), whole(recovery.milliseconds) + "\u00a0ms", bytesText(recovery.bytes));
  setText(byId("subtitle"), picture.strategy + ", " + picture.pipelines + " pipelines \u00d7 " + picture.stages + " stages" +
    (picture.faults > 0 ? ", " + picture.faults + (picture.faults === 1 ? " fault" : " faults") : ""));
}
function showStatus() {
  const status = byId("status");
  if (isOver && (!picture || (picture.outcome !== "finished" && picture.outcome !== "failed"))) {
    status.dataset.state = "lost";
    setText(status, "the run has ended");
    return;
  }
  const degraded = picture.outcome === "training" && picture.cells.some((cell) => cell.state !== "healthy");
  const words = { forming: "waiting for workers", training: "training", healing: "healing", finished: "finished", failed: "failed" };
  status.dataset.state = degraded ? "degraded" : picture.outcome;
  const missing = picture.cells.filter((cell) => cell.state === "failed").length;
  const more = degraded && missing > 0 ? ", " + missing + (missing === 1 ? " worker" : " workers") + " missing" : "";
  setText(status, words[picture.outcome] + more + (picture.outcome === "failed" ? ": " + picture.reason : ""));
}
function drawEnergy() {
  if (picture.energy.length === 0) return;
  byId("energy").replaceChildren(...picture.energy.map(({ matrix, energy }) => {
    const row = element("div", undefined, "energy");
    const bar = element("span", undefined, "bar");
    bar.setAttribute("role", "meter");
    bar.setAttribute("aria-label", "captured energy of " + matrix);
    bar.setAttribute("aria-valuenow", energy.toFixed(3));
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "1");
    const fill = element("span");
    fill.style.width = 100 * Math.max(0, Math.min(1, energy)) + "%";
    bar.append(fill);
    row.append(element("span", matrix), bar, element("output", share(energy)));
    return row;
  }));
}
function drawLists() {
  byId("no-recoveries").hidden = picture.lastRecoveries.length > 0;
  byId("recovery-table").hidden = picture.lastRecoveries.length === 0;
  byId("recovery-table").tBodies[0].replaceChildren(...picture.lastRecoveries.map((one) => {
    const row = element("tr");
    const figures = [whole(one.milliseconds), bytesText(one.bytes)];
    const texts = [clock(one.at), String(one.epoch), String(one.step), one.cause, ...figures, one.reason];
    row.append(...texts.map((text) => element("td", text)));
    return row;
  }));
  byId("no-messages").hidden = picture.messages.length > 0;
  byId("messages").replaceChildren(...picture.messages.map(({ at, text }) => {
    const item = element("li");
    item.append(element("time", clock(at)), element("span", text));
    return item;
  }));
}

function drawWorker() {
  const cell = picture && picture.cells.find((one) => one.slot === chosen);
  if (!cell) return;
  setText(byId("worker-title"), "Worker " + cell.slot);
  setText(byId("worker-state"), stateWords[cell.state] + ", " + detailOf(cell));
  const facts = [["process", cell.pid === undefined ? dash : String(cell.pid)]];
  for (const [name, value] of [["computing", cell.busy], ["waiting", cell.waiting], ["all-reduce", cell.allReduce]]) {
    facts.push([name, value === undefined ? dash : whole(value) + " ms"]);
  }
  byId("worker-facts").replaceChildren(...facts.map(([name, value]) => {
    const fact = element("div");
    fact.append(element("dt", name), element("dd", value));
    return fact;
  }));
  for (const button of document.querySelectorAll(".fault")) button.disabled = isOver || cell.state === "failed";
}
let asked;
function closeConfirmation() { asked = undefined; byId("confirm").hidden = true; }
function openWorker(slot) {
  chosen = slot;
  closeConfirmation();
  setText(byId("worker-result"), "");
  drawWorker();
  byId("worker").showModal();
}
for (const button of document.querySelectorAll(".fault")) {
  button.addEventListener("click", () => {
    asked = { slot: chosen, fault: button.dataset.fault };
    setText(byId("confirm-text"), button.firstChild.textContent + " " + chosen + "? This is done to the real worker, at once.");
    setText(byId("confirm-yes"), button.firstChild.textContent + " " + chosen);
    setText(byId("worker-result"), "");
    byId("confirm").hidden = false;
    byId("confirm-yes").focus();
  });
}
byId("confirm-no").addEventListener("click", closeConfirmation);
byId("confirm-yes").addEventListener("click", async () => {
  const { slot, fault } = asked;
  closeConfirmation();
  const result = byId("worker-result");
  setText(result, fault + " " + slot + " \u2026");
  try {
    const headers = { "content-type": "application/json" };
    const response = await fetch("/api/fault", { method: "POST", headers, body: JSON.stringify({ slot, fault }) });
    const answer = await response.json();
    setText(result, response.ok ? fault + " " + slot + ": done" : answer.error);
  } catch (error) {
    setText(result, "The dashboard did not answer: " + error.message);
  }
});

let isScheduled = false;
function draw() {
  isScheduled = false;
  drawTiles();
  showStatus();
  if (picture.cells.length > 0) drawGrid();
  drawCurve(byId("loss-chart"), 1, {}, (value) => value.toFixed(value < 1 ? 3 : 2), "Loss");
  drawCurve(byId("speed-chart"), 2, { low: 0 }, shortNumber, "Tokens per second");
  drawEnergy();
  if (picture.energy.length > 0) {
    drawCurve(byId("energy-chart"), 4, { low: 0, high: 1, isDegradedAlone: true }, (value) => value.toFixed(1), "Captured energy");
  };
  drawLists();
  if (byId("worker").open) drawWorker();
}
new ResizeObserver(() => {
  if (!picture || isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(draw);
}).observe(byId("loss-chart"));
const source = new EventSource("/events");
source.addEventListener("picture", (event) => {
  const { curve, ...rest } = JSON.parse(event.data);
  picture = rest;
  if (curve.all) points = curve.all;
  else if (curve.added) points = points.concat(curve.added);
  if (!isScheduled) { isScheduled = true; requestAnimationFrame(draw); }
});
source.addEventListener("closed", () => {
  isOver = true;
  source.close();
  showStatus();
  drawWorker();
});
source.addEventListener("error", () => {
  if (isOver) return;
  byId("status").dataset.state = "lost";
  setText(byId("status"), "connection lost, trying again");
});
`;
