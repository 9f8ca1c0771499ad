// What the pages can do beside plain HTML. Everything hangs on data attributes, and nothing is needed.
"use strict";
document.documentElement.classList.add("js");

const chinese = document.documentElement.lang.startsWith("zh");

// Counts down to the moments that pages name.
function span(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(seconds / 3600), days = Math.floor(seconds / 86400);
  const words = chinese
    ? { d: " 天", h: " 小時", min: " 分", s: " 秒" }
    : { d: " d", h: " h", min: " min", s: " s" };
  if (days > 0) return `${days}${words.d} ${hours % 24}${words.h}`;
  if (hours > 0) return `${hours}${words.h} ${minutes % 60}${words.min}`;
  if (minutes >= 10) return `${minutes}${words.min}`;
  if (minutes > 0) return `${minutes}${words.min} ${seconds % 60}${words.s}`;
  return `${seconds}${words.s}`;
}

function countDown() {
  for (const time of document.querySelectorAll("time[data-countdown]")) {
    const left = Math.ceil((Date.parse(time.dateTime) - Date.now()) / 1000);
    const text = left <= 0 ? (chinese ? "即將" : "in a moment") : chinese ? `${span(left)}後` : `in ${span(left)}`;
    if (time.textContent !== text) time.textContent = text;
  }
}
setInterval(countDown, 1000);

// Copies the text of another element.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.querySelector(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers keep the clipboard from pages that came without TLS: what is selected can still be copied.
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

// One box that chooses all the others of its form, and how many are chosen.
document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (event.target.matches("[data-select-all]")) {
    for (const box of form.querySelectorAll("[data-select]")) box.checked = event.target.checked;
  }
  if (event.target.matches("[data-select-all], [data-select]")) {
    const chosen = form.querySelectorAll("[data-select]:checked").length;
    for (const count of form.querySelectorAll("[data-selected-count]")) count.textContent = chosen;
    form.classList.toggle("some-selected", chosen > 0);
  }
  if (event.target.matches("[data-auto-submit]")) form.requestSubmit();
});

// Empty fields would only make the URL of a search long.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "get") return;
  for (const control of event.target.elements) {
    if (control.name && control.value === "") control.disabled = true;
  }
  setTimeout(() => {
    for (const control of event.target.elements) control.disabled = false;
  });
});

// `/` searches; arrows go through the rows of a table, and Enter opens one.
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select") || event.target.isContentEditable;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !typing) {
    const search = document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
    return;
  }
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

// A row leads where its link does.
document.addEventListener("click", (event) => {
  if (event.target.closest("a, button, input, label, select, summary") || getSelection().toString()) return;
  const link = event.target.closest("table[data-keys] tbody tr")?.querySelector("a[data-row-link]");
  link?.click();
});

// Parts of a page that the server sends again when they change.
for (const region of document.querySelectorAll("[data-live]:not([data-live-switch])")) {
  const button = document.querySelector("[data-live-switch]");
  let source = null;
  const fragment = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };
  const open = () => {
    source = new EventSource(region.dataset.liveFrom || region.dataset.live);
    source.addEventListener("part", (event) => {
      const parts = fragment(event.data);
      for (const part of [...parts.children]) {
        const old = document.getElementById(part.id);
        if (!old || old.outerHTML === part.outerHTML) continue;
        // What somebody is using stays as it is until they are done.
        if (old.contains(document.activeElement) && document.activeElement !== document.body) continue;
        for (const details of old.querySelectorAll("details[open][id]")) {
          part.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
        }
        old.replaceWith(part);
      }
      countDown();
    });
    source.addEventListener("row", (event) => {
      const body = region.querySelector("[data-live-rows]");
      if (!body) return;
      for (const row of [...fragment(`<table><tbody>${event.data}</tbody></table>`).querySelectorAll("tr")]) {
        const old = row.id && document.getElementById(row.id);
        row.classList.add("fresh");
        if (old) old.replaceWith(row);
        else body.prepend(row);
      }
      const most = Number(body.dataset.liveRows) || 200;
      while (body.rows.length > most) body.lastElementChild.remove();
    });
    source.addEventListener("navigate", (event) => location.assign(event.data));
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const show = () => {
    if (!button) return;
    button.setAttribute("aria-pressed", String(source !== null));
    button.querySelector("span").textContent = source ? button.dataset.live : button.dataset.paused;
  };
  button?.addEventListener("click", () => {
    source ? close() : open();
    show();
  });
  addEventListener("pagehide", close);
  if (region.dataset.liveStart !== "paused") open();
  show();
}
