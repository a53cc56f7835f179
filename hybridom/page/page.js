"use strict";
(() => {
  const ROWS = 20; // of a table shown at a time
  const LARGEST = 40; // magnification of a figure
  const STEP = 1.3; // magnification of one key or button
  const collator = new Intl.Collator("en", { numeric: true });

  function element(tag, attributes = {}, text = "") {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  }

  function save(name, url) {
    element("a", { download: name, href: url }).click();
  }

  // --- tables: see columns.py for the bytes

  async function read(id) {
    const text = atob(document.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
    const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(inflated).arrayBuffer();
    const length = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let at = 4 + length;
    for (const column of head.columns) {
      const width = column.kind === "floats" ? 4 : column.width;
      const bytes = buffer.slice(at, at + width * head.rows);
      at += bytes.byteLength;
      if (column.kind === "floats") column.data = joined(new Uint8Array(bytes), head.rows);
      else column.codes = new { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[width](bytes);
    }
    return head;
  }

  function joined(planes, rows) {
    const bytes = new Uint8Array(4 * rows);
    for (let k = 0; k < 4; k++)
      for (let row = 0; row < rows; row++) bytes[4 * row + k] = planes[k * rows + row];
    return new Float32Array(bytes.buffer);
  }

  function written(column, value, digits) {
    if (value === null || Number.isNaN(value)) return "";
    if (column.kind === "words" || Number.isInteger(value)) return String(value);
    return String(Number(value.toPrecision(column.kind === "floats" ? digits : 6)));
  }

  function valueAt(column, row) {
    return column.kind === "floats" ? column.data[row] : column.values[column.codes[row]];
  }

  // Numbers in the order of which a column is sorted; NaN where it is undefined.
  function ranks(column) {
    if (column.kind === "floats") return (row) => column.data[row];
    let keys = column.values.map((value) => (value === null ? NaN : value));
    if (column.kind === "words") {
      const place = new Map([...column.values].sort(collator.compare).map((v, n) => [v, n]));
      keys = column.values.map((value) => (value === null ? NaN : place.get(value)));
    }
    return (row) => keys[column.codes[row]];
  }

  class Table {
    constructor(section, head) {
      Object.assign(this, { section, columns: head.columns, rows: head.rows });
      this.sorted = null;
      this.first = 0;
      this.chosen = new Map();
      this.words = [];
      this.addFilters();
      this.addHead();
      this.addPager();
      this.update();
    }

    addFilters() {
      const place = this.section.querySelector(".filters");
      for (const column of this.columns) {
        if (!column.filter || column.values.length < 2) continue;
        const select = element("select", { "data-column": column.name });
        select.append(element("option", { value: "" }, "all"));
        const rank = ranks({ ...column, codes: column.values.map((_, n) => n) });
        const order = column.values.map((_, n) => n);
        if (column.kind === "numbers") order.sort((a, b) => compare(rank(a), rank(b), 1));
        for (const code of order) {
          const text = written(column, column.values[code], 4) || column.missing || "none";
          select.append(element("option", { value: code }, text));
        }
        select.addEventListener("change", () => {
          if (select.value === "") this.chosen.delete(column);
          else this.chosen.set(column, Number(select.value));
          this.update();
        });
        const label = element("label", {}, column.name.replaceAll("_", " "));
        label.append(select);
        place.append(label);
      }
      const search = element("input", { type: "search", "data-search": "" });
      search.addEventListener("input", () => {
        this.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
        this.update();
      });
      const label = element("label", {}, "rows with the words");
      label.append(search);
      const file = element("button", { type: "button", "data-save": "" }, "Save these rows as CSV");
      file.addEventListener("click", () => this.save());
      place.append(label, file);
    }

    addHead() {
      const row = this.section.querySelector("thead").insertRow();
      this.heads = this.columns.map((column) => {
        const head = element("th", { scope: "col", "aria-sort": "none" });
        head.className = column.kind === "words" ? "" : "number";
        const button = element("button", { type: "button" }, column.name.replaceAll("_", " "));
        button.addEventListener("click", () => this.sort(column));
        head.append(button);
        row.append(head);
        return head;
      });
    }

    addPager() {
      const place = this.section.querySelector(".pager");
      this.status = element("output", { "aria-live": "polite" });
      place.append(this.status);
      const last = () => Math.max(0, Math.ceil(this.shown.length / ROWS) - 1) * ROWS;
      const moves = [
        ["First", () => 0],
        ["Previous", () => this.first - ROWS],
        ["Next", () => this.first + ROWS],
        ["Last", last],
      ];
      this.buttons = moves.map(([name, target]) => {
        const button = element("button", { type: "button" }, name);
        button.addEventListener("click", () => {
          this.first = Math.min(Math.max(target(), 0), last());
          this.render();
        });
        place.append(button);
        return button;
      });
    }

    sort(column) {
      const again = this.sorted?.column === column && this.sorted.direction === 1;
      this.sorted = { column, direction: again ? -1 : 1 };
      this.columns.forEach((other, n) => {
        const state = other !== column ? "none" : again ? "descending" : "ascending";
        this.heads[n].setAttribute("aria-sort", state);
      });
      this.update();
    }

    update() {
      const tests = [...this.chosen].map(([column, code]) => (row) => column.codes[row] === code);
      const texts = this.columns.filter((column) => column.kind === "words");
      for (const word of this.words) {
        const found = texts.map((column) =>
          column.values.map((value) => value !== null && value.toLowerCase().includes(word)));
        tests.push((row) => texts.some((column, n) => found[n][column.codes[row]]));
      }
      const kept = new Uint32Array(this.rows);
      let count = 0;
      for (let row = 0; row < this.rows; row++)
        if (tests.every((test) => test(row))) kept[count++] = row;
      this.shown = kept.subarray(0, count);
      if (this.sorted) {
        const rank = ranks(this.sorted.column);
        const { direction } = this.sorted;
        this.shown.sort((a, b) => compare(rank(a), rank(b), direction) || a - b);
      }
      this.first = 0;
      this.render();
    }

    render() {
      const end = Math.min(this.first + ROWS, this.shown.length);
      const body = document.createElement("tbody");
      for (const row of this.shown.subarray(this.first, end)) {
        const line = body.insertRow();
        for (const column of this.columns) {
          const cell = line.insertCell();
          const value = valueAt(column, row);
          cell.textContent = written(column, value, 4) || column.missing || "";
          if (column.kind !== "words") cell.className = "number";
          else if (cell.textContent.length > 40) cell.className = "long";
        }
      }
      this.section.querySelector("tbody").replaceWith(body);
      const number = (n) => n.toLocaleString("en");
      const total = this.shown.length === this.rows ? "" : `, of ${number(this.rows)} in all`;
      this.status.textContent = this.shown.length === 0
        ? `no rows${total}`
        : `rows ${number(this.first + 1)} to ${number(end)} of ${number(this.shown.length)}${total}`;
      this.buttons.forEach((button, n) => {
        button.disabled = n < 2 ? this.first === 0 : end >= this.shown.length;
      });
    }

    save() {
      const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
      const lines = [this.columns.map((column) => quoted(column.name)).join(",")];
      for (const row of this.shown)
        lines.push(this.columns.map((c) => quoted(written(c, valueAt(c, row), 5))).join(","));
      const url = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
      save(`${this.section.dataset.table}.csv`, url);
      setTimeout(() => URL.revokeObjectURL(url), 10000);
    }
  }

  // Undefined values come last, whatever the direction.
  function compare(a, b, direction) {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return direction * (a - b);
  }

  // --- figures

  const box = document.getElementById("lightbox");
  const stage = box.querySelector(".stage");
  const image = box.querySelector("img");
  const pointers = new Map();
  let view = { x: 0, y: 0, scale: 1 };

  function place(x, y, scale) {
    view = { x, y, scale };
    image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  }

  // Magnify about a point of the window, which stays where it is.
  function zoom(factor, x, y) {
    const scale = Math.min(Math.max(view.scale * factor, 0.5), LARGEST);
    const change = 1 - scale / view.scale;
    const corner = image.getBoundingClientRect();
    place(view.x + change * (x - corner.left), view.y + change * (y - corner.top), scale);
  }

  function zoomCentre(factor) {
    const frame = stage.getBoundingClientRect();
    zoom(factor, frame.left + frame.width / 2, frame.top + frame.height / 2);
  }

  const acts = {
    in: () => zoomCentre(STEP),
    out: () => zoomCentre(1 / STEP),
    reset: () => place(0, 0, 1),
    close: () => box.close(),
  };
  const keys = {
    "+": acts.in, "=": acts.in, "-": acts.out, _: acts.out, 0: acts.reset,
    ArrowLeft: () => place(view.x + 60, view.y, view.scale),
    ArrowRight: () => place(view.x - 60, view.y, view.scale),
    ArrowUp: () => place(view.x, view.y + 60, view.scale),
    ArrowDown: () => place(view.x, view.y - 60, view.scale),
  };

  function spread() {
    const [a, b] = [...pointers.values()];
    return { size: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  }

  function open(figure) {
    const shown = figure.querySelector("img");
    image.src = shown.src;
    image.alt = shown.alt;
    box.querySelector(".name").textContent = figure.querySelector("strong").textContent;
    place(0, 0, 1);
    box.showModal();
  }

  box.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  box.querySelectorAll("button").forEach((button) => {
    button.addEventListener("click", () => acts[button.dataset.act]());
  });
  box.addEventListener("close", () => pointers.clear());
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-0.002 * event.deltaY), event.clientX, event.clientY);
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => zoom(2, event.clientX, event.clientY));
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  stage.addEventListener("pointermove", (event) => {
    const from = pointers.get(event.pointerId);
    if (!from) return;
    const to = { x: event.clientX, y: event.clientY };
    const before = pointers.size === 2 ? spread() : from;
    pointers.set(event.pointerId, to);
    const after = pointers.size === 2 ? spread() : to;
    place(view.x + after.x - before.x, view.y + after.y - before.y, view.scale);
    if (before.size) zoom(after.size / before.size, after.x, after.y);
  });
  for (const end of ["pointerup", "pointercancel"])
    stage.addEventListener(end, (event) => pointers.delete(event.pointerId));

  document.querySelectorAll("figure").forEach((figure) => {
    figure.querySelector(".zoom")?.addEventListener("click", () => open(figure));
    const link = figure.querySelector("a[download]");
    if (link) link.href = figure.querySelector("img, video").src;
  });

  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
  });

  (async () => {
    for (const section of document.querySelectorAll("section[data-table]")) {
      try {
        new Table(section, await read(`data-${section.dataset.table}`));
      } catch (error) {
        section.append(element("p", { class: "missing" },
          `This table cannot be read (${error}); take a browser of 2023 or later.`));
      }
    }
    document.body.dataset.ready = "";
  })();
})();
