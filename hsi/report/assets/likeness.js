"use strict";
/* CKA as heat maps: the first network within itself, and against the selected one. */
report.part("likeness", () => {
  const { data, byId, make, fill, choice, css, context } = report;
  const cka = data.cka;
  if (!cka) return;
  const stops = [[12, 7, 46], [75, 12, 107], [150, 38, 103], [221, 81, 58], [251, 155, 6], [252, 255, 164]];
  const colour = (value) => {
    if (value === null) return css("--agree");
    const p = Math.max(0, Math.min(1, value)) * (stops.length - 1), i = Math.min(Math.floor(p), stops.length - 2);
    return `rgb(${stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * (p - i))).join(",")})`;
  };
  const short = (text) => text.length > 14 ? `${text.slice(0, 6)}…${text.slice(-7)}` : text;

  function heat(matrix, rows, columns, title) {
    const canvas = make("canvas", { role: "img", "aria-label": title, style: { width: "100%", display: "block" } });
    const figure = make("figure", {}, make("figcaption", {}, title), canvas, make("p", { class: "sub", role: "status" }));
    const left = 104, bottom = 74, width = 520, side = (width - left - 6) / columns.length, high = Math.min(side, 44), height = high * rows.length + bottom;
    const g = context(canvas, width, height);
    g.font = "11px ui-sans-serif, 'Segoe UI', 'Noto Sans', Arial, sans-serif"; g.textBaseline = "middle";
    matrix.forEach((line, i) => line.forEach((value, j) => {
      g.fillStyle = colour(value); g.fillRect(left + j * side, i * high, side + .4, high + .4);
      if (side > 30 && value !== null) { g.fillStyle = value > .62 ? "#000" : "#fff"; g.textAlign = "center"; g.fillText(value.toFixed(2).replace(/^(-?)0\./, "$1."), left + (j + .5) * side, (i + .5) * high); }
    }));
    g.fillStyle = css("--soft");
    const every = (count, size) => Math.max(1, Math.ceil(13 / size));
    g.textAlign = "right";
    rows.forEach((text, i) => { if (i % every(rows.length, high) === 0) g.fillText(short(text), left - 6, (i + .5) * high); });
    columns.forEach((text, j) => { if (j % every(columns.length, side) === 0) { g.save(); g.translate(left + (j + .5) * side, high * rows.length + 6); g.rotate(-Math.PI / 3.2); g.fillText(short(text), 0, 0); g.restore(); } });
    canvas.addEventListener("mousemove", (event) => {
      const box = canvas.getBoundingClientRect(), scale = width / box.width;
      const j = Math.floor(((event.clientX - box.left) * scale - left) / side), i = Math.floor((event.clientY - box.top) * scale / high);
      const value = matrix[i] && matrix[i][j];
      figure.querySelector("p").textContent = value === undefined ? "" : `${rows[i]} and ${columns[j]}: ${value === null ? "one is constant" : value.toFixed(3)}`;
    });
    return figure;
  }

  function show() {
    const first = String(cka.first), own = String(choice.variant), names = (place) => data.variants[Number(place)].name;
    const within = heat(cka.within[first], cka.layers[first], cka.layers[first], `${names(first)}, within itself`);
    const other = own === first ? null : cka.layers[own]
      ? heat(cka.between[own], cka.layers[first], cka.layers[own], `${names(first)} (rows) against ${names(own)} (columns)`)
      : make("p", { class: "empty" }, `The layers of ${names(own)} were not compared; those of ${Object.keys(cka.layers).map(names).join(", ")} were.`);
    fill(byId("cka"), within, ...(other ? [other] : []));
  }
  report.when(["variant"], show);
  report.painted(show);
});
