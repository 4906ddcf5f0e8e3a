// The drawing of a space-time diagram on a canvas: lines of processes, bands, arrows, events, map.
"use strict";

/** @typedef {{start: number, scale: number}} View the position at the left edge; pixels per unit */
/** @typedef {{colors: string[], text: string, faint: string, line: string, card: string,
 *    bad: string, font: string}} Look */

(() => {
  const LEFT = 76; // pixels of the names of the processes
  const TOP = 24; // of the calls
  const MAP = 26; // of the map of the whole record, at the bottom
  const NARROW = 2; // pixels between events, below which events and arrows that hide each other are joined
  const JOINED = 3; // pixels between arrows that are joined
  const HEADS = 1200; // arrows in view, above which they have no heads
  const LABEL = 44; // pixels that the text of an event needs

  const SHAPES = {
    write: "square", sync: "square", push: "square", advance: "square", publish: "square", read: "ring",
    obtain: "ring", commit: "diamond", answer: "diamond", install: "triangle", renew: "triangle", wait: "box",
    arrive: "box", request: "box", ask: "box", call: "tick", begin: "tick", return: "tick", finish: "tick",
    raise: "cross", abort: "cross", lost: "cross", notice: "cross",
  };

  /** Return the heights of a diagram with so many lanes. */
  function sizes(lanes) {
    const lane = Math.max(30, Math.min(66, 420 / Math.max(lanes, 1)));
    return { lane, top: TOP, left: LEFT, map: MAP, height: Math.round(TOP + lanes * lane + MAP + 8) };
  }

  /** Return the vertical position of a lane. */
  function height(lane, size) {
    return TOP + (lane + 0.5) * size.lane;
  }

  /** Paths by colour, so that each colour is drawn once. */
  class Paths {
    constructor() {
      this.fills = new Map();
      this.strokes = new Map();
      this.bars = new Map();
    }

    /** Add an upright bar of one pixel; thousands of these are much faster than a path. */
    bar(color, x, y, high) {
      if (!this.bars.has(color)) {
        this.bars.set(color, []);
      }
      this.bars.get(color).push(Math.round(x), Math.round(y), Math.round(high));
    }

    fill(color) {
      return get(this.fills, color);
    }

    stroke(color) {
      return get(this.strokes, color);
    }

    draw(context, width) {
      context.lineWidth = width;
      for (const [color, bars] of this.bars) {
        context.fillStyle = color;
        for (let at = 0; at < bars.length; at += 3) {
          context.fillRect(bars[at], bars[at + 1], 1, bars[at + 2]);
        }
      }
      for (const [color, path] of this.strokes) {
        context.strokeStyle = color;
        context.stroke(path);
      }
      for (const [color, path] of this.fills) {
        context.fillStyle = color;
        context.fill(path);
      }
    }
  }

  function get(paths, color) {
    if (!paths.has(color)) {
      paths.set(color, new Path2D());
    }
    return paths.get(color);
  }

  /** Add the shape of an event to the paths. */
  function shape(paths, kind, color, look, x, y, r) {
    switch (SHAPES[kind]) {
      case "square":
        paths.fill(color).rect(x - r, y - r, 2 * r, 2 * r);
        break;
      case "ring":
        paths.stroke(color).moveTo(x + r, y);
        paths.stroke(color).arc(x, y, r, 0, 2 * Math.PI);
        break;
      case "diamond":
        polygon(paths.fill(color), [[x, y - r - 2], [x + r + 2, y], [x, y + r + 2], [x - r - 2, y]]);
        break;
      case "triangle":
        polygon(paths.fill(color), [[x - r - 1, y - r], [x + r + 1, y - r], [x, y + r + 1]]);
        break;
      case "box":
        paths.stroke(color).rect(x - r, y - r, 2 * r, 2 * r);
        break;
      case "tick":
        paths.stroke(look.text).rect(x, y - r - 4, 0.01, 2 * r + 8);
        break;
      case "cross":
        for (const sign of [1, -1]) {
          paths.stroke(look.bad).moveTo(x - r - 1, y - sign * (r + 1));
          paths.stroke(look.bad).lineTo(x + r + 1, y + sign * (r + 1));
        }
        break;
      default:
        paths.fill(color).rect(x - r / 2, y - r / 2, r, r);
    }
  }

  function polygon(path, points) {
    points.forEach(([x, y], at) => (at ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }

  /** Draws one scene. */
  class Drawing {
    constructor(canvas, scene) {
      this.canvas = canvas;
      this.scene = scene;
      this.context = canvas.getContext("2d");
      this.calls = callsOf(scene);
      this.map = document.createElement("canvas");
    }

    /** Take the width of the page and the colours of the reader. */
    resize(look) {
      const ratio = window.devicePixelRatio || 1;
      this.look = look;
      this.size = sizes(this.scene.lanes.length);
      this.width = this.canvas.clientWidth;
      this.canvas.style.height = `${this.size.height}px`;
      this.canvas.width = Math.round(this.width * ratio);
      this.canvas.height = Math.round(this.size.height * ratio);
      this.ratio = ratio;
      this.#prepareMap();
    }

    /** Return the pixels in which events are drawn. */
    get room() {
      return Math.max(1, this.width - LEFT - 8);
    }

    color(family) {
      return family < 0 ? this.look.faint : this.look.colors[family % this.look.colors.length];
    }

    x(event, view) {
      return LEFT + (this.scene.xs[event] - view.start) * view.scale;
    }

    y(event) {
      return height(this.scene.lane.get(this.scene.data.columns.process[event]), this.size);
    }

    /** Draw what is in view. */
    draw(view, chosen, hovered) {
      const { context, look } = this;
      context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      context.clearRect(0, 0, this.width, this.size.height);
      context.font = `11px ${look.font}`;
      const margin = 12 / view.scale;
      const span = [view.start - margin, view.start + this.room / view.scale + margin];
      context.save();
      context.beginPath();
      context.rect(LEFT - 6, 0, this.width - LEFT + 6, this.size.height - MAP);
      context.clip();
      this.#calls(view, span);
      this.#bands(view, span);
      this.#lines();
      this.#arrows(view, span, chosen);
      this.#events(view, span);
      this.#marks(view, span, chosen, hovered);
      context.restore();
      this.#names();
      this.#drawMap(view);
    }

    /** Return how many pixels events are apart, on average: the unit of a view depends on its space. */
    apart(view) {
      const { by, end, count } = this.scene;
      return view.scale * (by === "rank" ? 1 : end / count || 1);
    }

    #lines() {
      const path = new Path2D();
      for (let lane = 0; lane < this.scene.lanes.length; lane += 1) {
        path.moveTo(LEFT - 6, height(lane, this.size));
        path.lineTo(this.width, height(lane, this.size));
      }
      this.context.strokeStyle = this.look.line;
      this.context.lineWidth = 1.5;
      this.context.stroke(path);
    }

    #names() {
      const { context, scene } = this;
      context.fillStyle = this.look.text;
      context.textAlign = "left";
      context.textBaseline = "middle";
      for (const [lane, process] of scene.lanes.entries()) {
        context.fillText(scene.data.processes[process], 6, height(lane, this.size), LEFT - 14);
      }
    }

    /** Draw a line where the program begins a call, with its number and its time. */
    #calls(view, [left, right]) {
      const { context, scene } = this;
      context.strokeStyle = this.look.line;
      context.fillStyle = this.look.faint;
      context.lineWidth = 1;
      context.textAlign = "left";
      context.textBaseline = "top";
      let free = -Infinity;
      for (const event of this.calls) {
        if (scene.xs[event] < left || scene.xs[event] > right) {
          continue;
        }
        const x = this.x(event, view);
        const seconds = scene.data.columns.time_us[event] / 1e6;
        const time = scene.data.simulated ? "" : ` · ${seconds.toFixed(3)} s`;
        const text = `call ${scene.text("call", event)}${time}`;
        if (x < free) {
          continue;
        }
        free = x + context.measureText(text).width + 14;
        context.beginPath();
        context.moveTo(x, 4);
        context.lineTo(x, this.size.height - MAP - 8);
        context.stroke();
        context.fillText(text, x + 4, 5);
      }
    }

    /** Draw the merges as bands over the lanes of their parts. */
    #bands(view, [left, right]) {
      const { context, scene } = this;
      const paths = new Map();
      let last = -Infinity;
      for (const band of scene.bands) {
        if (band.highest < left || band.lowest > right) {
          continue;
        }
        const at = Math.round(band.highest * view.scale);
        if (this.apart(view) < NARROW && at === last) {
          continue; // it has the same pixels as the one before
        }
        last = at;
        const side = (place) => band.ends.map((end) => [
          LEFT + (end[place] - view.start) * view.scale, height(end[0], this.size),
        ]);
        polygon(get(paths, this.color(band.family)), [...side(1), ...side(2).reverse()]);
      }
      context.globalAlpha = 0.16;
      for (const [color, path] of paths) {
        context.fillStyle = color;
        context.fill(path);
      }
      context.globalAlpha = 1;
    }

    /** Draw the messages: one line for each family whose values a message has, side by side. */
    #arrows(view, span, chosen) {
      const found = [...this.scene.arrowsBetween(...span)];
      const paths = new Paths();
      const own = new Paths(); // those of the chosen event
      const drawn = new Map();
      this.inView = [];
      for (const arrow of found) {
        const ends = [this.x(arrow.from, view), this.y(arrow.from), this.x(arrow.to, view), this.y(arrow.to)];
        if (this.apart(view) < NARROW) {
          const key = (Math.round(ends[2] / JOINED) * this.size.height + ends[1]) * this.size.height + ends[3];
          if (drawn.get(key) === arrow.mask) {
            continue; // it has the same pixels as the one before
          }
          drawn.set(key, arrow.mask);
        }
        this.inView.push({ arrow, ends });
        const touches = arrow.from === chosen || arrow.to === chosen;
        for (const [place, family] of arrow.families.entries()) {
          const aside = (place - (arrow.families.length - 1) / 2) * 2.5;
          line(touches ? own : paths, this.color(family), ends, aside, found.length < HEADS);
        }
      }
      this.context.globalAlpha = 0.85;
      paths.draw(this.context, found.length < HEADS ? 1.3 : 1);
      this.context.globalAlpha = 1;
      own.draw(this.context, 3);
    }

    #events(view, [left, right]) {
      const { scene, look } = this;
      const paths = new Paths();
      const apart = this.apart(view);
      const radius = apart < NARROW ? 2 : Math.max(2.5, Math.min(4.5, apart / 3));
      for (let lane = 0; lane < scene.lanes.length; lane += 1) {
        const events = scene.byLane[lane];
        const y = height(lane, this.size);
        const last = new Map();
        for (let at = scene.first(lane, left); at < events.length && scene.xs[events[at]] <= right; at += 1) {
          const event = events[at];
          const x = this.x(event, view);
          const family = scene.family(event);
          if (apart < NARROW && SHAPES[scene.kinds[event]] !== "cross") {
            if (last.get(family) === Math.round(x)) {
              continue;
            }
            last.set(family, Math.round(x));
            paths.bar(this.color(family), x, y - 4, 8);
            continue;
          }
          shape(paths, scene.kinds[event], this.color(family), look, x, y, radius);
        }
        if (apart >= LABEL / 4) {
          this.#labels(view, lane, left, right);
        }
      }
      paths.draw(this.context, 1.6);
    }

    /** Write what the events of a lane are, where there is room until the next one. */
    #labels(view, lane, left, right) {
      const { context, scene } = this;
      const events = scene.byLane[lane];
      context.fillStyle = this.look.text;
      context.strokeStyle = this.look.card;
      context.lineWidth = 3;
      context.textAlign = "left";
      context.textBaseline = "top";
      for (let at = scene.first(lane, left); at < events.length && scene.xs[events[at]] <= right; at += 1) {
        const next = events[at + 1];
        const room = (next === undefined ? Infinity : (scene.xs[next] - scene.xs[events[at]]) * view.scale) - 6;
        if (room >= LABEL) {
          const text = fitted(context, label(scene, events[at]), room);
          const [x, y] = [this.x(events[at], view) - 4, height(lane, this.size) + 9];
          context.strokeText(text, x, y); // so that arrows do not cross it
          context.fillText(text, x, y);
        }
      }
    }

    /** Mark the events of findings, and the chosen event. */
    #marks(view, [left, right], chosen, hovered) {
      const { context, scene } = this;
      const inView = (event) => {
        const shown = scene.lane.has(scene.data.columns.process[event]);
        return shown && scene.xs[event] >= left && scene.xs[event] <= right;
      };
      const ring = (event, radius, color, width) => {
        context.strokeStyle = color;
        context.lineWidth = width;
        context.beginPath();
        context.arc(this.x(event, view), this.y(event), radius, 0, 2 * Math.PI);
        context.stroke();
      };
      for (const event of scene.marked.keys()) {
        if (inView(event)) {
          ring(event, 9, this.look.bad, 2);
        }
      }
      for (const [event, width] of [[hovered, 1], [chosen, 2.5]]) {
        if (event >= 0 && inView(event)) {
          ring(event, 12, this.look.text, width);
        }
      }
    }

    /** Draw the map once: where events are, and where findings. */
    #prepareMap() {
      const { map, scene } = this;
      map.width = Math.max(1, Math.round(this.room));
      map.height = MAP - 8;
      const context = map.getContext("2d");
      const counts = new Uint32Array(map.width + 1);
      const at = (event) => Math.round((scene.xs[event] / Math.max(scene.end, 1)) * (map.width - 1));
      for (const event of scene.byLane.flat()) {
        counts[at(event)] += 1;
      }
      const most = counts.reduce((a, b) => Math.max(a, b), 1);
      context.fillStyle = this.look.faint;
      context.globalAlpha = 0.7;
      counts.forEach((count, x) => {
        const high = count && Math.max(2, (count / most) * map.height);
        context.fillRect(x, map.height - high, 1, high);
      });
      context.globalAlpha = 1;
      context.fillStyle = this.look.bad;
      for (const event of scene.marked.keys()) {
        context.fillRect(at(event) - 1, 0, 3, map.height);
      }
    }

    #drawMap(view) {
      const { context, look, scene } = this;
      const top = this.size.height - MAP + 4;
      context.drawImage(this.map, LEFT, top);
      const unit = this.room / Math.max(scene.end, 1);
      const left = Math.max(0, view.start * unit);
      const right = Math.min(this.room, left + (this.room / view.scale) * unit);
      context.strokeStyle = look.text;
      context.lineWidth = 1.5;
      context.strokeRect(LEFT + left, top - 1, Math.max(3, right - left), MAP - 6);
      context.fillStyle = look.faint;
      context.textBaseline = "middle";
      context.fillText("whole", 6, top + 9, LEFT - 14);
    }

    /** Return the event near a point, or that at the end of an arrow near it; -1 for none. */
    at(x, y, view) {
      const lane = Math.round((y - TOP) / this.size.lane - 0.5);
      const position = view.start + (x - LEFT) / view.scale;
      if (this.scene.byLane[lane]?.length && Math.abs(y - height(lane, this.size)) < 14) {
        const event = this.scene.nearest(lane, position);
        if (Math.abs(this.x(event, view) - x) < 14) {
          return event;
        }
      }
      const near = (this.inView ?? []).find(({ ends }) => distance(x, y, ends) < 5);
      return near ? near.arrow.to : -1;
    }

    /** Return the position of the map at a point; null beside the map. */
    mapped(x, y) {
      const share = (x - LEFT) / this.room;
      return y > this.size.height - MAP ? Math.max(0, Math.min(1, share)) * this.scene.end : null;
    }
  }

  /** Return the events at which the program begins a call. */
  function callsOf(scene) {
    const every = scene.kinds.map((kind, event) => (kind === "call" ? event : -1));
    return every.filter((event) => event >= 0);
  }

  /** Add an arrow to the paths. */
  function line(paths, color, [x1, y1, x2, y2], aside, hasHead) {
    if (Math.abs(x2 - x1) < 1.5) {
      paths.bar(color, x1 + aside, Math.min(y1, y2), Math.abs(y2 - y1));
      return;
    }
    const path = paths.stroke(color);
    path.moveTo(x1 + aside, y1);
    path.lineTo(x2 + aside, y2);
    if (!hasHead) {
      return;
    }
    const angle = Math.atan2(y2 - y1, x2 - x1);
    const [endX, endY] = [x2 + aside - 5 * Math.cos(angle), y2 - 5 * Math.sin(angle)];
    const side = (turn) => [endX - 7 * Math.cos(angle + turn), endY - 7 * Math.sin(angle + turn)];
    polygon(paths.fill(color), [[endX, endY], side(0.4), side(-0.4)]);
  }

  /** Return the distance of a point from a line. */
  function distance(x, y, [x1, y1, x2, y2]) {
    const [dx, dy] = [x2 - x1, y2 - y1];
    const share = Math.max(0, Math.min(1, ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy || 1)));
    return Math.hypot(x - x1 - share * dx, y - y1 - share * dy);
  }

  /** Return a few words on an event. */
  function label(scene, event) {
    const version = scene.text("version", event);
    const words = [scene.kinds[event], scene.variable(event), version && `v${version}`];
    return words.filter(Boolean).join(" ");
  }

  /** Return a text, or its beginning if it is wider than the room. */
  function fitted(context, text, room) {
    if (context.measureText(text).width <= room) {
      return text;
    }
    let end = Math.floor(room / 6);
    while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > room) {
      end -= 1;
    }
    return `${text.slice(0, end)}…`;
  }

  Object.assign(window.spaceTime, { Drawing, label });
})();
