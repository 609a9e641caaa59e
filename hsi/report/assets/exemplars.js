"use strict";
/* Samples on which the selected variant and the first part, those of most dissenters first. */
report.part("exemplars", () => {
  const { data, arrays, byId, make, fill, choice } = report;
  const MOST = 12, AROUND = 7;
  const list = byId("exemplar-list"), said = byId("exemplars-said");
  const name = (index) => data.classes[index].name;
  const line = (who, answer, real) => make("span", { class: answer === real ? "right" : "wrong" }, `${who}: ${name(answer)}`);

  /* The surroundings of a pixel in true colour, the pixel framed. */
  function crop(pixel) {
    const canvas = make("canvas", { width: 2 * AROUND + 1, height: 2 * AROUND + 1, "aria-hidden": "true" });
    const g = canvas.getContext("2d"), row = Math.floor(pixel / data.cols), col = pixel % data.cols;
    for (let i = -AROUND; i <= AROUND; i++) for (let j = -AROUND; j <= AROUND; j++) {
      const r = row + i, c = col + j;
      if (r < 0 || c < 0 || r >= data.rows || c >= data.cols) continue;
      const at = r * data.cols + c;
      if (!maps.hasData(at)) continue;
      g.fillStyle = `rgb(${maps.colourAt(at).join(",")})`; g.fillRect(j + AROUND, i + AROUND, 1, 1);
    }
    const big = make("canvas", { width: 225, height: 225 }), h = big.getContext("2d");
    h.imageSmoothingEnabled = false; h.drawImage(canvas, 0, 0, 225, 225);
    for (const [width, color] of [[8, "#000"], [4, "#fff"]]) { h.lineWidth = width; h.strokeStyle = color; h.strokeRect(101, 101, 23, 23); }
    return big;
  }

  /* Those of most dissenters first, the confusions taking turns: neighbours part for one reason. */
  function inTurn(found, confusion) {
    const groups = new Map();
    found.sort((a, b) => b[0] - a[0] || a[1] - b[1]).forEach((item) => { const key = confusion(item[1]); groups.set(key, [...(groups.get(key) || []), item]); });
    const turns = [...groups.values()], order = [];
    for (let round = 0; order.length < Math.min(MOST, found.length); round++)
      for (const group of turns) if (group[round] && order.length < MOST) order.push(group[round]);
    return order;
  }

  function ofScene() {
    const found = [], counts = [0, 0, 0];
    for (let pixel = 0; pixel < maps.size(); pixel++) {
      if (maps.inPart(pixel) !== 3 || maps.predicted(choice.variant, pixel) === maps.predicted(0, pixel)) continue;
      const first = maps.predicted(0, pixel), real = maps.truth(pixel);
      counts[first === real ? 0 : maps.predicted(choice.variant, pixel) === real ? 1 : 2]++;
      found.push([data.variants.filter((_, i) => maps.predicted(i, pixel) !== first).length, pixel]);
    }
    return { counts, cards: inTurn(found, (pixel) => `${maps.truth(pixel)} ${maps.predicted(choice.variant, pixel)}`).map(([count, pixel]) => ({
      picture: crop(pixel), title: pixels.where(pixel), real: maps.truth(pixel), count,
      answers: [maps.predicted(0, pixel), maps.predicted(choice.variant, pixel)],
      open: () => { report.choose("pixel", pixel); byId("explorer").scrollIntoView(); byId("scene").focus({ preventScroll: true }); },
    })), total: found.length };
  }

  function ofImages() {
    const found = [], counts = [0, 0, 0], all = data.images.length;
    data.images.forEach((image, place) => {
      const [first, own] = [0, choice.variant].map((v) => arrays.predicted.values[v * all + place]);
      if (first === own) return;
      counts[first === image.truth ? 0 : own === image.truth ? 1 : 2]++;
      found.push([data.variants.filter((_, i) => arrays.predicted.values[i * all + place] !== first).length, place, first, own]);
    });
    return { counts, cards: inTurn(found, (place) => `${data.images[place].truth} ${arrays.predicted.values[choice.variant * all + place]}`).map(([count, place, first, own]) => ({
      picture: pictures.thumbnail(place), title: `image ${data.images[place].key}`, real: data.images[place].truth, count, answers: [first, own],
      open: place < data.explained ? () => { report.choose("image", place); byId("explorer").scrollIntoView(); } : null,
    })), total: data.partedFrom[choice.variant] };
  }

  function show() {
    const [first, own] = [data.variants[0].name, data.variants[choice.variant].name];
    if (!choice.variant) { said.textContent = `Choose another variant than ${first} to see where both part.`; fill(list); return; }
    const scene = data.kind === "scene", { counts, cards, total } = scene ? ofScene() : ofImages();
    const some = cards.length < total ? ` Shown are ${cards.length}, of each confusion those on which most variants part.` : "";
    said.textContent = scene
      ? `${first} and ${own} part on ${total} test pixels: ${counts[0]} where only ${first} is right, ${counts[1]} where only ${own} is, ${counts[2]} where neither is.${some}`
      : `${first} and ${own} part on ${total} of ${data.answered} test images${data.answered < data.of ? ` drawn from ${data.of}` : ""}.${some}`;
    fill(list, ...cards.map((card) => make(card.open ? "button" : "div", { class: "card", type: card.open ? "button" : null, onclick: card.open || (() => {}) },
      card.picture, make("div", { class: "text" }, make("b", {}, name(card.real)), make("small", {}, `${card.title} · ${card.count} of ${data.variants.length - 1} part`), line(first, card.answers[0], card.real), line(own, card.answers[1], card.real)))));
  }
  report.when(["variant"], show);
  show();
});
