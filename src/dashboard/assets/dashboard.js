// Optional enhancements of the pages, attached by data attributes. Every page works without them.
"use strict";
document.documentElement.classList.add("js");

const chinese = document.documentElement.lang.startsWith("zh");

const openedAt = Date.now();
// How far the server's clock is ahead of this browser's, in milliseconds.
let ahead = Date.parse(document.documentElement.dataset.now) - openedAt || 0;

// Countdowns to the times in `data-countdown` elements.
function span(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(seconds / 3600), days = Math.floor(seconds / 86400);
  const units = chinese
    ? { d: "\u00a0天", h: "\u00a0小時", min: "\u00a0分", s: "\u00a0秒" }
    : { d: "\u00a0d", h: "\u00a0h", min: "\u00a0min", s: "\u00a0s" };
  if (days > 0) return `${days}${units.d} ${hours % 24}${units.h}`;
  if (hours > 0) return `${hours}${units.h} ${minutes % 60}${units.min}`;
  if (minutes >= 10) return `${minutes}${units.min}`;
  if (minutes > 0) return `${minutes}${units.min} ${seconds % 60}${units.s}`;
  return `${seconds}${units.s}`;
}

function countDown() {
  for (const time of document.querySelectorAll("time[data-countdown]")) {
    const left = Math.ceil((Date.parse(time.dateTime) - Date.now() - ahead) / 1000);
    const text = left <= 0 ? (chinese ? "即將" : "in a moment") : chinese ? `${span(left)}後` : `in ${span(left)}`;
    if (time.textContent !== text) time.textContent = text;
  }
}
setInterval(countDown, 1000);

// The browser's time zone, for forms that ask for it.
for (const field of document.querySelectorAll("input[data-zone]")) {
  field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
}

// Copies the text of another element.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.querySelector(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers block the clipboard API on pages without TLS, but a selection can still be copied.
    const range = document.createRange();
    range.selectNodeContents(document.querySelector(button.dataset.copy));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    if (!document.execCommand("copy")) return;
  }
  const before = button.textContent;
  button.textContent = button.dataset.done;
  setTimeout(() => (button.textContent = before), 1500);
});

// A checkbox that selects all others of its form, and the number of selected ones.
const showSelected = (form) => {
  const selected = form.querySelectorAll("[data-select]:checked").length;
  const isPage = selected > 0 && selected === form.querySelectorAll("[data-select]").length;
  for (const all of form.querySelectorAll("[data-select-all]")) all.checked = isPage;
  for (const count of form.querySelectorAll("[data-selected-count]")) count.textContent = selected;
  const isOne = form.elements.scope?.value !== "all" && selected === 0;
  for (const button of form.querySelectorAll(".bulk button")) button.disabled = isOne;
};
document.querySelectorAll("form.keys").forEach(showSelected);
// Where the page is shown again, the browser has kept what was selected.
addEventListener("pageshow", () => document.querySelectorAll("form.keys").forEach(showSelected));
// With Shift, a click selects all up to the last click.
let lastSelected = null;
document.addEventListener("click", (event) => {
  const box = event.target;
  if (!box.matches("[data-select]")) return;
  const boxes = [...document.querySelectorAll("[data-select]")];
  const [from, to] = [boxes.indexOf(lastSelected), boxes.indexOf(box)].sort((one, other) => one - other);
  if (event.shiftKey && from >= 0) for (const other of boxes.slice(from, to)) other.checked = box.checked;
  lastSelected = box;
  showSelected(box.form);
});
document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (event.target.matches("[data-select-all]")) {
    for (const box of form.querySelectorAll("[data-select]")) box.checked = event.target.checked;
  }
  if (event.target.matches("[data-select-all], [data-select], #scope")) showSelected(form);
  if (event.target.matches("[data-auto-submit]")) form.requestSubmit();
});

// A form whose page has other forms with unsaved input asks before that is lost.
document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form[data-unsaved]");
  if (form) form.dataset.dirty = "";
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  const others = [...document.querySelectorAll("form[data-unsaved][data-dirty]")].filter((other) => other !== form);
  if (form.dataset.unsaved && others.length > 0 && !confirm(form.dataset.unsaved)) event.preventDefault();
});

// Omits empty fields from the URL of a search.
document.addEventListener("submit", (event) => {
  // Not `form.method`, which is a field where a form has one of that name.
  if (event.target.getAttribute("method") !== "get") return;
  for (const control of event.target.elements) {
    if (control.name && control.value === "") control.disabled = true;
  }
  setTimeout(() => {
    for (const control of event.target.elements) control.disabled = false;
  });
});

// `/`, Ctrl+K and ⌘K open a search over the page. Arrow keys move between its results, and Enter opens the first one.
const finder = document.querySelector("dialog.find-dialog");
if (finder) {
  const input = finder.querySelector("input"), results = () => [...finder.querySelectorAll(".found a")];
  let latest = 0, pause = null;
  const find = async () => {
    const number = ++latest;
    // Of a whole key, its end is enough: the rest must not be in a URL.
    const text = input.value.trim(), wanted = /^[!-.0-~]{30,}$/.test(text) && /[A-Z]/.test(text) ? text.slice(-4) : text;
    const answer = await fetch(`/search/results?q=${encodeURIComponent(wanted)}`, { headers: { accept: "*/*" } });
    if (number !== latest) return;
    if (answer.status === 401) return location.reload();
    const template = document.createElement("template");
    template.innerHTML = await answer.text();
    const focused = results().find((link) => link === document.activeElement);
    finder.querySelector(".found").replaceWith(template.content);
    // Later results must not take the focus from one that an arrow key chose.
    if (focused) (results().find((link) => link.href === focused.href) || results()[0] || input).focus();
  };
  const open = () => {
    finder.showModal();
    input.select();
  };
  input.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(find, 120);
  });
  finder.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(pause);
    await find();
    results()[0]?.click();
  });
  finder.addEventListener("keydown", (event) => {
    // A search field takes the first Escape for itself.
    if (event.key === "Escape") return finder.close();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const links = results(), next = links.indexOf(document.activeElement) + step;
    (links[Math.min(next, links.length - 1)] || input).focus();
  });
  // A click beside the dialog closes it.
  finder.addEventListener("click", (event) => event.target === finder && finder.close());
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-find]") || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    open();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea, select") || event.target.isContentEditable;
    const isShortcut = event.key === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
    const isSlash = event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (finder.open || !(isShortcut || isSlash)) return;
    event.preventDefault();
    open();
  });
}

// A narrow screen shows some of the tabs: among them the current one.
function showCurrentTabs() {
  for (const tab of document.querySelectorAll(".tabs [aria-current]")) {
    const [own, all] = [tab, tab.parentElement].map((element) => element.getBoundingClientRect());
    tab.parentElement.scrollLeft += own.left - all.left - (all.width - own.width) / 2;
  }
}
showCurrentTabs();
// Not with each change of size: on a phone, scrolling makes some, which would undo the scrolling of tabs.
matchMedia("(max-width: 820px)").addEventListener("change", showCurrentTabs);

// Arrow keys move between the rows of a table, and Enter opens one.
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select") || event.target.isContentEditable;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
  const links = [...document.querySelectorAll("table[data-keys] a[data-row-link]")];
  if (links.length === 0) return;
  const row = document.activeElement.closest("tr");
  const index = links.findIndex((link) => link.closest("tr") === row);
  const next = event.key === "ArrowDown" ? index + 1 : Math.max(index - 1, 0);
  if (links[next]) {
    event.preventDefault();
    links[next].focus();
    links[next].scrollIntoView({ block: "nearest" });
  }
});

// Escape and a click elsewhere close an open menu.
const openMenu = () => document.querySelector("details.menu[open], details.folded[open]");
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && openMenu();
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// A click on a row follows its link, unless it closes a menu.
document.addEventListener("click", (event) => {
  const menu = openMenu();
  if (menu && !menu.contains(event.target)) {
    menu.open = false;
    if (!event.target.closest("a, button, input, label, select, summary")) return;
  }
  if (event.target.closest("a, button, input, label, select, summary") || getSelection().toString()) return;
  const link = event.target.closest("table[data-keys] tbody tr")?.querySelector("a[data-row-link]");
  link?.click();
});

// The answer of a request that is tried, as it arrives. Without scripts the form shows the whole answer.
for (const form of document.querySelectorAll("form[data-try]")) {
  const send = form.querySelector("[type=submit]"), stop = form.querySelector("[data-try-stop]");
  let running = null;
  const setRunning = (controller) => {
    running = controller;
    send.disabled = controller !== null;
    stop.hidden = controller === null;
  };
  const show = (event) => {
    const text = document.querySelector("#result [data-try-text]");
    if (event.text !== undefined) {
      text.hidden = false;
      text.textContent += event.text;
    } else {
      document.getElementById("result").outerHTML = event.html;
    }
  };
  const read = async (body) => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        if (event.startsWith("data:")) show(JSON.parse(event.slice(5)));
      }
    }
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return;
    const controller = new AbortController();
    setRunning(controller);
    const blank = document.querySelector("template[data-try-running]").content.cloneNode(true);
    document.getElementById("result").replaceWith(blank);
    try {
      const headers = { accept: "text/event-stream" };
      const body = new FormData(form);
      const answer = await fetch(form.action, { method: "POST", body, headers, signal: controller.signal });
      const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream");
      // The page says what is wrong with the form, or that the session has ended.
      if (!answer.ok || !isStream) return form.submit();
      await read(answer.body);
    } catch {
      const state = document.querySelector("#result [data-try-state] span");
      if (state) state.textContent = controller.signal.aborted ? form.dataset.stopped : form.dataset.lost;
    }
    setRunning(null);
  });
  stop.addEventListener("click", () => running?.abort());
}

// Whether the page is connected: what it shows is only as good as its last update. Each source of updates reports its own.
const disconnected = new Set(), lastUpdates = new Map();
const connectionLost = document.querySelector("[data-connection-lost]");
function setConnected(source, isConnected) {
  if (isConnected) disconnected.delete(source);
  else disconnected.add(source);
  const isLost = disconnected.size > 0;
  document.body.classList.toggle("stale", isLost);
  if (!connectionLost || connectionLost.hidden !== isLost) return;
  const time = connectionLost.querySelector("time"), last = (lastUpdates.get(source) || openedAt) + ahead;
  time.dateTime = new Date(last).toISOString();
  time.textContent = new Intl.DateTimeFormat(document.documentElement.lang, {
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: connectionLost.dataset.zone,
  }).format(last);
  connectionLost.hidden = !isLost;
}

// What is wrong with the pool is read again while the page is visible. It shows as well whether the server is there, and
// whether the session has ended.
const PROBLEMS_INTERVAL = 2000;
const PROBLEMS_TIMEOUT = 2500;
const problems = document.querySelector("[data-problems]");
if (problems) {
  const over = document.querySelector("[data-session-over]");
  let latest = 0;
  const read = async (number, isRepeated) => {
    if (number !== latest || document.hidden) return;
    const next = (pause, isRepeated) => setTimeout(() => read(number, isRepeated), pause);
    try {
      const signal = AbortSignal.timeout(PROBLEMS_TIMEOUT);
      const answer = await fetch(problems.dataset.problems, { headers: { accept: "*/*" }, cache: "no-store", signal });
      over.hidden = answer.status !== 401;
      if (answer.ok && !("hidden" in problems.dataset)) {
        const template = document.createElement("template");
        template.innerHTML = await answer.text();
        if (template.innerHTML !== problems.innerHTML) problems.replaceChildren(template.content);
      }
      if (answer.status < 500) lastUpdates.set("problems", Date.now());
      setConnected("problems", answer.status < 500);
    } catch (error) {
      // A browser cancels requests when it leaves the page.
      if (error.name !== "TimeoutError" && !isRepeated) return next(500, true);
      setConnected("problems", false);
    }
    next(PROBLEMS_INTERVAL, false);
  };
  const restart = (pause) => {
    const number = ++latest;
    setTimeout(() => read(number, false), pause);
  };
  document.addEventListener("visibilitychange", () => restart(0));
  restart(PROBLEMS_INTERVAL);
}

// Parts that are read again while the page is visible, unless they are in use.
const REFRESH = 10000;
if (document.querySelector("[data-refresh]")) {
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { accept: "*/*" }, cache: "no-store" });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of document.querySelectorAll("[data-refresh]")) {
        const part = page.getElementById(old.id);
        const isUsed = old.contains(document.activeElement) || old.querySelector("input:checked") || !getSelection().isCollapsed;
        if (!part || isUsed) continue;
        for (const details of old.querySelectorAll("details[open][id]")) {
          part.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
        }
        old.replaceWith(part);
      }
      document.dispatchEvent(new Event("parts"));
      countDown();
    } catch {
      // The server is away, which the notice above the page says.
    }
  }, REFRESH);
}

// Live updates: the server sends changed parts of the page, and its time every two seconds.
const SILENCE = 5000;
const RETRY = 2000;
for (const region of document.querySelectorAll("[data-live]:not([data-live-switch])")) {
  const button = document.querySelector("[data-live-switch]");
  let source = null, retry = null, lastSeen = Date.now();
  const fragment = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };
  const show = (isLost) => {
    lastUpdates.set("live", lastSeen);
    setConnected("live", !isLost);
    if (!button) return;
    button.setAttribute("aria-pressed", String(source !== null));
    button.querySelector("span").textContent =
      isLost ? button.dataset.lost : source ? button.dataset.live : button.dataset.paused;
  };
  const seen = () => {
    lastSeen = Date.now();
    show(false);
  };
  // A browser does not reconnect after an answer that is no stream: the session may have ended.
  const reopen = async () => {
    try {
      const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" });
      if (answer.status === 401) return location.reload();
    } catch {
      // The server is away.
    }
    if (source) open();
  };
  const open = () => {
    source?.close();
    source = new EventSource(region.dataset.liveFrom || region.dataset.live);
    source.addEventListener("open", seen);
    source.addEventListener("error", () => {
      show(true);
      clearTimeout(retry);
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(reopen, RETRY);
    });
    source.addEventListener("time", (event) => {
      ahead = Date.parse(event.data) - Date.now();
      seen();
    });
    source.addEventListener("part", (event) => {
      const parts = fragment(event.data);
      for (const part of [...parts.children]) {
        const old = document.getElementById(part.id);
        if (!old || old.outerHTML === part.outerHTML) continue;
        // A part with the focus is not replaced.
        if (old.contains(document.activeElement) && document.activeElement !== document.body) continue;
        for (const details of old.querySelectorAll("details[open][id]")) {
          part.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
        }
        old.replaceWith(part);
      }
      document.dispatchEvent(new Event("parts"));
      countDown();
    });
    source.addEventListener("row", (event) => {
      const body = region.querySelector("[data-live-rows]");
      if (!body) return;
      for (const row of [...fragment(`<table><tbody>${event.data}</tbody></table>`).querySelectorAll("tr")]) {
        const old = row.id && document.getElementById(row.id);
        row.classList.add("fresh");
        const hasFocus = old && old.contains(document.activeElement);
        if (old) old.replaceWith(row);
        // Newest first; the ids of requests sort by their beginning.
        else body.insertBefore(row, [...body.rows].find((other) => other.id < row.id) || null);
        if (hasFocus) row.querySelector("a[data-row-link]")?.focus({ preventScroll: true });
      }
      const maxRows = Number(body.dataset.liveRows) || 200;
      while (body.rows.length > maxRows && !body.lastElementChild.contains(document.activeElement)) {
        body.lastElementChild.remove();
      }
    });
    // What is complete has no more updates, and a page of it stays good.
    source.addEventListener("end", () => {
      close();
      show(false);
    });
    source.addEventListener("navigate", (event) => location.assign(event.data));
  };
  const close = () => {
    clearTimeout(retry);
    source?.close();
    source = null;
  };
  button?.addEventListener("click", () => {
    if (source) {
      close();
      show(false);
    } else {
      seen();
      open();
      show(false);
    }
  });
  addEventListener("pagehide", close);
  // A connection that broke without a word.
  setInterval(() => {
    if (source && Date.now() - lastSeen > SILENCE) show(true);
  }, 1000);
  if (region.dataset.liveStart !== "paused") open();
  show(false);
}
