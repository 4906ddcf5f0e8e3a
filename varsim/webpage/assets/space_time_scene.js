// The scene of a space-time diagram: where its events, messages and merges are, and which are shown.
"use strict";

/**
 * What the page has about a record; places in `columns` are the numbers of events in the scene.
 * @typedef {object} Data
 * @property {string[]} processes
 * @property {string[]} variables
 * @property {string[]} families
 * @property {number[]} familyOf the family of each variable
 * @property {Object<string, number[]>} columns
 * @property {Object<string, {texts: string[], of: number[]}>} texts
 * @property {[string, string][]} labels
 * @property {[number, number, number[]][]} messages the sender's event, the receiver's, variables
 * @property {[number[], [number, number, number][]][]} merges variables; process, first, last event
 * @property {{title: string, events: number[]}[]} findings
 */

/** @typedef {{from: number, to: number, families: number[], variables: number[], mask: number}} Arrow */

(() => {
  window.spaceTime = window.spaceTime ?? {};

  window.spaceTime.Scene = class {
    /** @param {Data} data */
    constructor(data) {
      this.data = data;
      this.count = data.columns.event.length;
      this.families = new Set(data.families.map((_, place) => place)).add(-1);
      this.processes = new Set(data.processes.map((_, place) => place));
      this.names = "";
      this.marked = this.#marks();
      this.causes = new Int32Array(this.count).fill(-1);
      this.effects = new Map();
      for (const [from, to] of data.messages) {
        this.causes[to] = from;
        this.effects.set(from, [...(this.effects.get(from) ?? []), to]);
      }
      this.kinds = data.texts.kind.of.map((place) => data.texts.kind.texts[place]);
      this.space("rank");
    }

    /** Return event → the titles of the findings that it shows. */
    #marks() {
      const marked = new Map();
      for (const finding of this.data.findings) {
        for (const event of finding.events) {
          marked.set(event, [...(marked.get(event) ?? []), finding.title]);
        }
      }
      return marked;
    }

    /** Return the text of a column for an event; "" if it has none. */
    text(column, event) {
      const { texts, of } = this.data.texts[column];
      return texts[of[event]];
    }

    /** Return the sentence on an event. Its template is a format string of Python. */
    sentence(event) {
      const field = (whole, name) =>
        whole === "{{" ? "{" : whole === "}}" ? "}" : this.text(name, event);
      return this.text("sentence", event).replace(/\{\{|\}\}|\{(\w+)\}/g, field);
    }

    /** Return the name of an event's variable; "" if it has none. */
    variable(event) {
      return this.data.variables[this.data.columns.variable[event]] ?? "";
    }

    /** Return the family of an event's variable; -1 if it has none. */
    family(event) {
      return this.data.familyOf[this.data.columns.variable[event]] ?? -1;
    }

    /** Place the events by their causes ("rank") or by their times ("time"). */
    space(by) {
      const { columns, messages } = this.data;
      this.by = by;
      this.xs = Float64Array.from(by === "rank" ? columns.rank : columns.time_us);
      this.end = this.xs.reduce((a, b) => Math.max(a, b), 0);
      this.arrows = messages.map(([from, to, variables]) => ({ from, to, variables, families: [] }));
      this.arrows.sort((one, other) => this.xs[one.to] - this.xs[other.to]);
      this.starts = Float64Array.from(this.arrows, (one) => this.xs[one.from]);
      for (let at = this.starts.length - 2; at >= 0; at -= 1) {
        this.starts[at] = Math.min(this.starts[at], this.starts[at + 1]);
      }
      this.filter();
    }

    /** Return whether a variable is shown; -1 stands for no variable. */
    shows(variable) {
      if (variable < 0) {
        return this.families.has(-1) && !this.names;
      }
      const name = this.data.variables[variable].toLowerCase();
      return this.families.has(this.data.familyOf[variable]) && name.includes(this.names);
    }

    /** Find out what is shown with the present filters. */
    filter() {
      const { columns, processes, merges } = this.data;
      const shown = new Map(this.data.variables.map((_, one) => [one, this.shows(one)]));
      shown.set(-1, this.shows(-1));
      this.lanes = processes.map((_, one) => one).filter((one) => this.processes.has(one));
      this.lane = new Map(this.lanes.map((process, place) => [process, place]));
      this.byLane = this.lanes.map(() => []);
      for (let event = 0; event < this.count; event += 1) {
        const lane = this.lane.get(columns.process[event]);
        if (lane !== undefined && shown.get(columns.variable[event])) {
          this.byLane[lane].push(event);
        }
      }
      for (const events of this.byLane) {
        events.sort((one, other) => this.xs[one] - this.xs[other] || one - other);
      }
      for (const arrow of this.arrows) {
        const ends = [arrow.from, arrow.to].every((one) => this.lane.has(columns.process[one]));
        const of = arrow.variables.length ? arrow.variables : [-1];
        const found = of.filter((one) => shown.get(one)).map((one) => this.data.familyOf[one] ?? -1);
        arrow.families = ends ? [...new Set(found)] : [];
        arrow.mask = arrow.families.reduce((mask, one) => mask | (1 << (one + 1)), 0);
      }
      this.bands = merges
        .filter(([variables]) => (variables.length ? variables : [-1]).some((one) => shown.get(one)))
        .map((merge) => this.#band(merge))
        .filter((one) => one.ends.length > 1);
    }

    /** Return the band of a merge: its family, and its first and last position in each lane. */
    #band([variables, ends]) {
      const families = new Set(variables.map((one) => this.data.familyOf[one]));
      const shown = ends
        .filter(([process]) => this.lane.has(process))
        .map(([process, first, last]) => [this.lane.get(process), this.xs[first], this.xs[last]]);
      const lowest = Math.min(...shown.map(([, first]) => first));
      const highest = Math.max(...shown.map(([, , last]) => last));
      return { family: families.size === 1 ? [...families][0] : -1, ends: shown, lowest, highest };
    }

    /** Return the place of the first event of a lane at a position or after it. */
    first(lane, position) {
      return search(this.byLane[lane].length, (at) => this.xs[this.byLane[lane][at]] >= position);
    }

    /** Yield the arrows with a part between two positions. */
    *arrowsBetween(left, right) {
      let at = search(this.arrows.length, (one) => this.xs[this.arrows[one].to] >= left);
      for (; at < this.arrows.length && this.starts[at] <= right; at += 1) {
        const arrow = this.arrows[at];
        if (arrow.families.length && this.xs[arrow.from] <= right) {
          yield arrow;
        }
      }
    }

    /** Return the event of a lane that is nearest to a position; -1 if the lane has none. */
    nearest(lane, position) {
      const events = this.byLane[lane];
      const at = this.first(lane, position);
      const near = [events[at - 1], events[at]].filter((one) => one !== undefined);
      const away = (one) => Math.abs(this.xs[one] - position);
      return near.length ? near.reduce((a, b) => (away(b) < away(a) ? b : a)) : -1;
    }

    /** Return the event before or after another one of its process; the same one at the end. */
    beside(event, by) {
      const lane = this.lane.get(this.data.columns.process[event]);
      const events = this.byLane[lane] ?? [];
      const at = events.indexOf(event);
      return events[at + by] ?? event;
    }
  };

  /** Return the smallest number below `count` for which a monotonic condition holds, or `count`. */
  function search(count, holds) {
    let [low, high] = [0, count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holds(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
})();
