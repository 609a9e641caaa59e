"use strict";
/* What every part of the page uses: data, arrays, the choices that hold everywhere, colours. */
const report = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const arrays = {};
  const choice = { variant: 0, method: 0, pixel: null, image: 0, lines: (data.variants || []).length > 8 ? "Keras" : "all" };
  const listeners = [];
  const parts = [];

  const byId = (id) => document.getElementById(id);

  /* Text always goes in as text: names come from data. */
  function make(tag, options = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) {
      if (name === "class") node.className = value;
      else if (name === "style") Object.assign(node.style, value);
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  function fill(node, ...children) {
    node.replaceChildren(...children);
    return node;
  }

  const kinds = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, float32: Float32Array };

  /* The inverse of hsi.report.packed.pack. */
  async function unpack(name) {
    const facts = data.blocks[name];
    const element = byId(`block-${name}`);
    const raw = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const kind = kinds[facts.kind], size = kind.BYTES_PER_ELEMENT, count = planes.length / size;
    const bytes = new Uint8Array(planes.length);
    for (let plane = 0; plane < size; plane++)
      for (let i = 0; i < count; i++) bytes[i * size + plane] = planes[plane * count + i];
    const values = new kind(bytes.buffer);
    if (facts.differences) for (let i = 1; i < count; i++) values[i] += values[i - 1];
    element.remove();
    arrays[name] = { values, shape: facts.shape };
  }

  async function open() {
    await Promise.all(Object.keys(data.blocks).map(unpack));
  }

  /* A choice is made in one place and seen in all. */
  function choose(name, value) {
    if (choice[name] === value) return;
    choice[name] = value;
    listeners.filter(([names]) => names.includes(name)).forEach(([, react]) => react(name));
  }
  const when = (names, react) => listeners.push([names, react]);

  /* A part of the page starts when the arrays are there; `paint` runs again for other colours. */
  const part = (id, start) => parts.push([id, start]);
  const painters = [];
  const painted = (paint) => { painters.push(paint); paint(); };
  const repaint = () => painters.forEach((paint) => paint());

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = () => document.documentElement.dataset.theme === "dark";

  /* Colour says how much is gone, along a map that gets lighter (on dark: darker) all the way. */
  const ramps = [
    [["#0d0829", "#51127c", "#8c2981", "#cf3f6f", "#f4685c", "#f99b55"], ["#fdf3c0", "#fec488", "#fc8961", "#e75263", "#c13a75", "#9d2f7f"]],
    [["#06264a", "#154f76", "#1f7f8c", "#2aa386", "#58b25a", "#a0b72c"], ["#e8f5a3", "#a8db5d", "#4ac16d", "#1fa187", "#2b8aa0", "#3a74a8"]],
    [["#222222", "#444444", "#666666", "#808080", "#979797", "#a8a8a8"], ["#f2f2f2", "#d0d0d0", "#b0b0b0", "#979797", "#828282", "#727272"]],
  ];
  function mix(stops, share) {
    const place = Math.max(0, Math.min(1, share)) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2), part = place - low;
    const [a, b] = [stops[low], stops[low + 1]].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
    return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * part)).join(",")})`;
  }

  /* Dash and mark say the form of the file. */
  const forms = {
    Keras: { dash: [], mark: "circle" }, float32: { dash: [14, 3], mark: "ring" },
    dynamic: { dash: [7, 4], mark: "square" }, float16: { dash: [10, 3, 2, 3], mark: "cross" },
    int8: { dash: [2, 3], mark: "triangle" }, int16x8: { dash: [4, 2, 1, 2], mark: "diamond" },
    int4: { dash: [1, 4], mark: "star" }, "scikit-learn": { dash: [], mark: "diamond" },
  };
  const family = (variant) => variant.made === "trained" ? "" : variant.made;
  const families = [...new Set((data.variants || []).map(family).filter(Boolean))];
  const style = (index) => {
    const variant = data.variants[index];
    const ramp = ramps[Math.max(0, families.indexOf(family(variant))) % ramps.length][dark() ? 1 : 0];
    const form = forms[variant.form] || forms.dynamic;
    return { color: mix(ramp, (variant.removed || 0) / 100), ...form };
  };

  const numbers = (digits) => (value) => value === null || value === undefined || !isFinite(value) ? "–" : value.toFixed(digits);
  const thousands = (value) => value === null ? "–" : Math.round(value).toLocaleString("en").replaceAll(",", "\u2009");

  function options(select, items, chosen = 0) {
    fill(select, ...items.map(([value, text]) => make("option", { value }, text)));
    select.value = String(chosen);
  }

  /* Canvases are drawn in device pixels, so that they are sharp and print well. */
  function context(canvas, width, height) {
    const scale = Math.max(2, window.devicePixelRatio || 1);
    canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
    const g = canvas.getContext("2d");
    g.scale(scale, scale);
    return g;
  }

  function mark(g, kind, x, y, size, color, fillColor) {
    g.save(); g.translate(x, y); g.strokeStyle = fillColor; g.fillStyle = color; g.lineWidth = size * .28; g.beginPath();
    const corners = (n, turn, inner = 1) => { for (let i = 0; i < n; i++) { const a = turn + i * 2 * Math.PI / n, r = size * 1.15 * (i % 2 ? inner : 1); g[i ? "lineTo" : "moveTo"](r * Math.sin(a), -r * Math.cos(a)); } g.closePath(); };
    if (kind === "square") g.rect(-size * .85, -size * .85, size * 1.7, size * 1.7);
    else if (kind === "triangle") corners(3, 0);
    else if (kind === "diamond") corners(4, 0);
    else if (kind === "star") corners(10, 0, .45);
    else if (kind === "cross") corners(8, 0, .3);
    else g.arc(0, 0, size, 0, 7);
    g.stroke(); g.fill();
    if (kind === "ring") { g.fillStyle = fillColor; g.beginPath(); g.arc(0, 0, size * .45, 0, 7); g.fill(); }
    g.restore();
  }

  /* The line and the mark of a variant, as it looks in every chart. */
  function swatch(canvas, look) {
    const g = context(canvas, 30, 12);
    g.strokeStyle = look.color; g.lineWidth = 2.2; g.setLineDash(look.dash.map((n) => n * .8));
    g.beginPath(); g.moveTo(1, 6); g.lineTo(29, 6); g.stroke(); g.setLineDash([]);
    mark(g, look.mark, 15, 6, 4, look.color, css("--card"));
    return canvas;
  }

  function theme() {
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    const set = (isDark) => { document.documentElement.dataset.theme = isDark ? "dark" : "light"; repaint(); };
    let asked = null;
    try { asked = localStorage.getItem("hsi-theme"); } catch { asked = null; }
    set(asked ? asked === "dark" : system.matches);
    system.addEventListener("change", (event) => { if (!asked) set(event.matches); });
    byId("theme").addEventListener("click", () => {
      asked = dark() ? "light" : "dark";
      try { localStorage.setItem("hsi-theme", asked); } catch { /* a page from disk may not remember */ }
      set(asked === "dark");
    });
    let before = false;
    window.addEventListener("beforeprint", () => { before = dark(); if (before) set(false); document.querySelectorAll("details:not(:has(.csv))").forEach((node) => { node.open = true; }); });
    window.addEventListener("afterprint", () => { if (before) set(true); });
  }

  return { data, arrays, choice, choose, when, part, parts, painted, repaint, byId, make, fill, css, dark, style, forms, numbers, thousands, options, context, mark, swatch, theme, open };
})();
