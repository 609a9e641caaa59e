"use strict";
/* A pixel of a scene: spectrum, answers, and the attributions of every variant on one scale. */
const pixels = (() => {
  const { data, arrays } = report;

  /* The explained pixel that lies nearest, and how far away it is. */
  function nearest(pixel) {
    const row = Math.floor(pixel / data.cols), col = pixel % data.cols;
    let best = -1, least = Infinity;
    data.explained.forEach((key, i) => {
      const away = Math.hypot(Math.floor(key / data.cols) - row, key % data.cols - col);
      if (away < least) { least = away; best = i; }
    });
    return { place: best, away: least };
  }

  /* The attribution of a variant at an explained pixel, band by band; null where there is none. */
  function attribution(method, variant, place) {
    const item = data.methods[method];
    const block = item && arrays[`attribution_${item.name}`];
    if (!block || item.reasons[variant]) return null;
    const [, count, bands] = block.shape, line = variant * count + place;
    const scale = arrays[`attribution_${item.name}_scale`].values;
    const low = scale[line * 2], step = scale[line * 2 + 1];
    return Array.from(block.values.subarray(line * bands, (line + 1) * bands), (n) => low + n * step);
  }

  /* The sensor's counts of a pixel, or of the pixel of the stored grid that is nearest to it; null where that has none. */
  function spectrum(pixel) {
    const row = Math.floor(pixel / data.cols / data.stride), col = Math.floor((pixel % data.cols) / data.stride);
    const [bands, count] = arrays.spectra.shape, scale = arrays.spectraScale.values;
    const at = row * data.gridCols + col;
    if (!maps.hasData(pixel) || !maps.hasData((row * data.cols + col) * data.stride)) return null;
    return Array.from({ length: bands }, (_, b) => scale[b * 2] + scale[b * 2 + 1] * arrays.spectra.values[b * count + at]);
  }

  const where = (pixel) => `row ${Math.floor(pixel / data.cols)}, column ${pixel % data.cols}`;
  const className = (index) => index < 0 ? "unlabelled" : data.classes[index].name;

  /* The variants whose lines are drawn, the selected one last, so that it lies on top. */
  function order() {
    const wanted = { all: () => true, Keras: (i) => data.variants[i].form === "Keras", two: () => false }[report.choice.lines];
    return data.variants.map((_, i) => i).filter((i) => i !== report.choice.variant && (i === 0 || wanted(i))).concat(report.choice.variant);
  }

  return { nearest, attribution, spectrum, where, className, order };
})();

report.part("explorer", () => {
  const { data, arrays, byId, make, fill, options, choice, style, css, context } = report;
  if (data.kind !== "scene") return;
  const scene = byId("scene"), cross = byId("cross"), backdrop = byId("backdrop");
  const x = lines.axis(data.wavelengths, data.bands);
  const methodSelect = byId("explorer-method");
  options(backdrop, [["colour", data.wavelengths ? "true colour" : "three bands"], ["truth", "ground truth"], ["variant", "selected variant"], ["differ", "where it parts from the original"]], "colour");

  function paintScene() {
    const what = backdrop.value;
    if (what === "colour") maps.paintColour(scene);
    else if (what === "differ") maps.paintDifferences(scene, "0", String(choice.variant));
    else maps.paintClasses(scene, what === "truth" ? "truth" : String(choice.variant));
  }

  function paintCross() {
    const side = 640, g = context(cross, side, side * data.rows / data.cols), step = side / data.cols;
    const centre = (pixel) => [(pixel % data.cols + .5) * step, (Math.floor(pixel / data.cols) + .5) * step];
    if (byId("show-explained").checked) for (const key of data.explained) {
      const [a, b] = centre(key);
      g.beginPath(); g.arc(a, b, Math.max(2.6, step * .45), 0, 7); g.fillStyle = "#fff"; g.fill(); g.lineWidth = 1.2; g.strokeStyle = "#000"; g.stroke();
    }
    if (choice.pixel === null) return;
    const [a, b] = centre(choice.pixel), near = pixels.nearest(choice.pixel);
    if (near.away > 0 && maps.hasData(choice.pixel)) {
      const [c, d] = centre(data.explained[near.place]);
      for (const [width, color] of [[4, "#000"], [2, "#fff"]]) { g.lineWidth = width; g.strokeStyle = color; g.setLineDash([5, 4]); g.beginPath(); g.moveTo(a, b); g.lineTo(c, d); g.stroke(); g.setLineDash([]); g.beginPath(); g.arc(c, d, 6, 0, 7); g.stroke(); }
    }
    for (const [width, color] of [[5, "#000"], [2.2, "#fff"]]) {
      g.lineWidth = width; g.strokeStyle = color; g.beginPath();
      for (const [u, v] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { g.moveTo(a + u * 7, b + v * 7); g.lineTo(a + u * 20, b + v * 20); }
      g.stroke(); g.strokeRect(a - step / 2, b - step / 2, step, step);
    }
  }

  function showFacts() {
    const pixel = choice.pixel, real = maps.truth(pixel);
    const held = maps.hasData(pixel), where = make("strong", {}, pixels.where(pixel));
    if (!held) fill(byId("pixel-facts"), where, " · no data");
    else fill(byId("pixel-facts"), where, ` · ${maps.PARTS[maps.inPart(pixel)]} · truth: `, make("i", { class: "swatch", style: { background: real < 0 ? css("--agree") : data.classes[real].color } }), pixels.className(real));
    fill(byId("answers"), ...data.variants.map((variant, index) => {
      const answer = maps.classOf(String(index), pixel);
      const score = arrays.sure && held ? `${Math.round(arrays.sure.values[index * maps.size() + pixel] / 2.55)} %` : "–";
      const row = make("tr", { "data-variant": index, class: index === choice.variant ? "selected" : "", onclick: () => report.choose("variant", index) },
        make("th", { scope: "row" }, variant.name),
        held ? make("td", { class: real < 0 ? "" : answer === real ? "right" : "wrong" }, make("i", { class: "swatch", style: { background: data.classes[answer].color } }), pixels.className(answer)) : make("td", {}, "–"),
        make("td", {}, score));
      return row;
    }));
  }

  const drawSpectrum = lines.chart(byId("spectrum"), () => {
    const values = pixels.spectrum(choice.pixel);
    return lines.spectral(x, values ? [{ label: "counts", values, color: css("--ink"), width: 1.8 }] : [], { height: 200 });
  });
  const drawAttribution = lines.chart(byId("attribution"), () => {
    const near = pixels.nearest(choice.pixel);
    const order = maps.hasData(choice.pixel) ? pixels.order() : [];
    const series = order.map((i) => ({ i, values: pixels.attribution(choice.method, i, near.place) })).filter((line) => line.values).map(({ i, values }) => {
      const look = style(i);
      return { label: data.variants[i].name, values, color: look.color, dash: look.dash, width: i === choice.variant ? 3 : i === 0 ? 2.2 : 1.3 };
    });
    return lines.spectral(x, series, { height: 330, zero: true });
  });

  function showAttribution() {
    const item = data.methods[choice.method], near = pixels.nearest(choice.pixel);
    drawAttribution();
    byId("attribution-unit").textContent = `sum over the patch, ${item.unit}`;
    if (!maps.hasData(choice.pixel)) { byId("attribution-said").textContent = "This pixel holds no data: there is nothing to explain."; return; }
    const key = data.explained[near.place], explained = pixels.className(data.explainedClass[near.place]);
    const mine = near.away === 0 ? "Of this pixel" : `This pixel was not explained: shown is the nearest that was, ${pixels.where(key)}, ${near.away.toFixed(1)} pixels away (dashed line)`;
    const reason = item.reasons[choice.variant];
    byId("attribution-said").textContent = `${mine}; for ${explained}, the class that ${data.variants[0].name} answers there. Thick: ${data.variants[choice.variant].name}.${reason ? ` Not explained: ${reason}` : ""}`;
  }

  function showPixel() { paintCross(); showFacts(); drawSpectrum(); showAttribution(); }

  scene.addEventListener("click", (event) => report.choose("pixel", maps.under(scene, event)));
  scene.addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 10 : 1, moves = { ArrowRight: [0, far], ArrowLeft: [0, -far], ArrowUp: [-far, 0], ArrowDown: [far, 0] }[event.key];
    if (!moves) return;
    event.preventDefault();
    const row = Math.max(0, Math.min(data.rows - 1, Math.floor(choice.pixel / data.cols) + moves[0]));
    const col = Math.max(0, Math.min(data.cols - 1, choice.pixel % data.cols + moves[1]));
    report.choose("pixel", row * data.cols + col);
  });
  backdrop.addEventListener("change", paintScene);
  byId("show-explained").addEventListener("change", paintCross);
  methodSelect.addEventListener("change", () => report.choose("method", Number(methodSelect.value)));

  const linesSelect = byId("lines");
  options(linesSelect, [["all", "all variants"], ["Keras", "Keras models"], ["two", "original and selected"]], choice.lines);
  linesSelect.addEventListener("change", () => report.choose("lines", linesSelect.value));
  report.when(["pixel"], showPixel);
  report.when(["method", "lines"], () => { methodSelect.value = String(choice.method); showAttribution(); });
  report.when(["variant"], () => { paintScene(); showFacts(); showAttribution(); });
  report.painted(() => { paintScene(); showPixel(); });
});
