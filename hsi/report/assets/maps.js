"use strict";
/* Class maps: two side by side with a line between them, and where they part. */
const maps = (() => {
  const { data, arrays, css } = report;
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const variables = (name) => { const text = css(name); return text.length === 4 ? rgb("#" + [...text.slice(1)].map((c) => c + c).join("")) : rgb(text); };
  const size = () => data.rows * data.cols;

  const NO_DATA = 255;  // as in hsi.report.scene
  const truth = (pixel) => arrays.truth.values[pixel] - 1;
  const predicted = (variant, pixel) => arrays.predicted.values[variant * size() + pixel];
  const hasData = (pixel) => predicted(0, pixel) !== NO_DATA;
  const inPart = (pixel) => arrays.parts.values[pixel];
  const PARTS = ["in no part", "training", "validation", "test"];

  /* What a source shows at a pixel: the class index, or -1. Sources: "truth", or a variant. */
  const classOf = (source, pixel) => source === "truth" ? truth(pixel) : hasData(pixel) ? predicted(Number(source), pixel) : -1;
  const nameOf = (source) => source === "truth" ? "ground truth" : data.variants[Number(source)].name;

  /* Pixels without data have a colour of their own in every picture. */
  function paint(canvas, colorAt) {
    const none = variables("--none");
    canvas.width = data.cols; canvas.height = data.rows;
    const g = canvas.getContext("2d"), image = g.createImageData(data.cols, data.rows);
    for (let pixel = 0; pixel < size(); pixel++) {
      const [r, gr, b] = hasData(pixel) ? colorAt(pixel) : none;
      image.data.set([r, gr, b, 255], pixel * 4);
    }
    g.putImageData(image, 0, 0);
  }

  let palette = null;
  const classColor = (index) => {
    palette = palette || data.classes.map((item) => rgb(item.color));
    return index < 0 ? variables("--agree") : palette[index];
  };
  function paintClasses(canvas, source) {
    const blank = variables("--agree");
    paint(canvas, (pixel) => { const index = classOf(source, pixel); return index < 0 ? blank : classColor(index); });
  }

  /* 0 alike, 1 only the first right, 2 only the second right, 3 both wrong, 4 truth unknown. */
  function differ(a, b, pixel) {
    const one = classOf(a, pixel), two = classOf(b, pixel), real = truth(pixel);
    if (one === two || one < 0 || two < 0) return 0;
    if (real < 0) return 4;
    return one === real ? 1 : two === real ? 2 : 3;
  }
  const DIFFERENCES = ["--agree", "--good", "--bad", "--both", "--unknown"];

  const colourAt = (pixel) => arrays.colour.values.subarray(pixel * 3, pixel * 3 + 3);
  const paintColour = (canvas) => paint(canvas, colourAt);

  function paintDifferences(canvas, a, b) {
    const colors = DIFFERENCES.map(variables);
    paint(canvas, (pixel) => colors[differ(a, b, pixel)]);
  }

  /* The pixel under a pointer. */
  function under(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const col = Math.min(data.cols - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * data.cols)));
    const row = Math.min(data.rows - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * data.rows)));
    return row * data.cols + col;
  }

  /* An entry of a legend, where the scene has such pixels. */
  const whole = () => !arrays.predicted.values.subarray(0, size()).includes(NO_DATA);
  const noData = () => whole() ? null : report.make("span", {}, report.make("i", { class: "swatch", style: { background: "var(--none)" } }), "no data");

  return { truth, predicted, hasData, noData, colourAt, inPart, PARTS, classOf, nameOf, paintClasses, paintColour, paintDifferences, differ, DIFFERENCES, under, size };
})();

report.part("maps", () => {
  const { data, byId, make, fill, options, choice } = report;
  const left = byId("map-left"), right = byId("map-right"), slider = byId("slider"), frame = byId("compare");
  const sources = [["truth", "ground truth"], ...data.variants.map((v, i) => [String(i), v.name])];
  options(left, sources, "0");
  options(right, sources, String(choice.variant || "truth"));

  fill(byId("class-legend"), ...data.classes.map((item) => make("span", {}, make("i", { class: "swatch", style: { background: item.color } }), item.name)), ...[maps.noData()].filter(Boolean));

  function show() {
    maps.paintClasses(byId("map-a"), left.value);
    maps.paintClasses(byId("map-b"), right.value);
    maps.paintDifferences(byId("map-differ"), left.value, right.value);
    byId("tag-left").textContent = maps.nameOf(left.value);
    byId("tag-right").textContent = maps.nameOf(right.value);
    const counts = [0, 0, 0, 0, 0];
    let tested = 0;
    for (let pixel = 0; pixel < maps.size(); pixel++) if (maps.inPart(pixel) === 3) { tested++; counts[maps.differ(left.value, right.value, pixel)]++; }
    const words = ["alike", `only ${maps.nameOf(left.value)} right`, `only ${maps.nameOf(right.value)} right`, "both wrong, and not alike", "part, truth unknown"];
    fill(byId("differ-legend"), ...words.map((word, i) => make("span", {}, make("i", { class: "swatch", style: { background: report.css(maps.DIFFERENCES[i]) } }), word)), ...[maps.noData()].filter(Boolean));
    const parted = counts[1] + counts[2] + counts[3];
    byId("differ-said").textContent = `On ${parted} of ${tested} test pixels they part: ${counts[1]} where only ${maps.nameOf(left.value)} is right, ${counts[2]} where only ${maps.nameOf(right.value)} is, ${counts[3]} where neither is.`;
  }
  const cut = () => frame.style.setProperty("--cut", `${slider.value}%`);
  slider.addEventListener("input", cut);
  [left, right].forEach((select) => select.addEventListener("change", show));

  /* A drag moves the line; a click without one takes the pixel to the explorer. */
  let from = null, moved = false;
  frame.addEventListener("pointerdown", (event) => { from = event.clientX; moved = false; frame.setPointerCapture(event.pointerId); });
  frame.addEventListener("pointermove", (event) => {
    if (from === null || (!moved && Math.abs(event.clientX - from) < 5)) return;
    moved = true;
    const box = frame.getBoundingClientRect();
    slider.value = Math.max(0, Math.min(100, (event.clientX - box.left) / box.width * 100));
    cut();
  });
  frame.addEventListener("pointerup", (event) => {
    if (from !== null && !moved) report.choose("pixel", maps.under(byId("map-a"), event));
    from = null;
  });
  frame.addEventListener("pointercancel", () => { from = null; });
  byId("map-differ").addEventListener("click", (event) => report.choose("pixel", maps.under(event.target, event)));

  report.when(["variant"], () => { right.value = String(choice.variant || "truth"); if (left.value === right.value) left.value = choice.variant ? "0" : "truth"; show(); });
  report.painted(show);
  cut();
});
