// The whole script of the dashboard. Pages work without it; it counts down, shows the viewer's times, opens acts as dialogs and keeps pages current.
"use strict";

const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const skew = Number(document.body.dataset.now) - Date.now(); // of the store's clock
const live = { headers: { "X-Live": "1" }, credentials: "same-origin" };

// ---- times

const pad = (n) => String(n).padStart(2, "0");

// As relText in words.go.
function away(ms) {
  const sec = Math.floor(ms / 1000);
  if (sec < 60) return `${sec}s`;
  if (sec < 3600) return `${Math.floor(sec / 60)}m ${pad(sec % 60)}s`;
  if (sec < 86400) return `${Math.floor(sec / 3600)}h ${pad(Math.floor(sec / 60) % 60)}m`;
  if (sec < 7 * 86400) return `${Math.floor(sec / 86400)}d ${Math.floor(sec / 3600) % 24}h`;
  return `${Math.floor(sec / 86400)}d`;
}

function relative(at) {
  const ms = at - (Date.now() + skew);
  if (ms >= 1000) return `in ${away(ms)}`;
  return ms > -1000 ? "now" : `${away(-ms)} ago`;
}

const say = (el, text) => { if (el.textContent !== text) el.textContent = text; };

function count() {
  for (const el of $$("time[data-rel]")) say(el, relative(Date.parse(el.dateTime)));
  for (const el of $$("[data-since]")) say(el, away(Math.max(0, Date.now() + skew - Number(el.dataset.since))));
}

const inZone = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "short" });

function localize(from = document) {
  for (const el of $$("time[data-viewer]", from)) {
    const at = new Date(el.dateTime);
    say(el, `${weekday.format(at)} ${inZone.format(at)}`);
  }
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
  for (const el of $$("[data-viewer-zone]", from)) say(el, `${zone} (yours)`);
  for (const el of $$("[data-zone]", from)) el.classList.toggle("same-zone", el.dataset.zone === zone);
}

// ---- taking over parts of a page that was fetched anew

// morph makes a the same as b, and leaves alone what is the same already: focus, selection and scrolling stay.
function morph(a, b) {
  if (a.nodeType !== b.nodeType || a.nodeName !== b.nodeName || (a.id || "") !== (b.id || "")) return a.replaceWith(b);
  if (a.nodeType !== Node.ELEMENT_NODE) {
    if (a.data !== b.data) a.data = b.data;
    return;
  }
  const asked = a.nodeName === "INPUT" || a.nodeName === "SELECT" || a.nodeName === "TEXTAREA"; // what the viewer did to it stays
  for (const { name } of [...a.attributes]) if (!b.hasAttribute(name) && name !== "open" && !asked) a.removeAttribute(name);
  const moved = a.getAttribute("datetime") !== b.getAttribute("datetime");
  for (const { name, value } of [...b.attributes]) if (name !== "open" && a.getAttribute(name) !== value) a.setAttribute(name, value);
  if (asked || (a.nodeName === "TIME" && !moved && (a.hasAttribute("data-rel") || a.hasAttribute("data-viewer")))) return;
  let at = a.firstChild;
  for (const wanted of [...b.childNodes]) {
    let found = null;
    if (wanted.id) {
      for (let c = at; c && !found; c = c.nextSibling) if (c.id === wanted.id) found = c;
      if (!found) { a.insertBefore(wanted, at); continue; }
      if (found !== at) a.insertBefore(found, at); else at = at.nextSibling;
      morph(found, wanted);
      continue;
    }
    if (!at) { a.append(wanted); continue; }
    if (at.id) { a.insertBefore(wanted, at); continue; }
    const next = at.nextSibling;
    morph(at, wanted);
    at = next;
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

function takeOver(fresh) {
  for (const wanted of $$("[data-live][id]", fresh)) {
    const here = document.getElementById(wanted.id);
    if (here) morph(here, wanted);
  }
  count();
  localize();
  selection();
  roving(); // what came anew would be a stop for Tab each
  copies(document);
}

// ---- keeping the page current

const state = $("#live-state");
let stale = false, fetching = false, timer = 0, fetched = 0;

function show(kind, word) {
  if (!state) return;
  state.hidden = false;
  state.dataset.state = kind;
  say($(".live-word", state), word);
}

async function refresh() {
  timer = 0;
  if (document.hidden || fetching) { stale = true; return; }
  stale = false;
  fetching = true;
  fetched = Date.now();
  try {
    const answer = await fetch(location.href, live);
    if (!answer.ok || answer.redirected) throw new Error(answer.redirected ? "signed out" : answer.statusText);
    takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (!source || source.readyState !== EventSource.CLOSED) show("on", "Live");
  } catch {
    show("off", "Not current");
    stale = true;
  } finally {
    fetching = false;
    if (stale && !document.hidden) soon(5000);
  }
}

// At most one fetch a second, however much happens.
function soon(wait = 300) { if (!timer) timer = setTimeout(refresh, Math.max(wait, fetched + 1000 - Date.now())); }

let source = null;

function listen() {
  const url = document.body.dataset.events;
  if (!url || !window.EventSource) return;
  source = new EventSource(url);
  source.addEventListener("open", () => { show("on", "Live"); if (source.again) soon(); source.again = true; });
  for (const kind of ["run", "schedule", "process", "reset"]) source.addEventListener(kind, () => soon());
  source.addEventListener("error", () => {
    show("off", "Reconnecting");
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    setTimeout(listen, 15000);
    soon(5000);
  });
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && stale) soon(0); });
window.addEventListener("pagehide", () => source?.close());
window.addEventListener("pageshow", (e) => { if (e.persisted) { listen(); soon(0); } });

// What changes without an event, such as a bar that grows, is fetched anew at the interval that it names, in seconds.
function again() {
  const every = $("[data-refresh]")?.dataset.refresh;
  fetched ||= Date.now();
  if (every && Date.now() - fetched >= every * 1000) soon(0);
}

// ---- copying

function copies(from) { for (const b of $$("[data-copy]", from)) b.hidden = false; }

async function copy(button) {
  const from = document.getElementById(button.dataset.copy), word = button.dataset.word || button.textContent;
  button.dataset.word = word;
  try {
    await navigator.clipboard.writeText(from.textContent);
    say(button, "Copied");
  } catch { // not on a page without TLS: what is selected can be copied by hand
    getSelection().selectAllChildren(from);
    say(button, "Selected");
  }
  setTimeout(() => say(button, word), 2000);
}

// ---- acts as dialogs

const dialog = $("#dialog");
let opener = null;

function fill(fresh) {
  const sheet = $("#sheet", fresh);
  if (!sheet) return false;
  dialog.replaceChildren(sheet);
  localize(dialog);
  copies(dialog);
  if (!dialog.open) dialog.showModal();
  ($("[aria-invalid=true], [autofocus]", dialog) || $("input:not([type=hidden]), select, textarea", dialog) || $("button[type=submit]", dialog))?.focus();
  return true;
}

async function openDialog(href, from) {
  opener = from;
  try {
    const answer = await fetch(href, live);
    if (!answer.redirected && fill(new DOMParser().parseFromString(await answer.text(), "text/html"))) return;
  } catch { /* the page itself says what is wrong */ }
  location.href = href;
}

async function submitDialog(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  for (const b of $$("button", form)) b.disabled = true;
  try {
    const answer = await fetch(form.action, { ...live, method: "POST", body });
    if (answer.redirected) { location.assign(answer.url); return; }
    if (fill(new DOMParser().parseFromString(await answer.text(), "text/html"))) return;
    throw new Error(answer.statusText);
  } catch {
    for (const b of $$("button", form)) b.disabled = false;
    let note = $(".alert", form);
    if (!note) {
      note = document.createElement("div");
      note.className = "alert";
      note.setAttribute("role", "alert");
      form.querySelector(".actions").before(note);
    }
    note.textContent = "The dashboard does not answer. Whether it was done is not known: look before you try again.";
  }
}

dialog?.addEventListener("close", () => { dialog.replaceChildren(); opener?.focus(); opener = null; });

// ---- selecting several rows

function selection() {
  const bar = $("[data-bulk]");
  if (!bar) return;
  const boxes = $$("input[data-row]"), all = $("input[data-all]");
  const chosen = boxes.filter((b) => b.checked).length;
  bar.dataset.chosen = chosen;
  say($("[data-bulk-count]", bar), chosen ? `${chosen} selected` : "None selected");
  for (const b of $$("button[data-needs-rows]", bar)) b.disabled = chosen === 0;
  if (all) { all.checked = chosen > 0 && chosen === boxes.length; all.indeterminate = chosen > 0 && chosen < boxes.length; }
}

// ---- a preview as one types

const asking = new WeakMap();

function preview(form) {
  asking.get(form)?.abort();
  const abort = new AbortController();
  asking.set(form, abort);
  clearTimeout(form.previewTimer);
  form.previewTimer = setTimeout(async () => {
    try {
      const answer = await fetch(form.dataset.preview, { ...live, method: "POST", body: new URLSearchParams(new FormData(form)), signal: abort.signal });
      if (!answer.ok && answer.status !== 422) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const wanted = $("#preview", fresh), here = $("#preview");
      if (wanted && here) morph(here, wanted);
      for (const el of $$("[data-error-for]", fresh)) {
        const field = el.dataset.errorFor, there = $(`[data-error-for="${CSS.escape(field)}"]`, form);
        if (!there) continue;
        say(there, el.textContent);
        const input = form.elements.namedItem(field);
        if (input instanceof Element) { if (el.textContent) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid"); }
      }
      localize();
      count();
    } catch { /* typed on, or no answer: the form is checked again when it is sent */ }
  }, 250);
}

// Shows the fields of the chosen kind only. Without script all are there.
function kinds(form) {
  for (const group of $$("[data-when]", form)) {
    const [name, ...values] = group.dataset.when.split(" ");
    const field = form.elements.namedItem(name);
    group.hidden = field !== null && !values.includes(field.value);
  }
}

// Offers the zones that the browser knows.
function zones(list) {
  if (!list || !Intl.supportedValuesOf) return;
  for (const zone of ["UTC", ...Intl.supportedValuesOf("timeZone")]) list.append(new Option("", zone));
}

// ---- pictures: one stop for Tab, then the arrow keys; what is pointed at is written out below

function roving() {
  for (const group of $$("[data-roving]")) {
    const stops = $$("a", group);
    const here = stops.find((a) => a === document.activeElement) || stops.at(-1);
    for (const a of stops) a.setAttribute("tabindex", a === here ? "0" : "-1");
  }
}

function rove(e) {
  const group = e.target.closest?.("[data-roving]");
  if (!group) return;
  const stops = $$("a", group), at = stops.indexOf(e.target.closest("a"));
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: stops.length - 1 }[e.key];
  if (to === undefined || !stops[to]) return;
  e.preventDefault();
  stops[to].focus();
  roving();
}

function readOut(e) {
  const stop = e.target.closest?.("[data-roving] a");
  const line = stop && $(`[data-readout="${stop.closest("[data-roving]").id}"]`);
  if (line) say(line, stop.getAttribute("aria-label"));
}

document.addEventListener("keydown", rove);
document.addEventListener("focusin", readOut);
document.addEventListener("pointerover", readOut);

// ---- the theme

const themes = { "": ["System", "Theme: as the system"], light: ["Light", "Theme: light"], dark: ["Dark", "Theme: dark"] };

function theme(button, next) {
  const root = document.documentElement;
  if (next !== undefined) {
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    try { if (next) localStorage.setItem("pyworkflow-theme", next); else localStorage.removeItem("pyworkflow-theme"); } catch { /* it holds for this page */ }
  }
  const [word, label] = themes[root.dataset.theme || ""];
  say($("span", button), word);
  button.setAttribute("aria-label", label);
  button.hidden = false;
}

// ---- events

document.addEventListener("click", (e) => {
  const el = e.target instanceof Element ? e.target : null;
  const link = el?.closest("a[data-dialog]");
  if (link && !e.ctrlKey && !e.metaKey && !e.shiftKey && e.button === 0) { e.preventDefault(); openDialog(link.href, link); return; }
  if (el === dialog || (dialog?.open && el?.closest("[data-close]"))) { e.preventDefault(); dialog.close(); return; }
  const copied = el?.closest("[data-copy]");
  if (copied) { copy(copied); return; }
  if (el?.closest("[data-dismiss]")) { el.closest("[data-flash]").remove(); return; }
  const toggle = el?.closest("[data-theme-toggle]");
  if (toggle) { const order = ["", "light", "dark"]; theme(toggle, order[(order.indexOf(document.documentElement.dataset.theme || "") + 1) % 3]); }
});

document.addEventListener("submit", (e) => {
  const form = e.target;
  if (dialog?.contains(form)) { e.preventDefault(); submitDialog(form, e.submitter); return; }
  if (form.matches("[data-dialog]")) { e.preventDefault(); openDialog(`${form.action}?${new URLSearchParams(new FormData(form, e.submitter))}`, e.submitter); return; }
  if (form.method === "get") for (const input of $$("input, select", form)) if (!input.value) input.disabled = true; // a short address
});

window.addEventListener("pageshow", () => { for (const input of $$("form[method=get] :disabled")) input.disabled = false; });

document.addEventListener("change", (e) => {
  const el = e.target;
  if (el.matches("input[data-all]")) for (const b of $$("input[data-row]")) b.checked = el.checked;
  if (el.matches("input[data-all], input[data-row]")) selection();
  if (el.matches("select[data-auto]")) el.form.requestSubmit();
  const form = el.closest("form");
  if (form) kinds(form);
  if (form?.dataset.preview) preview(form);
});

document.addEventListener("input", (e) => {
  const form = e.target.closest("form[data-preview]");
  if (form) preview(form);
});

document.addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select, [contenteditable]")) return;
  const search = $("input[type=search]");
  if (search) { e.preventDefault(); search.focus(); search.select(); }
});

$$("[data-theme-toggle]").forEach((b) => theme(b));
$$("[data-dismiss]").forEach((b) => { b.hidden = false; });
copies(document);
$$("form").forEach(kinds);
zones($("#zones"));
localize();
count();
selection();
roving();
for (const el of $$("[data-scroll-end]")) el.scrollLeft = el.scrollWidth;
setInterval(() => { count(); again(); }, 1000);
listen();
