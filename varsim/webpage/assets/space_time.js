// The behaviour of a space-time diagram: it zooms, pans and filters, and shows the record of an event.
"use strict";

(() => {
  const { Drawing, Scene, label } = window.spaceTime;
  const FIRST_UNITS = 70; // that are in view at first, on a wide screen
  const LEAST_PIXELS = 12; // of a unit at first
  const CLOSEST = 160; // pixels of a unit
  const MOST_ROWS = 150; // of the table
  const MOST_EFFECTS = 8; // buttons
  const STEP = 1.35; // of a zoom

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const print = window.matchMedia("print");

  /** Return the colours of the page and of its charts. */
  function look() {
    const themes = JSON.parse(document.getElementById("themes").textContent);
    const theme = themes[dark.matches && !print.matches ? "dark" : "light"];
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    return {
      colors: theme.range.category, font: theme.font, text: color("text"), faint: color("faint"),
      line: color("line"), card: color("card"), bad: color("bad"),
    };
  }

  /** Make an element with attributes and children. */
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  /** One diagram of the page. */
  class Diagram {
    constructor(root) {
      this.root = root;
      this.scene = new Scene(JSON.parse(root.querySelector("script").textContent));
      this.canvas = root.querySelector("canvas");
      this.tip = root.querySelector(".tip");
      this.record = root.querySelector(".event-record");
      this.said = root.querySelector(".said");
      this.nothingChosen = [...this.record.children];
      this.drawing = new Drawing(this.canvas, this.scene);
      this.chosen = -1;
      this.hovered = -1;
      this.pointers = new Map();
      this.drawing.resize(look());
      this.colorBoxes();
      this.begin();
      this.listen();
      this.draw();
    }

    /** Show the first events, or those of the first finding. */
    begin() {
      const scale = Math.max(this.drawing.room / FIRST_UNITS, LEAST_PIXELS);
      const unit = this.scene.by === "rank" ? 1 : this.scene.end / this.scene.count || 1;
      this.view = { start: -1 * unit, scale: scale / unit };
      const first = Math.min(...this.scene.marked.keys());
      if (this.scene.marked.size) {
        this.center(this.chosen < 0 ? first : this.chosen);
      }
      this.keepInside();
    }

    /** Draw again with the next frame of the screen. */
    invalidate() {
      if (!this.waiting) {
        this.waiting = true;
        requestAnimationFrame(() => {
          this.waiting = false;
          this.draw();
        });
      }
    }

    draw() {
      this.drawing.draw(this.view, this.chosen, this.hovered);
      const data = this.root.dataset;
      data.start = this.view.start.toFixed(2);
      data.scale = this.view.scale.toPrecision(4);
      data.shown = this.scene.byLane.reduce((sum, one) => sum + one.length, 0);
      data.apart = this.drawing.apart(this.view).toPrecision(4);
      data.drawn = Number(data.drawn ?? 0) + 1;
      this.tabulate();
    }

    /** Take new colours or a new width. */
    renew() {
      this.drawing.resize(look());
      this.colorBoxes();
      this.invalidate();
    }

    colorBoxes() {
      for (const box of this.root.querySelectorAll(".families input")) {
        const swatch = box.parentElement.querySelector(".swatch");
        swatch.style.borderTopColor = this.drawing.color(Number(box.value));
      }
    }

    // ---- the view

    /** Return the scale at which all events are in view. */
    get least() {
      return this.drawing.room / Math.max(this.scene.end * 1.02, 1e-9);
    }

    keepInside() {
      const { view, scene } = this;
      const closest = scene.by === "rank" ? CLOSEST : CLOSEST * scene.count;
      view.scale = Math.max(Math.min(this.least, closest), Math.min(view.scale, closest));
      const span = this.drawing.room / view.scale;
      const margin = span * 0.05;
      view.start = Math.max(-margin, Math.min(view.start, scene.end + margin - span));
      if (span > scene.end + 2 * margin) {
        view.start = -margin;
      }
    }

    /** Move the view by some pixels; return whether it has moved. */
    pan(pixels) {
      const before = this.view.start;
      this.view.start += pixels / this.view.scale;
      this.keepInside();
      this.invalidate();
      return before !== this.view.start;
    }

    /** Change the scale around a point, by default around the middle. */
    zoom(factor, x = this.drawing.size.left + this.drawing.room / 2) {
      const aside = x - this.drawing.size.left;
      const fixed = this.view.start + aside / this.view.scale;
      this.view.scale *= factor;
      this.keepInside();
      this.view.start = fixed - aside / this.view.scale;
      this.keepInside();
      this.invalidate();
    }

    showAll() {
      this.view.scale = 0;
      this.keepInside();
      this.invalidate();
    }

    /** Bring an event into the middle of the view. */
    center(event) {
      this.view.start = this.scene.xs[event] - this.drawing.room / this.view.scale / 2;
      this.keepInside();
      this.invalidate();
    }

    // ---- the chosen event

    /** Choose an event, show its record, and bring it into view. */
    choose(event) {
      this.chosen = event;
      this.root.dataset.chosen = event < 0 ? "" : this.scene.data.columns.event[event];
      this.record.replaceChildren(...(event < 0 ? this.nothingChosen : this.describe(event)));
      this.record.classList.toggle("empty", event < 0);
      if (event >= 0) {
        const x = this.drawing.x(event, this.view);
        if (x < this.drawing.size.left + 10 || x > this.drawing.width - 20) {
          this.center(event);
        }
      }
      this.invalidate();
    }

    /** Return the elements of an event's record. */
    describe(event) {
      const { scene } = this;
      const { columns, processes, labels, simulated, path } = scene.data;
      const number = columns.event[event];
      const list = make("dl");
      const add = (name, value) => value && list.append(make("dt", {}, name), make("dd", {}, value));
      add("process", processes[columns.process[event]]);
      add("time", simulated ? "" : `${(columns.time_us[event] / 1e6).toFixed(6)} s after the first event`);
      add("variable", scene.variable(event));
      for (const [column, name] of labels) {
        const value = scene.text(column, event);
        add(name, column === "location" && value ? make("code", {}, value) : value);
      }
      add("findings", (scene.marked.get(event) ?? []).join("; "));
      add("whole value", make("code", {}, `varsim check ${path} --event ${number}`));
      return [make("p", {}, make("strong", {}, `Event ${number}. `), scene.sentence(event)), list, this.neighbours(event)];
    }

    /** Return buttons for the cause of an event, its effects, and the events beside it. */
    neighbours(event) {
      const { scene } = this;
      const { columns, processes } = scene.data;
      const row = make("div");
      const add = (name, other) => {
        const what = `${name}: event ${columns.event[other]}, ${processes[columns.process[other]]}`;
        row.append(make("button", { type: "button", "data-event": other }, what), " ");
      };
      const before = scene.beside(event, -1);
      const after = scene.beside(event, 1);
      if (scene.causes[event] >= 0) {
        add("cause", scene.causes[event]);
      } else if (columns.cause[event]) {
        row.append(`Its cause, event ${columns.cause[event]}, is not in the diagram. `);
      }
      for (const effect of (scene.effects.get(event) ?? []).slice(0, MOST_EFFECTS)) {
        add("effect", effect);
      }
      before !== event && add("before", before);
      after !== event && add("after", after);
      return row;
    }

    /** Choose the event of another lane that is nearest to the chosen one. */
    chooseInLane(by) {
      const { scene } = this;
      let lane = scene.lane.get(scene.data.columns.process[this.chosen]) + by;
      while (lane >= 0 && lane < scene.lanes.length) {
        const event = scene.nearest(lane, scene.xs[this.chosen]);
        if (event >= 0) {
          this.choose(event);
          return;
        }
        lane += by;
      }
    }

    /** Return the first event in view; -1 if there is none. */
    firstInView() {
      const { scene, view } = this;
      const found = scene.byLane.map((events, lane) => events[scene.first(lane, view.start)]);
      const events = found.filter((one) => one !== undefined);
      return events.length ? events.reduce((a, b) => (scene.xs[b] < scene.xs[a] ? b : a)) : -1;
    }

    // ---- input

    listen() {
      const { root, canvas } = this;
      canvas.addEventListener("pointerdown", (event) => this.down(event));
      canvas.addEventListener("pointermove", (event) => this.move(event));
      for (const name of ["pointerup", "pointercancel"]) {
        canvas.addEventListener(name, (event) => this.up(event));
      }
      canvas.addEventListener("pointerleave", () => this.hover(-1));
      canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      canvas.addEventListener("keydown", (event) => this.key(event));
      root.addEventListener("click", (event) => this.click(event));
      root.querySelector(".filters").addEventListener("input", (event) => this.filter(event.target));
      root.querySelector("details.events").addEventListener("toggle", () => this.tabulate());
      new ResizeObserver(() => this.canvas.clientWidth !== this.drawing.width && this.renew()).observe(canvas);
      dark.addEventListener("change", () => this.renew());
      print.addEventListener("change", () => this.renew());
    }

    down(event) {
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event.offsetX);
      this.moved = 0;
      const position = this.drawing.mapped(event.offsetX, event.offsetY);
      this.onMap = position !== null;
      this.toMapped(position);
    }

    /** Bring a position of the map into the middle. */
    toMapped(position) {
      if (position !== null) {
        this.view.start = position - this.drawing.room / this.view.scale / 2;
        this.keepInside();
        this.invalidate();
      }
    }

    move(event) {
      if (!this.pointers.has(event.pointerId)) {
        this.hover(this.drawing.at(event.offsetX, event.offsetY, this.view), event);
        return;
      }
      const before = [...this.pointers.values()];
      const by = event.offsetX - this.pointers.get(event.pointerId);
      this.pointers.set(event.pointerId, event.offsetX);
      this.moved += Math.abs(by);
      if (this.onMap) {
        this.toMapped(this.drawing.mapped(event.offsetX, this.drawing.size.height));
      } else if (before.length === 2) {
        const now = [...this.pointers.values()];
        const wide = (pair) => Math.max(10, Math.abs(pair[0] - pair[1]));
        this.zoom(wide(now) / wide(before), (now[0] + now[1]) / 2);
      } else {
        this.pan(-by);
      }
    }

    up(event) {
      const alone = this.pointers.size === 1;
      this.pointers.delete(event.pointerId);
      if (event.type === "pointerup" && alone && this.moved < 5 && !this.onMap) {
        this.choose(this.drawing.at(event.offsetX, event.offsetY, this.view));
      }
    }

    /** Show a few words on the event below the pointer. */
    hover(event, pointer) {
      this.hovered = event;
      this.tip.hidden = event < 0;
      if (event >= 0) {
        const { scene } = this;
        const marks = (scene.marked.get(event) ?? []).map((one) => ` Finding: ${one}.`).join("");
        this.tip.textContent = `${scene.data.columns.event[event]}: ${label(scene, event)}.${marks}`;
        const left = Math.min(pointer.offsetX + 14, this.drawing.width - this.tip.offsetWidth - 4);
        this.tip.style.left = `${Math.max(0, left)}px`;
        this.tip.style.top = `${pointer.offsetY + 16}px`;
      }
      this.invalidate();
    }

    /** Zoom with Ctrl; pan sideways or with Shift. Other turns scroll the page. */
    wheel(event) {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 300), event.offsetX);
        return;
      }
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      const by = sideways ? event.deltaX : event.shiftKey ? event.deltaY : 0;
      if (by && this.pan(by)) {
        event.preventDefault();
      }
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) {
        return;
      }
      const act = this.action(event);
      if (act) {
        event.preventDefault();
        act();
      }
    }

    /** Return what a key does; undefined for nothing. */
    action({ key, shiftKey }) {
      const sideways = { ArrowLeft: -1, ArrowRight: 1 }[key];
      const upwards = { ArrowUp: -1, ArrowDown: 1 }[key];
      if (sideways && shiftKey) {
        return () => this.pan((sideways * this.drawing.room) / 4);
      }
      if ((sideways || upwards) && this.chosen < 0) {
        return () => this.choose(this.firstInView());
      }
      if (sideways) {
        return () => this.choose(this.scene.beside(this.chosen, sideways));
      }
      if (upwards) {
        return () => this.chooseInLane(upwards);
      }
      const cause = this.scene.causes[this.chosen] ?? -1;
      return {
        "+": () => this.zoom(STEP),
        "=": () => this.zoom(STEP),
        "-": () => this.zoom(1 / STEP),
        0: () => this.showAll(),
        Home: () => this.pan(-Infinity),
        End: () => this.pan(Infinity),
        c: () => cause >= 0 && this.choose(cause),
        Escape: () => this.choose(-1),
      }[key];
    }

    /** Do what a button says. */
    click(event) {
      const button = event.target.closest("button");
      const act = { in: () => this.zoom(STEP), out: () => this.zoom(1 / STEP), all: () => this.showAll() };
      if (button?.dataset.event) {
        this.choose(Number(button.dataset.event));
        this.canvas.focus({ preventScroll: true });
      } else if (button) {
        act[button.dataset.do]?.();
      }
    }

    /** Apply the filters and the tools above the diagram. */
    filter(changed) {
      const { root, scene } = this;
      if (changed.matches(".call")) {
        this.goToCall(changed.value);
        return;
      }
      if (changed.matches(".spacing")) {
        scene.space(changed.value);
        this.drawing.resize(look());
        this.begin();
        if (this.chosen >= 0) {
          this.center(this.chosen);
        }
      }
      const checked = (name) => new Set(Array.from(root.querySelectorAll(`.${name} input:checked`), (box) => Number(box.value)));
      scene.families = checked("families");
      scene.processes = checked("processes");
      scene.names = root.querySelector(".names").value.trim().toLowerCase();
      scene.filter();
      this.say(scene.byLane.some((events) => events.length) ? "" : this.whyEmpty());
      this.renew();
    }

    /** Say something about the filters and tools, where a reader looks and a screen reader hears. */
    say(text) {
      this.said.textContent = text;
    }

    /** Bring the beginning of a call into view, or say which calls there are. */
    goToCall(call) {
      const { scene } = this;
      const calls = this.drawing.calls;
      const wanted = calls.find((one) => scene.text("call", one) === call);
      if (wanted !== undefined) {
        this.view.start = scene.xs[wanted] - 20 / this.view.scale;
        this.keepInside();
        this.invalidate();
      }
      const [first, last] = [calls[0], calls[calls.length - 1]].map((one) => one >= 0 && scene.text("call", one));
      const known = calls.length ? `it has the calls ${first} to ${last}` : "no call begins in it";
      this.say(wanted !== undefined || !call ? "" : `Call ${call} is not in the diagram: ${known}.`);
    }

    /** Return why no event is shown. */
    whyEmpty() {
      const { names, data } = this.scene;
      if (names && !data.variables.some((one) => one.toLowerCase().includes(names))) {
        return `No event is shown: no variable in the diagram has “${names}” in its name.`;
      }
      return "No event is shown: the variables or processes that would have one are switched off.";
    }

    /** Fill the table with the events in view, if it is open. */
    tabulate() {
      const details = this.root.querySelector("details.events");
      if (!details.open) {
        return;
      }
      const { scene, view } = this;
      const right = view.start + this.drawing.room / view.scale;
      const inView = (one) => scene.xs[one] >= view.start && scene.xs[one] <= right;
      const events = scene.byLane.flat().filter(inView).sort((one, other) => one - other);
      const head = make("tr", {}, ...["event", "process", "what"].map((one) => make("th", { scope: "col" }, one)));
      const rows = events.slice(0, MOST_ROWS).map((one) => make("tr", {},
        make("th", { scope: "row" }, String(scene.data.columns.event[one])),
        make("td", {}, scene.data.processes[scene.data.columns.process[one]]),
        make("td", { class: "sentence" }, scene.sentence(one))));
      const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
      const more = events.length - rows.length;
      const note = make("p", { class: "note" }, more > 0 ? `${more} more events in view are not in this table.` : "");
      details.querySelector(".wide").replaceChildren(table, note);
    }
  }

  for (const root of document.querySelectorAll(".space-time")) {
    new Diagram(root);
  }
})();
