// What the pages do by themselves: times in the viewer's zone, lists that stay current, filters, selections.
"use strict";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long", hour12: false });

function length(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function showTimes(place) {
  const now = Date.now();
  for (const element of place.querySelectorAll("time[data-show]")) {
    const time = new Date(element.dateTime);
    const ago = (now - time) / 1000;
    const style = element.dataset.show;
    let text;
    if (style === "ago") text = `${length(ago)} ago`;
    else if (style === "until") text = ago < 0 ? `in ${length(-ago)}` : "now";
    else if (style === "full") text = full.format(time);
    else text = ago > 72000 || ago < -72000 ? `${day.format(time)} ${clock.format(time)}` : clock.format(time);
    if (element.textContent !== text) element.textContent = text;
    if (!element.dataset.titled) {
      element.title = full.format(time);
      element.dataset.titled = "yes";
    }
  }
}

function showClocks(place) {
  for (const text of place.querySelectorAll("text[data-clock]")) text.textContent = clock.format(new Date(text.dataset.clock));
  for (const text of place.querySelectorAll("text[data-day]")) text.textContent = day.format(new Date(text.dataset.day));
}

// A list that stays current. Changed rows change where they are. New rows come in at the top, or are offered while
// somebody reads, selects or has scrolled.
class LiveRows {
  constructor(body) {
    this.body = body;
    this.offer = document.querySelector("[data-offer]");
    this.waiting = [];
    this.quiet = 0;
    this.version = "";
    if (this.offer) this.offer.addEventListener("click", () => this.insert());
    this.later();
  }

  later() {
    setTimeout(() => this.refresh(), this.quiet > 5 ? 8000 : 2500);
  }

  async refresh() {
    if (document.visibilityState === "visible") {
      try {
        await this.load();
      } catch (error) {
        this.say("not current");
      }
    }
    this.later();
  }

  async load() {
    const headers = { "HX-Request": "true", "If-None-Match": this.version };
    const answer = await fetch(this.body.dataset.live, { headers, redirect: "error", cache: "no-store" });
    if (answer.status === 401) return location.reload();
    if (answer.status === 304) {
      this.quiet++;
      showTimes(document);
      return this.say("live");
    }
    if (!answer.ok) return this.say("not current");
    this.say("live");
    this.version = answer.headers.get("ETag") ?? "";
    const fresh = document.createElement("template");
    fresh.innerHTML = await answer.text();
    let changes = 0;
    const unknown = [];
    for (const row of fresh.content.querySelectorAll("tr[id]")) {
      const old = document.getElementById(row.id);
      if (!old) unknown.push(row);
      else if (old.dataset.version !== row.dataset.version) {
        changes++;
        this.replace(old, row);
      }
    }
    this.waiting = unknown;
    this.quiet = changes || unknown.length ? 0 : this.quiet + 1;
    if (unknown.length && !this.isRead()) this.insert();
    else this.show();
    showTimes(document);
  }

  replace(old, row) {
    const chosen = old.querySelector("input.choose");
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const fresh = row.querySelector("input.choose");
    if (chosen && fresh) fresh.checked = chosen.checked;
    if (focused) {
      const index = [...old.querySelectorAll("a, button, input")].indexOf(focused);
      old.replaceWith(row);
      row.querySelectorAll("a, button, input")[index]?.focus();
    } else old.replaceWith(row);
  }

  isRead() {
    return scrollY > 40 || this.body.matches(":hover") || this.body.contains(document.activeElement)
      || document.querySelector("input.choose:checked") !== null || document.querySelector("details.pill[open]") !== null;
  }

  insert() {
    for (const row of this.waiting.reverse()) {
      row.classList.add("new");
      this.body.prepend(row);
    }
    this.waiting = [];
    document.querySelector("[data-empty]")?.remove();
    const most = Number(this.body.dataset.most || 50);
    while (this.body.rows.length > 2 * most) this.body.lastElementChild.remove();
    this.show();
    showTimes(document);
  }

  show() {
    if (!this.offer) return;
    this.offer.hidden = this.waiting.length === 0;
    this.offer.textContent = `${this.waiting.length} new`;
  }

  say(text) {
    const state = document.querySelector("[data-live-state]");
    if (!state) return;
    state.textContent = text;
    state.className = `status ${text === "live" ? "delivered" : "waiting"}`;
  }
}

// A part of a page that is fetched again now and then: data-refresh is its address, data-every the seconds. Its answer may bring
// other parts along, which change with it. What is read
// stays: opened details, how far something is scrolled, the focus, and what has data-keep. Nothing changes under a selection or a field.
class LivePart {
  constructor(element) {
    this.id = element.id;
    setTimeout(() => this.refresh(), Number(element.dataset.every || 5) * 1000);
  }

  async refresh() {
    const element = document.getElementById(this.id);
    if (!element || !element.dataset.refresh) return;
    if (document.visibilityState === "visible" && !this.isUsed(element)) {
      try {
        const headers = { "HX-Request": "true", "If-None-Match": `"${element.dataset.version}"` };
        const answer = await fetch(element.dataset.refresh, { headers, redirect: "error" });
        if (answer.status === 401) return location.reload();
        if (answer.ok) {
          const fresh = document.createElement("template");
          fresh.innerHTML = await answer.text();
          const part = fresh.content.getElementById(this.id);
          if (part && part.dataset.version !== element.dataset.version && !this.isUsed(element)) {
            const others = [...fresh.content.querySelectorAll("[id][data-version]")].filter((other) => other !== part && !part.contains(other));
            this.replace(element, part);
            for (const other of others) document.getElementById(other.id)?.replaceWith(other);
          }
        }
      } catch (error) { /* the next one may succeed */ }
    }
    const next = document.getElementById(this.id);
    setTimeout(() => this.refresh(), Math.max(Number(next?.dataset.every || 10), 1) * 1000);
  }

  isUsed(element) {
    const selection = getSelection();
    return (!selection.isCollapsed && element.contains(selection.anchorNode))
      || (element.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));
  }

  replace(old, part) {
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const home = focused?.closest("[id]");
    const inHome = home ? [home, ...home.querySelectorAll("a, button, summary, [tabindex]")] : [];
    const index = inHome.indexOf(focused);
    const opened = [...old.querySelectorAll("details[id]")];
    const read = scrollY > 0 ? opened.find((details) => details.getBoundingClientRect().bottom > 0) : null;
    const top = read?.getBoundingClientRect().top;
    const scrolled = opened.map((details) => [...details.querySelectorAll("pre")].map((pre) => [pre.scrollTop, pre.scrollLeft]));
    const strip = old.querySelector("[data-end]");
    const left = strip && strip.scrollLeft + strip.clientWidth < strip.scrollWidth - 2 ? strip.scrollLeft : null;

    for (const kept of old.querySelectorAll("[data-keep]")) part.querySelector(`#${kept.id}`)?.replaceWith(kept);
    old.replaceWith(part);
    htmx.process(part);
    showTimes(part);
    showClocks(part);

    opened.forEach((details, at) => {
      const fresh = document.getElementById(details.id);
      if (!fresh) return;
      fresh.open = details.open;
      [...fresh.querySelectorAll("pre")].forEach((pre, n) => [pre.scrollTop, pre.scrollLeft] = scrolled[at][n] ?? [0, 0]);
    });
    if (left === null) showEnds(part);
    else for (const fresh of part.querySelectorAll("[data-end]")) fresh.scrollLeft = left;
    if (read) scrollBy(0, document.getElementById(read.id).getBoundingClientRect().top - top);
    const place = home && document.getElementById(home.id);
    const again = place && [place, ...place.querySelectorAll("a, button, summary, [tabindex]")][index];
    if (again && again.textContent === focused.textContent) again.focus({ preventScroll: true });
  }
}

// What is newest is at the end of a strip that is wider than its card.
function showEnds(place) {
  for (const strip of place.querySelectorAll("[data-end]")) strip.scrollLeft = strip.scrollWidth;
}

function countChosen() {
  const chosen = document.querySelectorAll("input.choose:checked").length;
  for (const element of document.querySelectorAll("[data-chosen]")) {
    element.hidden = chosen === 0;
    for (const number of element.querySelectorAll("[data-count]")) number.textContent = chosen;
  }
}

// Who types the beginning of a choice changes a list with each letter.
let waiting;
function soon(action) {
  clearTimeout(waiting);
  waiting = setTimeout(action, 500);
}

document.addEventListener("change", (event) => {
  const input = event.target;
  if (input.matches("input.choose-all")) {
    for (const choice of document.querySelectorAll("input.choose:not(:disabled)")) choice.checked = input.checked;
  }
  if (input.matches("input.choose, input.choose-all")) countChosen();
  if (input.matches("form.filters input:not([data-narrows])")) input.form.requestSubmit();
  if (input.matches("form.filters select")) soon(() => input.form.requestSubmit());
  if (input.matches("[data-shows]")) showChosenPart(input);
});

// A field whose value decides which part of a form is shown: <select data-shows="name">, <div data-part-of="name" data-when="a b">. A space in a value is a hyphen there.
function showChosenPart(input) {
  for (const part of document.querySelectorAll(`[data-part-of="${input.dataset.shows}"]`)) {
    part.hidden = !part.dataset.when.split(" ").includes(input.value.replaceAll(" ", "-"));
  }
}

// A field that hides those of the choices beside it that do not have its text.
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-narrows]")) return;
  const wanted = event.target.value.trim().toLowerCase();
  for (const label of event.target.parentElement.querySelectorAll("label:has([type=checkbox])")) {
    label.hidden = !label.textContent.toLowerCase().includes(wanted);
  }
});

// One filter is open at a time; Escape and a click elsewhere close it.
document.addEventListener("click", (event) => {
  for (const pill of document.querySelectorAll("details.pill[open]")) {
    if (!pill.contains(event.target)) pill.open = false;
  }
  const copied = event.target.closest("[data-copy]");
  if (copied) copy(copied);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const pill of document.querySelectorAll("details.pill[open]")) {
    pill.open = false;
    pill.querySelector("summary").focus();
  }
});

async function copy(button) {
  const text = document.getElementById(button.dataset.copy).textContent;
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch (error) {
    button.textContent = "Select and copy";
  }
  setTimeout(() => { button.textContent = before; }, 2000);
}

// A file that is chosen is read into a field of the form: <input type="file" data-into="content">.
document.addEventListener("change", async (event) => {
  if (!event.target.matches("input[data-into]") || !event.target.files.length) return;
  document.getElementById(event.target.dataset.into).value = await event.target.files[0].text();
});

// Empty fields are left out of a filter's address.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.filters")) return;
  for (const field of event.target.querySelectorAll("input, select")) field.disabled = field.value === "";
});
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});

// A form that sends the chosen rows says so at once, here and in each row, because the answer may take seconds.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.sends || event.defaultPrevented) return;
  const chosen = [...document.querySelectorAll("input.choose:checked")];
  const said = document.getElementById(form.dataset.sends);
  said.textContent = `Asking for ${chosen.length} ${chosen.length === 1 ? "delivery" : "deliveries"} to be sent again …`;
  said.hidden = false;
  for (const row of chosen.map((choice) => choice.closest("tr"))) {
    const status = row.querySelector(".status");
    status.className = "status sending";
    status.textContent = "sending";
    row.dataset.version = "";
  }
  if (event.submitter) event.submitter.disabled = true;
});

document.addEventListener("DOMContentLoaded", () => {
  showTimes(document);
  showClocks(document);
  showEnds(document);
  document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  countChosen();
  for (const input of document.querySelectorAll("[data-shows]")) showChosenPart(input);
  for (const body of document.querySelectorAll("tbody[data-live]")) new LiveRows(body);
  for (const part of document.querySelectorAll("[data-refresh]")) new LivePart(part);
  setInterval(() => { if (document.visibilityState === "visible") showTimes(document); }, 1000);
});
document.addEventListener("htmx:afterSettle", (event) => showTimes(event.target));
