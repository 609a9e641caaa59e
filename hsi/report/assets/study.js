"use strict";
/* The curves of a study: mean accuracy and its interval over seeds, a line a combination. */
report.part("curves", () => {
  const { data, byId, make, fill, css, mark, swatch, dark } = report;
  if (data.kind !== "study") return;
  const against = byId("against");
  const colors = { light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07C00", "#2a8fc7", "#000000"], dark: ["#56B4E9", "#FF8F4A", "#2fc79a", "#e79ac6", "#E69F00", "#9ad4f5", "#ffffff"] };
  const marks = ["circle", "square", "triangle", "diamond", "star", "cross", "ring"], dashes = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
  const groups = new Map();
  data.lines.filter((line) => line.oa !== null).forEach((line) => {
    const name = [...data.named.filter((key) => line[key] !== "").map((key) => `${key} ${line[key]}`), line.form].join(", ");
    groups.set(name, [...(groups.get(name) || []), line]);
  });
  const names = [...groups.keys()];
  const look = (i) => ({ color: colors[dark() ? "dark" : "light"][i % 7], mark: marks[i % 7], dash: dashes[Math.floor(i / 7) % 4] });
  let points = [];

  const draw = lines.chart(byId("study-curves"), () => {
    const column = against.value;
    points = names.flatMap((name, i) => groups.get(name).filter((line) => line[column] > 0).sort((a, b) => b[column] - a[column]).map((line) => ({ line, i, x: line[column] }))).sort((a, b) => a.x - b.x);
    const ys = points.flatMap(({ line }) => [line.oa - (line.oa_half || 0), line.oa + (line.oa_half || 0)]), xs = points.map((p) => p.x);
    const low = Math.min(...ys), high = Math.max(...ys), pad = (high - low || 1) * .08;
    return {
      data: [xs, points.map((p) => p.line.oa)],
      options: {
        height: 380,
        scales: { x: { time: false, distr: 3, range: () => [Math.min(...xs) / 1.25, Math.max(...xs) * 1.25], dir: -1 }, y: { range: () => [low - pad, high + pad] } },
        axes: lines.axes(`${against.selectedOptions[0].textContent}, log scale`, { x: lines.logAxis }),
        cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false } },
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: { draw: [paint], ready: [listen] },
      },
    };
  });

  function paint(u) {
    const g = u.ctx, scale = uPlot.pxRatio, at = (p) => [u.valToPos(p.x, "x", true), u.valToPos(p.line.oa, "y", true)];
    names.forEach((_, i) => {
      const own = points.filter((p) => p.i === i), style = look(i);
      g.save(); g.strokeStyle = style.color; g.lineWidth = 1.7 * scale; g.setLineDash(style.dash.map((n) => n * scale)); g.beginPath();
      own.forEach((p, k) => g[k ? "lineTo" : "moveTo"](...at(p))); g.stroke(); g.setLineDash([]); g.lineWidth = 1.3 * scale;
      own.filter((p) => p.line.oa_half).forEach((p) => {
        const [x] = at(p), ends = [p.line.oa - p.line.oa_half, p.line.oa + p.line.oa_half].map((v) => u.valToPos(v, "y", true));
        g.beginPath(); g.moveTo(x, ends[0]); g.lineTo(x, ends[1]); ends.forEach((y) => { g.moveTo(x - 4 * scale, y); g.lineTo(x + 4 * scale, y); }); g.stroke();
      });
      own.forEach((p) => mark(g, style.mark, ...at(p), 4.8 * scale, style.color, css("--card")));
      g.restore();
    });
  }

  function listen(u) {
    u.over.addEventListener("mousemove", (event) => {
      const box = u.over.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      let best = null, least = 900;
      points.forEach((p) => { const away = (u.valToPos(p.x, "x") - x) ** 2 + (u.valToPos(p.line.oa, "y") - y) ** 2; if (away < least) { least = away; best = p; } });
      byId("curves-said").textContent = best ? `${names[best.i]} · ${best.line.variant}: OA ${best.line.oa.toFixed(2)}${best.line.oa_half ? ` ± ${best.line.oa_half.toFixed(2)}` : ""} %, ${best.line.runs} run${best.line.runs === 1 ? "" : "s"}` : "";
    });
  }

  against.addEventListener("change", draw);
  report.painted(() => { fill(byId("series"), ...names.map((name, i) => make("span", {}, swatch(make("canvas", { style: { width: "30px", height: "12px", marginRight: ".4rem" } }), look(i)), name))); draw(); });
});

/* An image after the other: a row a combination of settings, a column a model. */
report.part("pictures", () => {
  const { data, arrays, byId, make, fill, choice } = report;
  if (data.kind !== "study") return;
  const opacity = byId("opacity"), methodSelect = byId("pictures-method"), all = data.images.length;
  const cell = (picture, text, right) => make("div", { class: "image" }, picture, make("span", { class: right === null ? "" : right ? "right" : "wrong" }, text));

  function group(place) {
    const image = data.images[place];
    return data.sheet.map((row, index) => make("div", { class: "row" },
      make("div", { class: "name" }, row.label),
      cell(pictures.overlay(null, place, 0), index ? "" : data.classes[image.truth].name, null),
      ...row.variants.map((variant, k) => {
        const answer = arrays.predicted.values[variant * all + place];
        return cell(pictures.overlay(variant, place, Number(opacity.value) / 100), `${row.names[k]}: ${data.classes[answer].name}${pictures.dead(variant, place)}`, answer === image.truth);
      })));
  }
  const show = () => fill(byId("study-sheet"), ...Array.from({ length: data.explained }, (_, place) => group(place)).flat());
  opacity.addEventListener("input", show);
  methodSelect.addEventListener("change", () => { choice.method = Number(methodSelect.value); show(); });
  report.painted(show);
});
