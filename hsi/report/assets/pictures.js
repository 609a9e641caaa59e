"use strict";
/* Images: a row a variant, a column an image, the attribution laid over it. */
const pictures = (() => {
  const { data, arrays, make, choice, dark } = report;

  function thumbnail(place) {
    const { height, width } = data, canvas = make("canvas", { width, height, "aria-hidden": "true" });
    const g = canvas.getContext("2d"), image = g.createImageData(width, height), from = arrays.thumbnails.values;
    for (let i = 0; i < width * height; i++) { const at = (place * width * height + i) * 3; image.data.set([from[at], from[at + 1], from[at + 2], 255], i * 4); }
    g.putImageData(image, 0, 0);
    return canvas;
  }

  /* Positive maps go from clear over yellow to dark red, signed ones from blue to red. */
  const positive = [[255, 237, 160], [254, 178, 76], [240, 59, 32], [128, 0, 38]];
  const colour = (share) => { const p = share * (positive.length - 1), i = Math.min(Math.floor(p), positive.length - 2); return positive[i].map((v, k) => v + (positive[i + 1][k] - v) * (p - i)); };
  /* The maps of a method; undefined where it explains no variant. */
  const maps = (method) => arrays[`attribution_${data.methods[method].name}`];
  function signed(method) {
    const block = maps(method);
    if (!block) return false;
    block.signed = block.signed ?? block.values.some((v) => v < 0);
    return block.signed;
  }

  function overlay(variant, place, opacity, size = 160) {
    const item = data.methods[choice.method], block = maps(choice.method);
    const canvas = make("canvas", { width: size, height: Math.round(size * data.height / data.width), "aria-hidden": "true" });
    const g = canvas.getContext("2d");
    g.imageSmoothingEnabled = data.width > size / 3;
    g.drawImage(thumbnail(place), 0, 0, canvas.width, canvas.height);
    if (variant === null || item.reasons[variant]) return canvas;
    const [, count, rows, cols] = block.shape, start = (variant * count + place) * rows * cols;
    const heat = make("canvas", { width: cols, height: rows }), h = heat.getContext("2d"), image = h.createImageData(cols, rows);
    for (let i = 0; i < rows * cols; i++) {
      const value = block.values[start + i] / 127, size = Math.abs(value);
      const rgb = signed(choice.method) ? (value > 0 ? [214, 47, 39] : [33, 102, 172]) : colour(size);
      image.data.set([...rgb, 255 * opacity * Math.min(1, size * 1.6)], i * 4);
    }
    h.putImageData(image, 0, 0);
    g.imageSmoothingEnabled = true;
    g.drawImage(heat, 0, 0, canvas.width, canvas.height);
    return canvas;
  }
  /* A map that is zero everywhere looks like no overlay at all: it is said. */
  function dead(variant, place) {
    if (data.methods[choice.method].reasons[variant]) return ", not explained";
    const block = maps(choice.method), [, count, rows, cols] = block.shape, start = (variant * count + place) * rows * cols;
    return block.values.subarray(start, start + rows * cols).some((v) => v !== 0) ? "" : ", dead map";
  }

  return { thumbnail, overlay, maps, signed, colour, dead };
})();

report.part("pictures", () => {
  const { data, arrays, byId, make, fill, choice } = report;
  if (data.kind !== "images") return;
  const opacity = byId("opacity"), methodSelect = byId("pictures-method"), all = data.images.length;
  const answer = (variant, place) => arrays.predicted.values[variant * all + place];
  const sure = (variant, place) => Math.round(arrays.sure.values[variant * all + place] / 2.55);
  const columns = Array.from({ length: data.explained }, (_, i) => i);
  const share = () => Number(opacity.value) / 100;

  function sheet() {
    const image = (variant, place, text, right) => make("button", { type: "button", class: `image${place === choice.image ? " chosen" : ""}`, "data-image": place, title: text, onclick: () => report.choose("image", place) },
      pictures.overlay(variant, place, share()), make("span", { class: right === null ? "" : right ? "right" : "wrong" }, text));
    const original = make("div", { class: "row" }, make("div", { class: "name" }, "original image"), ...columns.map((place) => image(null, place, data.classes[data.images[place].truth].name, null)));
    const rows = data.variants.map((variant, index) => make("div", { class: `row${index === choice.variant ? " selected" : ""}` },
      make("button", { type: "button", class: "name", onclick: () => report.choose("variant", index) }, variant.name, make("br"), make("small", {}, `${report.numbers(1)(variant.oa)} %`)),
      ...columns.map((place) => image(index, place, data.classes[answer(index, place)].name + pictures.dead(index, place), answer(index, place) === data.images[place].truth))));
    fill(byId("sheet"), original, ...rows);
    const ramp = (colors) => make("i", { class: "ramp", style: { background: `linear-gradient(90deg, ${colors.join(", ")})` } });
    const item = data.methods[choice.method], scale = item.quantity === "relevance" ? "each map on its own scale" : "one scale for all variants of an image";
    if (!pictures.maps(choice.method)) { fill(byId("pictures-key"), make("span", {}, `${item.label} explains none of these models`)); return; }
    fill(byId("pictures-key"), ...(pictures.signed(choice.method)
      ? [make("span", {}, "against ", ramp(["#2166ac", "transparent", "#d62f27"]), " for the class")]
      : [make("span", {}, "weak ", ramp([0, .33, .66, 1].map((s) => `rgb(${pictures.colour(s).join(",")})`)), " strong")]), make("span", {}, `${item.unit}; ${scale}`));
  }

  function large() {
    const place = choice.image, image = data.images[place];
    const explained = pictures.maps(choice.method) ? `explained for ${data.classes[answer(0, place)].name}, the class that ${data.variants[0].name} answers, by ${data.methods[choice.method].label}` : "not explained";
    byId("explorer-facts").textContent = `Image ${image.key}, ${data.classes[image.truth].name}; ${explained}.`;
    const card = (picture, title, text, on) => make("div", { class: on ? "selected" : "" }, picture, make("strong", {}, title), make("br"), text);
    fill(byId("large"), card(pictures.overlay(null, place, 0, 300), "original image", make("span", {}, data.classes[image.truth].name), false),
      ...data.variants.map((variant, index) => card(pictures.overlay(index, place, share(), 300), variant.name,
        make("span", { class: answer(index, place) === image.truth ? "right" : "wrong" }, `${data.classes[answer(index, place)].name}, ${sure(index, place)} %${pictures.dead(index, place)}`), index === choice.variant)));
  }
  const show = () => { sheet(); large(); };
  opacity.addEventListener("input", show);
  methodSelect.addEventListener("change", () => report.choose("method", Number(methodSelect.value)));
  report.when(["variant", "image", "method"], () => { methodSelect.value = String(choice.method); show(); });
  report.painted(show);
});
