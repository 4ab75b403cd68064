// The page works without this file, as a table that is read once. Here it becomes live.
"use strict";

const seconds = (s) => s == null ? "–" : s < 0.9995 ? `${(s * 1e3).toPrecision(3)} ms` : s < 120 ? `${s.toPrecision(3)} s` : `${Math.round(s / 60)} min`;
const rate = (r) => r == null ? "–" : `${Number(r.toPrecision(3))}/s`;

function notify(text, bad) {
  const box = document.getElementById("notice");
  box.textContent = text;
  box.className = bad ? "notice bad" : "notice";
  box.hidden = !text;
}

async function send(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body ?? {}),
  });
  const text = await answer.text();
  const document_ = text ? JSON.parse(text) : {};
  if (!answer.ok) throw new Error([document_.detail, document_.hint].filter(Boolean).join(" — "));
  return document_;
}

// ------------------------------------------------------------------ live progress, one stream for each run
const streams = new Map();

function follow() {
  for (const box of document.querySelectorAll(".progress[data-run]")) {
    if (!streams.has(box.dataset.run)) open(box.dataset.run);
  }
}

function open(run) {
  const source = new EventSource(`runs/${run}/events`);
  streams.set(run, source);
  const show = (values) => {
    const box = document.querySelector(`.progress[data-run="${run}"]`);
    if (!box) return;
    for (const [key, value] of Object.entries(values)) {
      const place = box.querySelector(`[data-field="${key}"]`);
      if (place) place.textContent = value;
    }
    if (values.share != null) box.querySelector(".bar > i").style.width = `${Math.min(100, 100 * values.share)}%`;
  };
  const on = (kind, handle) => source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
  let search = false, began = 0, length = null, now = 0, errors = 0; // of a search, the budget is all that is known
  on("started", (data) => { search = ["capacity", "stress"].includes(data.scenario); length = data.budget; });
  on("stage_start", (data) => {
    if (!search) { began = now; length = data.seconds; }
    show({ stage: data.name, asked: ["poisson", "constant"].includes(data.arrivals) ? rate(data.rate) : data.arrivals });
  });
  on("second", (data) => {
    for (const [outcome, count] of Object.entries(data.counts)) if (outcome !== "ok") errors += count;
    now = data.end;
    show({
      completed: rate(data.completed_rps), p95: seconds(data.p95), in_flight: data.in_flight, errors,
      left: length == null ? "–" : seconds(Math.max(0, began + length - now)),
      share: length == null ? null : (now - began) / length,
    });
  });
  on("fitting", () => show({ stage: "computing the answer", share: 1 }));
  on("done", () => { source.close(); streams.delete(run); refresh(); });
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) streams.delete(run); };
}

// ------------------------------------------------------------------ the rest of the page, read anew now and then
async function refresh() {
  if (document.activeElement?.matches(".actions select, .actions input")) return; // a person is choosing
  const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  if (!fresh) return;
  const opened = new Set([...document.querySelectorAll("details[open][id]")].map((item) => item.id));
  document.querySelector("main").replaceWith(fresh);
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  follow();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  button.disabled = true;
  try {
    if (button.dataset.action === "start") {
      const scenario = button.parentElement.querySelector("select").value;
      const given = button.parentElement.querySelector(".rate");
      const asked = given.hidden || !given.value ? {} : { rate: Number(given.value) };
      const run = await send(`targets/${button.dataset.target}/runs`, { scenario, ...asked });
      notify(`${scenario} run ${run.run_id} on ${button.dataset.target} has begun`);
    } else {
      await send(`runs/${button.dataset.run}/abort`);
      notify(`run ${button.dataset.run} is being stopped; what it measured is kept`);
    }
    await refresh();
  } catch (error) {
    notify(error.message, true);
  } finally {
    button.disabled = false;
  }
});

// A capacity run finds its own rates, and a smoke test needs none.
document.addEventListener("change", (event) => {
  if (!event.target.matches(".actions select")) return;
  event.target.parentElement.querySelector(".rate").hidden = ["capacity", "smoke"].includes(event.target.value);
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.sign-in");
  if (!form) return;
  event.preventDefault();
  try {
    await send("session", { token: form.token.value });
    location.reload();
  } catch (error) {
    notify(error.message, true);
  }
});

follow();
setInterval(() => { if (!document.hidden) refresh(); }, 15000);
