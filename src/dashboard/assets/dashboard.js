// Optional enhancements of the pages, attached by data attributes. Every page works without them.
"use strict";
document.documentElement.classList.add("js");

const chinese = document.documentElement.lang.startsWith("zh");

// Countdowns to the times in `data-countdown` elements.
function span(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(seconds / 3600), days = Math.floor(seconds / 86400);
  const units = chinese
    ? { d: " 天", h: " 小時", min: " 分", s: " 秒" }
    : { d: " d", h: " h", min: " min", s: " s" };
  if (days > 0) return `${days}${units.d} ${hours % 24}${units.h}`;
  if (hours > 0) return `${hours}${units.h} ${minutes % 60}${units.min}`;
  if (minutes >= 10) return `${minutes}${units.min}`;
  if (minutes > 0) return `${minutes}${units.min} ${seconds % 60}${units.s}`;
  return `${seconds}${units.s}`;
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
document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (event.target.matches("[data-select-all]")) {
    for (const box of form.querySelectorAll("[data-select]")) box.checked = event.target.checked;
  }
  if (event.target.matches("[data-select-all], [data-select]")) {
    const selected = form.querySelectorAll("[data-select]:checked").length;
    for (const count of form.querySelectorAll("[data-selected-count]")) count.textContent = selected;
    form.classList.toggle("some-selected", selected > 0);
  }
  if (event.target.matches("[data-auto-submit]")) form.requestSubmit();
});

// Omits empty fields from the URL of a search.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "get") return;
  for (const control of event.target.elements) {
    if (control.name && control.value === "") control.disabled = true;
  }
  setTimeout(() => {
    for (const control of event.target.elements) control.disabled = false;
  });
});

// `/` focuses the search; arrow keys move between the rows of a table, and Enter opens one.
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

// A click on a row follows its link.
document.addEventListener("click", (event) => {
  if (event.target.closest("a, button, input, label, select, summary") || getSelection().toString()) return;
  const link = event.target.closest("table[data-keys] tbody tr")?.querySelector("a[data-row-link]");
  link?.click();
});

// Live updates: the server sends changed parts of the page.
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
        // A part with the focus is not replaced.
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
      const maxRows = Number(body.dataset.liveRows) || 200;
      while (body.rows.length > maxRows) body.lastElementChild.remove();
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
