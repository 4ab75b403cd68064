// Live figures of runs, from their server-sent events.

const MOST = 4; // streams at a time: a browser opens six connections to one host, and the page needs some itself
const streams = new Map(); // by run: what was shown last, so that a section read anew goes on from it

export const seconds = (s) => s == null ? "–" : s < 0.9995 ? `${Number((s * 1e3).toPrecision(3))} ms` : s < 120 ? `${Number(s.toPrecision(3))} s` : `${Math.round(s / 60)} min`;
export const rate = (r) => r == null ? "–" : `${Number(r.toPrecision(3))}/s`;

const boxes = (run) => document.querySelectorAll(`.progress[data-run="${run}"]`);

// A stream for each run on the page; `over` is called when a stage or the run has ended.
export function follow(root, over) {
  for (const { dataset } of document.querySelectorAll(".progress[data-run]")) {
    if (streams.has(dataset.run)) show(dataset.run, {});
    else if (streams.size < MOST) open(root, dataset, over);
  }
}

function show(run, values) {
  const shown = Object.assign(streams.get(run), values);
  for (const box of boxes(run)) {
    for (const field of box.querySelectorAll("[data-field]")) field.textContent = shown[field.dataset.field] ?? "–";
    const bar = box.querySelector("progress");
    if (shown.share == null) bar.removeAttribute("value");
    else bar.value = Math.min(1, shown.share);
  }
}

function open(root, { run, target }, over) {
  const source = new EventSource(`${root}runs/${run}/events`);
  const lines = { asked: [], completed: [], p95: [] };
  let search = false, began = 0, length = null, now = 0, errors = 0, asked = null;
  streams.set(run, { stage: "starting", errors });
  const on = (kind, handle) => source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
  on("started", (data) => { // of a search the budget is all that is known
    search = ["capacity", "scalability"].includes(data.scenario);
    length = data.budget;
  });
  on("stage_start", (data) => {
    if (!search) [began, length] = [now, data.seconds];
    asked = ["poisson", "constant"].includes(data.arrivals) ? data.rate : null;
    lines.asked.push([now, null]); // the next stage asks for something else, at once
    show(run, { stage: data.name, asked: asked === null ? data.arrivals : rate(asked) });
    document.getElementById("said").textContent = `${target}: ${data.name}`;
  });
  on("second", (data) => {
    for (const [outcome, count] of Object.entries(data.counts)) if (outcome !== "ok" && outcome !== "cancelled") errors += count;
    now = data.end;
    show(run, {
      completed: rate(data.completed_rps), p95: seconds(data.p95), in_flight: data.in_flight, errors,
      left: length == null ? "–" : seconds(Math.max(0, began + length - now)),
      share: length == null ? null : (now - began) / length,
    });
    lines.asked.push([now, asked]);
    lines.completed.push([now, data.completed_rps]);
    lines.p95.push([now, data.p95]);
    draw(lines);
  });
  on("estimate", (data) => show(run, { estimate: data.rps == null ? "–" : `${rate(data.rps)} (${data.interval.map((end) => Number(end.toPrecision(3))).join(" to ")})` }));
  on("change", (data) => show(run, { stage: `hook: ${data.what}${data.replicas == null ? "" : ` to ${data.replicas} replicas`}` }));
  on("stage_end", over); // its figures stand in the table of stages
  on("fitting", () => show(run, { stage: "computing the answer", share: 1 }));
  on("done", () => {
    source.close();
    streams.delete(run);
    over();
  });
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) streams.delete(run); };
}

// ---------------------------------------------------------------------------------- charts, drawn again each second
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 200, 76, 16, 18, 26];

function draw(lines) {
  const charts = {
    rate: { lines: [["c1", lines.asked], ["c0", lines.completed]], unit: rate },
    p95: { lines: [["c0", lines.p95]], unit: seconds },
  };
  for (const svg of document.querySelectorAll("svg[data-chart]")) plot(svg, charts[svg.dataset.chart]);
}

function element(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// 1, 2, 2.5 or 5 times a power of ten, not below the value.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((times) => times * power >= value) * power;
}

function plot(svg, { lines, unit }) {
  const bound = Number(svg.dataset.bound) || 0;
  const seen = lines.flatMap(([, points]) => points.map(([, value]) => value ?? 0));
  const highest = Math.max(...seen, Math.min(bound, 4 * Math.max(...seen)), 1e-9);
  const top = 1.08 * highest;
  const step = round(highest / 4);
  const last = Math.max(10, ...lines.map(([, points]) => points.at(-1)?.[0] ?? 0));
  const x = (at) => LEFT + (at / last) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const parts = Array.from({ length: Math.floor(highest / step) + 1 }, (_, i) => i * step).flatMap((value) => [
    element("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    element("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, unit(value)),
  ]);
  parts.push(element("path", { class: "axis", d: `M${LEFT},${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }));
  parts.push(element("text", { x: WIDTH - RIGHT, y: HEIGHT - 9, "text-anchor": "end" }, seconds(last)));
  if (bound && bound < top) parts.push(element("line", { class: "bound", x1: LEFT, x2: WIDTH - RIGHT, y1: y(bound), y2: y(bound) }));
  for (const [kind, points] of lines) {
    let path = "", joined = false;
    for (const [at, value] of points) {
      if (value != null) path += `${joined ? "L" : "M"}${x(at).toFixed(1)},${y(value).toFixed(1)}`;
      joined = value != null;
    }
    if (path) parts.push(element("path", { class: `curve ${kind}`, d: path }));
  }
  svg.replaceChildren(...parts);
}
