// The behaviour of a report: it draws the charts, hides series and findings, and copies lines.
"use strict";

/** @typedef {{spec: object, palette: string[], styles: Object<string, string>}} ChartData */

(() => {
  const themes = JSON.parse(document.getElementById("themes").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const print = window.matchMedia("print");

  /** Return the name of the theme for the colours of the page. */
  function scheme() {
    return dark.matches && !print.matches ? "dark" : "light";
  }

  /** Return the configuration of charts for the colours of the page. */
  function theme() {
    return { ...themes[scheme()], background: null };
  }

  /** Return the colour and the dash of a series in a legend. */
  function look(data, name, config) {
    if (Object.hasOwn(data.styles, name)) {
      const style = data.styles[name];
      return { color: config.style[style].color, dash: style === "oracle" ? "dotted" : "dashed" };
    }
    const place = data.palette.indexOf(name);
    const colors = config.range.category;
    const dash = ["solid", "dashed", "dotted", "double"][Math.floor(place / colors.length) % 4];
    return { color: colors[place % colors.length], dash };
  }

  /** Colour the boxes beside a chart as its series. */
  function colorBoxes(figure, data, config) {
    for (const box of figure.querySelectorAll("input[data-series]")) {
      const { color, dash } = look(data, box.dataset.series, config);
      const swatch = box.parentElement.querySelector(".swatch");
      swatch.style.color = color;
      swatch.style.borderTopStyle = dash;
    }
  }

  /** Return the names of the series that a reader has switched off. */
  function hidden(figure) {
    const off = figure.querySelectorAll("input[data-series]:not(:checked)");
    return Array.from(off, (box) => box.dataset.series);
  }

  /** Draw a chart into its figure, in the colours of the page; its width is that of the figure. */
  async function draw(figure) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const config = theme();
    const spec = { ...data.spec };
    if (!("facet" in spec) && !("columns" in spec)) {
      spec.width = "container";
    }
    const drawing = figure.querySelector(".drawing");
    figure.result?.finalize();
    figure.result = await window.vegaEmbed(drawing, spec, {
      actions: false, ast: true, config, renderer: "svg", tooltip: { theme: scheme() },
    });
    colorBoxes(figure, data, config);
    await apply(figure);
  }

  /** Show in a chart only the series that are switched on. */
  async function apply(figure) {
    const off = hidden(figure);
    if (figure.result && off.length + (figure.wasHidden ?? 0)) {
      await figure.result.view.signal("hidden", off).runAsync();
    }
    figure.wasHidden = off.length;
    figure.dataset.off = off.length;
  }

  const figures = Array.from(document.querySelectorAll("figure.chart"));

  async function drawAll() {
    for (const figure of figures) {
      try {
        await draw(figure);
      } catch (error) { // the other charts are drawn
        console.error(error);
        figure.querySelector(".drawing").textContent = `This chart cannot be drawn: ${error}`;
      }
    }
    document.documentElement.dataset.drawn = scheme();
  }

  for (const figure of figures) {
    figure.addEventListener("change", () => apply(figure));
  }
  dark.addEventListener("change", drawAll);
  print.addEventListener("change", drawAll); // paper is light

  for (const filter of document.querySelectorAll("fieldset[data-filters]")) {
    filter.addEventListener("change", () => {
      const section = filter.closest("section");
      for (const box of filter.querySelectorAll("input")) {
        for (const one of section.querySelectorAll(`.finding[data-kind="${box.value}"]`)) {
          one.hidden = !box.checked;
        }
      }
    });
  }

  for (const field of document.querySelectorAll(".rows-filter")) {
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      const rows = Array.from(document.getElementById(field.dataset.rows).tBodies[0].rows);
      for (const row of rows) {
        const said = `${row.textContent} ${row.dataset.settings ?? ""}`;
        row.hidden = !said.toLowerCase().includes(wanted);
      }
      const shown = rows.filter((row) => !row.hidden).length;
      field.closest("p").querySelector(".shown-count").textContent = `${shown} of ${rows.length}`;
    });
  }

  const UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

  /** Return the number that a cell shows, without its separators and with its unit; or NaN. */
  function numberIn(text) {
    const [, digits, unit] = text.match(/^<?([^ ]+)(?: ([KMG]?i?B))?$/) ?? [];
    return digits === undefined ? NaN : Number(digits.replaceAll(",", "")) * (UNITS[unit] ?? 1);
  }

  /** Compare two cells: numbers first, then texts, then cells without a value. */
  function compareCells(one, other, sign) {
    const [texts, numbers] = [[one, other], [numberIn(one), numberIn(other)]];
    const ranks = texts.map((text, at) => (text === "–" || !text ? 2 : isNaN(numbers[at]) ? 1 : 0));
    if (ranks[0] !== ranks[1] || ranks[0] === 2) {
      return ranks[0] - ranks[1];
    }
    return sign * (ranks[0] ? one.localeCompare(other) : numbers[0] - numbers[1]);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = Array.from(table.tHead.rows[0].cells);
    for (const [column, heading] of headings.entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const ascending = heading.getAttribute("aria-sort") !== "ascending";
        headings.forEach((one) => one.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const cell = (row) => row.cells[column].textContent.trim();
        const rows = Array.from(table.tBodies[0].rows);
        rows.sort((one, other) => compareCells(cell(one), cell(other), ascending ? 1 : -1));
        table.tBodies[0].append(...rows);
      });
    }
  }

  /** Select the text of an element, so that a reader can copy it. */
  function select(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const lines = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(lines.textContent);
        button.textContent = "Copied";
      } catch {
        select(lines); // a page from a file may have no clipboard
        button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
      }
    });
  }

  drawAll();
})();
