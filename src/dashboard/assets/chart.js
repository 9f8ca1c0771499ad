// Charts to explore: uPlot draws the numbers of the server's charts for pointer, touch and keyboard.
"use strict";
{
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format;
  const units = {
    ms: (value) => (value < 1000 ? `${value}\u00a0ms` : `${value / 1000}\u00a0s`),
    usd: (value) => `$${+value.toPrecision(3)}`,
  };
  // A value above zero has at least this share of the height, as in the server's drawing.
  const LEAST = 0.03, explored = new Map();
  const element = (parent, name, className = "", text = "") => {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    parent.append(made);
    return made;
  };

  const explore = (figure) => {
    let data, times, middles, series, visible, end, shown, chosen = -1, isTouch, isDragged;
    const box = element(figure, "div", "explored"), tip = element(box, "div", "tip");
    const said = element(figure, "p", "visually-hidden"), hint = element(figure, "p", "visually-hidden");
    const zoomed = element(figure, "div", "actions");
    const whole = element(zoomed, "button", "small"), open = element(zoomed, "a", "button small");
    box.tabIndex = 0;
    box.role = "application";
    box.setAttribute("aria-describedby", (hint.id = `${figure.id}-keys`));
    said.ariaLive = "polite";

    const read = () => {
      data = JSON.parse(figure.dataset.chart);
      ({ times, series } = data);
      end = times.at(-1);
      middles = times.slice(1).map((next, index) => (times[index] + next) / 2);
      visible = [times[0], end];
      box.ariaLabel = figure.querySelector("h3").textContent;
      hint.textContent = data.texts.hint;
      whole.textContent = data.texts.whole;
      open.textContent = data.texts.open;
      open.hidden = !data.log;
      zoomed.hidden = true;
      figure.classList.add("is-explored");
    };
    read();
    const isStacked = data.kind === "stacked";
    // Stacks are drawn from the top, because a lower one covers a higher one.
    const place = (index) => (isStacked ? series.length - index : index - 1);
    const values = () => {
      if (!isStacked) return [middles, ...series.map((one) => one.values)];
      const seen = middles.map((middle) => middle > visible[0] && middle < visible[1]);
      const sum = (heights) => heights.reduce((all, height) => all + height, 0);
      const bins = middles.map((_, bin) => series.map((one) => one.values[bin] || 0));
      const least = LEAST * Math.max(...bins.map((heights, bin) => seen[bin] && sum(heights)));
      const stacks = series.map(() => []);
      for (const bin of bins) {
        const heights = bin.map((height) => height && Math.max(height, least));
        const largest = heights.indexOf(Math.max(...heights)), added = sum(heights) - sum(bin);
        if (heights[largest] > added + least) heights[largest] -= added;
        let top = 0;
        heights.forEach((height, index) => stacks[index].push(height ? (top += height) : null));
      }
      return [middles, ...stacks.reverse()];
    };
    const link = (from, to, query = "") => {
      const text = (time) => new Date(time).toISOString();
      const since = text(Math.max(from * 1000, data.since)), until = text(Math.min(to * 1000, data.until));
      return `${data.log}from=${since}&to=${until}${query}`;
    };
    const openLog = (event) => {
      if (!data.log || shown == null) return;
      const target = link(times[shown], times[shown + 1], series[chosen]?.query);
      if (event.ctrlKey || event.metaKey) window.open(target);
      else location.assign(target);
    };
    const swatches = series.map((one) => {
      const swatch = element(tip, "span");
      swatch.innerHTML = `<svg width="8" height="8"><rect class="series-${one.colour}" width="8" height="8" rx="2"/></svg> `;
      return swatch;
    });
    const style = getComputedStyle(box), line = () => style.borderTopColor, ink = () => style.color;
    const paint = (u, index) => getComputedStyle(swatches[place(index)].querySelector("rect")).fill;
    // The values of the bin below the cursor; returns them as text.
    const show = (u) => {
      shown = u.cursor.idx;
      if ((tip.hidden = shown == null)) return "";
      const { cells } = figure.querySelector("tbody").rows[shown], label = cells[0].textContent;
      tip.textContent = "";
      element(tip, "strong", "", label);
      const texts = series.map((one, index) => `${one.name}: ${cells[index + 1].textContent}`);
      texts.forEach((text, index) => element(tip, "div", index === chosen ? "chosen" : "").append(swatches[index], text));
      if (isTouch && data.log) element(tip, "a", "", open.textContent).href = link(times[shown], times[shown + 1]);
      const left = u.over.offsetLeft + u.cursor.left, right = box.clientWidth - left;
      tip.style.left = left < right ? `${left + 12}px` : "";
      tip.style.right = left < right ? "" : `${right + 12}px`;
      return `${label}. ${texts[chosen] || texts.join(", ")}`;
    };
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const size = () => ({ width: box.clientWidth, height: data.picks ? 120 : 180 });
    const plot = new uPlot({
      ...size(),
      legend: { show: false },
      padding: [8, 28, 0, 0],
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), data.zone),
      cursor: { y: false, points: { show: false }, drag: { setScale: false, dist: 6, click: () => {} } },
      scales: {
        x: { range: () => visible },
        y: isStacked
          ? { range: (u, least, most) => [0, most * 1.05 || 1] }
          : { distr: 3, range: () => [data.scale[0], data.scale.at(-1)] },
      },
      axes: [
        {
          ...axis, size: 40, gap: 6, space: 56, incrs: [1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10080, 20160, 40320].map((minutes) => minutes * 60),
          values: [
            [86400 * 28, "{YYYY}-{MM}"],
            [86400, "{MM}-{DD}"],
            [60, "{HH}:{mm}", "\n{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
          ],
        },
        {
          ...axis, size: 60,
          ...(isStacked ? {} : { splits: () => data.scale, filter: (u, splits) => splits }),
          // Counts have no labels between whole numbers.
          space: (u, index, least, most, size) => Math.max(32, !units[data.unit] && size / most),
          values: (u, splits) => splits.map(units[data.unit] || compact),
        },
      ],
      series: [{}, ...series.map(() => (isStacked
        ? { fill: paint, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 60] }) }
        : { stroke: paint, width: 2, points: { show: true, size: 4, fill: paint } }))],
      hooks: {
        setCursor: [(u) => {
          if (u.cursor.event) {
            const { idx, top } = u.cursor, value = u.posToVal(top, "y");
            chosen = -1;
            if (isStacked) u.data.forEach((stack, index) => index && stack[idx] >= value && (chosen = place(index)));
          }
          show(u);
        }],
        setSelect: [(u) => {
          const { left, width } = u.select;
          isDragged = width > 0;
          if (isDragged) zoom(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
        }],
        // A bin that is not over is paler, behind a dashed line.
        draw: [({ ctx, bbox: { left, top, width, height }, valToPos }) => {
          const x = Math.max(valToPos(times.at(-2), "x", true), left), rest = left + width - x;
          if (!data.running || rest <= 0) return;
          ctx.save();
          ctx.globalAlpha = 0.5;
          ctx.fillStyle = style.backgroundColor;
          ctx.fillRect(x, top, rest, height);
          ctx.globalAlpha = 1;
          ctx.strokeStyle = ink();
          ctx.setLineDash([4, 4]);
          ctx.strokeRect(x, top, rest, height);
          ctx.restore();
        }],
      },
    }, values(), box);
    // To whole bins, so that the log shows what the chart counts.
    const zoom = (from, to) => {
      visible = [times.findLast((time) => time <= from) ?? times[0], times.find((time) => time >= to) ?? end];
      if (data.picks) return location.assign(link(...visible));
      zoomed.hidden = visible[0] === times[0] && visible[1] === end;
      if (data.log) open.href = link(...visible);
      plot.setData(values());
      plot.setSelect({ width: 0 }, false);
    };
    const reset = () => zoom(times[0], end);
    whole.onclick = reset;
    box.addEventListener("keydown", (event) => {
      const first = middles.findIndex((middle) => middle > visible[0]);
      const last = middles.findLastIndex((middle) => middle < visible[1]);
      const at = shown ?? last, quarter = (visible[1] - visible[0]) / 4;
      const moveTo = (index) => {
        const left = plot.valToPos(middles[Math.max(first, Math.min(index, last))], "x");
        isTouch = plot.cursor.event = null;
        plot.setCursor({ left, top: 9 });
        said.textContent = show(plot);
      };
      const choose = (index) => {
        if (index < 0 || series[index]) chosen = index;
        moveTo(at);
      };
      const act = {
        ArrowLeft: () => moveTo((shown ?? last + 1) - 1),
        ArrowRight: () => moveTo((shown ?? first - 1) + 1),
        ArrowUp: () => choose(chosen + 1),
        ArrowDown: () => choose(chosen - 1),
        Home: () => moveTo(first),
        End: () => moveTo(last),
        Enter: () => openLog(event),
        "+": () => zoom(middles[at] - quarter, middles[at] + quarter),
        "-": reset,
        Escape: reset,
      }[event.key];
      if (!act || event.target !== box || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    });
    const over = plot.over;
    // A part of the page that has the focus is not kept up to date.
    over.onmousedown = (event) => event.preventDefault();
    over.addEventListener("pointerdown", (event) => {
      isTouch = event.pointerType === "touch";
      isDragged = false;
    });
    over.addEventListener("pointermove", (event) => {
      if (isTouch) plot.setCursor({ left: event.offsetX, top: event.offsetY });
    });
    over.addEventListener("click", (event) => isTouch || isDragged || openLog(event));
    tip.hidden = true;
    new ResizeObserver(() => plot.setSize(size())).observe(box);
    matchMedia("(prefers-color-scheme: dark)").onchange = () => plot.redraw();
    // The drawing moves into a newer figure of the page, with its cursor and its zoom.
    return (newer) => {
      const before = visible, isZoomed = !zoomed.hidden;
      newer.append(box, said, hint, zoomed);
      figure = newer;
      read();
      zoom(...(isZoomed ? before : visible));
    };
  };

  const begin = () => {
    for (const figure of document.querySelectorAll("figure[data-chart]:not(.is-explored)")) {
      const renew = explored.get(figure.id);
      if (renew) renew(figure);
      else explored.set(figure.id, explore(figure));
    }
  };
  document.addEventListener("parts", begin);
  begin();
}
