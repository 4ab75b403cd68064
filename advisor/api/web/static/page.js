// The pages work without this file, as text that is read once. Here they become live, and can act.
import { follow } from "./run.js";

const { root, acting } = document.body.dataset;
const KEPT = "advisor-operator-token"; // of this tab alone
const EVERY = 15000; // ms between two looks at the service
const PATIENCE = 250; // ms that a question must stand before it is asked

const byId = (id) => document.getElementById(id);

function notify(text, bad = false) {
  byId("notice").textContent = text;
  byId("notice").classList.toggle("bad", bad);
}

// ------------------------------------------------------------------------------------------ asking the service
class Refused extends Error {
  constructor(status, problem) {
    super([problem.detail ?? `HTTP ${status}`, problem.hint].filter(Boolean).join(": "));
    this.isOfRole = status === 401 || (status === 403 && problem.type === "about:blank"); // no rule of the target's
  }
}

async function send(path, body = {}) {
  const token = sessionStorage.getItem(KEPT);
  const answer = await fetch(root + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, found);
  return found;
}

// As send, with the operator's token, which is asked for where it is missing or wrong. Null: the person gave up.
async function act(path, body) {
  let objection = "";
  for (;;) {
    if (acting === "token" && !sessionStorage.getItem(KEPT) && !(await askToken(objection))) return null;
    try {
      return await send(path, body);
    } catch (error) {
      if (acting !== "token" || !error.isOfRole) throw error;
      sessionStorage.removeItem(KEPT);
      objection = error.message;
    }
  }
}

function askToken(objection) {
  const dialog = byId("token");
  const form = dialog.querySelector("form");
  form.reset();
  dialog.querySelector(".error").textContent = objection;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    form.onsubmit = () => sessionStorage.setItem(KEPT, form.token.value);
    dialog.onclose = () => { form.reset(); resolve(sessionStorage.getItem(KEPT) !== null); };
  });
}

// ------------------------------------------------------------------ the live sections, read anew from the service
let looking = null;

async function refresh() {
  looking?.abort();
  looking = new AbortController();
  let answer, fresh;
  try {
    answer = await fetch(location.href, { signal: looking.signal });
    fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch (error) {
    if (error.name !== "AbortError") notify("The service does not answer. What you see is from before.", true);
    return;
  }
  if (!answer.ok) {
    notify(fresh.getElementById("problem")?.textContent ?? `The service answers ${answer.status}.`, true);
    return;
  }
  if (byId("notice").classList.contains("bad")) notify("");
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (now && !isRead(old)) swap(old, now);
  }
  follow(root, soon);
}

// Once for many occasions: the past of a run comes all at once.
let waiting = 0;
function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, PATIENCE);
}

function isRead(section) {
  const chosen = getSelection();
  return !chosen.isCollapsed && section.contains(chosen.anchorNode);
}

function swap(old, now) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && [...old.querySelectorAll(focused.tagName)].indexOf(focused);
  for (const open of old.querySelectorAll("details[open][id]")) now.querySelector(`#${open.id}`)?.setAttribute("open", "");
  for (const chosen of old.querySelectorAll("input:checked")) {
    const same = now.querySelector(`input[name="${chosen.name}"][value="${CSS.escape(chosen.value)}"]`);
    if (same) same.checked = true;
  }
  if (now.dataset.say !== old.dataset.say) byId("said").textContent = now.dataset.say ?? "";
  old.replaceWith(now);
  if (focused) now.querySelectorAll(focused.tagName)[place]?.focus({ preventScroll: true });
}

// -------------------------------------------------------------------------------------------- buttons and dialogs
const actions = {
  close: (button) => button.closest("dialog").close(),

  start(button) {
    const dialog = byId("start");
    dialog.querySelector("form").reset();
    dialog.querySelector(".error").textContent = "";
    dialog.querySelector("[data-field=target]").textContent = dialog.dataset.target = button.dataset.target;
    dialog.dataset.kind = button.dataset.kind;
    if (button.dataset.kind === "users") dialog.querySelector("select").value = "load"; // a search needs requests
    fit(dialog);
    dialog.showModal();
  },

  async abort(button) {
    if (!(await act(`runs/${button.dataset.run}/abort`))) return;
    notify(`The run on ${button.dataset.name} is being stopped; what it measured is kept.`);
    await refresh();
  },

  async copy(button) {
    const text = byId(button.dataset.from);
    try {
      await navigator.clipboard.writeText(text.textContent);
      notify("Copied.");
    } catch { // not a secure context: leave the last step to the person
      getSelection().selectAllChildren(text);
      notify("Selected: press Ctrl+C to copy it.");
    }
  },
};

// Only the fields that the scenario knows, and that the target's load has: requests at a rate, or users.
function fit(dialog) {
  const scenario = dialog.querySelector("select").value;
  for (const label of dialog.querySelectorAll("[data-for]")) {
    const other = label.dataset.of && label.dataset.of !== dialog.dataset.kind;
    label.hidden = other || !label.dataset.for.split(" ").includes(scenario);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  button.disabled = true;
  try {
    await actions[button.dataset.action](button);
  } catch (error) {
    notify(error.message, true);
  } finally {
    button.disabled = false;
  }
});

byId("start")?.addEventListener("change", (event) => fit(event.currentTarget));
byId("start")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const dialog = event.currentTarget;
  const shown = [...dialog.querySelectorAll("label:not([hidden]) :is(input, select)")];
  const asked = Object.fromEntries(shown.filter((input) => input.value).map((input) => [input.name, input.value]));
  try {
    const run = await act(`targets/${dialog.dataset.target}/runs`, asked);
    if (!run) return;
    dialog.close();
    notify(`The ${run.scenario} run ${run.run_id} on ${run.target} has begun.`);
    await refresh();
  } catch (error) {
    dialog.querySelector(".error").textContent = error.message;
  }
});

document.querySelector("[data-form=sign-in]")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = event.target.token.value;
  try {
    const { role } = await send("session", { token });
    if (role === "operator") sessionStorage.setItem(KEPT, token);
    location.reload();
  } catch (error) {
    notify(error.message, true);
  }
});

// ------------------------------------------------------------------------------------------------------- what if
const linear = {
  at: (share, low, high) => low + share * (high - low),
  share: (value, low, high) => (value - low) / (high - low),
  value: (text) => Number(text),
};
const scales = {
  demand: { ...linear, text: (value) => String(Number(value.toPrecision(3))) },
  replicas: { ...linear, text: (value) => String(Math.round(value)) },
  bound: { // latencies are seen as ratios
    at: (share, low, high) => low * (high / low) ** share,
    share: (value, low, high) => Math.log(value / low) / Math.log(high / low),
    text: (value) => (value < 0.9995 ? `${Number((value * 1e3).toPrecision(3))} ms` : `${Number(value.toPrecision(3))} s`),
    value(text) {
      const [, number, unit] = /^\s*([\d.]+)\s*(ms|s)?\s*$/.exec(text) ?? [];
      return Number(number) / (unit === "ms" ? 1e3 : 1);
    },
  },
};

function place(range) {
  const field = byId(range.dataset.for);
  const [low, high] = [Number(range.dataset.low), Number(range.dataset.high)];
  const share = scales[range.dataset.kind].share(scales[range.dataset.kind].value(field.value), low, high);
  if (Number.isFinite(share)) range.value = 1000 * Math.min(1, Math.max(0, share));
  range.setAttribute("aria-valuetext", field.value);
}

const question = document.querySelector("[data-form=what-if]");
question?.querySelectorAll("[type=range]").forEach(place);
question?.addEventListener("input", ({ target }) => {
  const range = target.type === "range" ? target : question.querySelector(`[data-for="${target.id}"]`);
  const field = byId(range.dataset.for);
  if (target === range) {
    field.value = scales[range.dataset.kind].text(
      scales[range.dataset.kind].at(range.value / 1000, Number(range.dataset.low), Number(range.dataset.high)));
    range.setAttribute("aria-valuetext", field.value);
  } else {
    place(range);
  }
  field.dataset.own = "false";
  ask();
});
question?.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

// The address is the question: what is shown can be shared, and is the answer of the service to it.
function ask() {
  if (!question.checkValidity()) return;
  const asked = [...question.querySelectorAll("[name][data-own=false]")].map((field) => [field.name, field.value]);
  history.replaceState(null, "", `${location.pathname}?${new URLSearchParams(asked)}`);
  soon();
}

document.documentElement.classList.add("live");
follow(root, soon);
setInterval(() => { if (!document.hidden && !document.querySelector("dialog[open]")) refresh(); }, EVERY);
