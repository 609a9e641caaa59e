"use strict";
/* Class by class: the mean attribution over wavelength of every variant. */
report.part("spectra", () => {
  const { data, byId, options, choice, style, css } = report;
  if (data.kind !== "scene") return;
  const select = byId("class"), methodSelect = byId("spectra-method");
  const x = lines.axis(data.wavelengths, data.bands);
  const places = data.classes.map((_, index) => data.explainedClass.map((c, i) => (c === index ? i : -1)).filter((i) => i >= 0));
  const shown = data.classes.map((item, index) => [String(index), `${item.name} (${places[index].length})`]).filter((_, index) => places[index].length);
  options(select, shown, shown.length ? shown[0][0] : "");

  const at = (sorted, share) => { const place = share * (sorted.length - 1), low = Math.floor(place); return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (place - low); };
  function summary(variant, own) {
    const all = own.map((place) => pixels.attribution(choice.method, variant, place));
    if (!all.length || all[0] === null) return null;
    const columns = all[0].map((_, b) => all.map((line) => line[b]).sort((p, q) => p - q));
    return { mean: columns.map((c) => c.reduce((p, q) => p + q, 0) / c.length), low: columns.map((c) => at(c, .25)), high: columns.map((c) => at(c, .75)) };
  }
  const faint = (color, share) => color.startsWith("#") ? color + Math.round(share * 255).toString(16).padStart(2, "0") : color.replace("rgb(", "rgba(").replace(")", `,${share})`);

  const draw = lines.chart(byId("class-spectra"), () => {
    const own = places[Number(select.value)] || [], series = [], bands = [];
    for (const i of pixels.order()) {
      const found = summary(i, own);
      if (!found) continue;
      const look = style(i), name = data.variants[i].name;
      if (i === choice.variant || i === 0) {
        const hidden = { color: "transparent", width: 0 };
        series.push({ label: `${name} quarter`, values: found.low, ...hidden }, { label: `${name} three quarters`, values: found.high, ...hidden });
        bands.push({ series: [series.length, series.length - 1], fill: faint(i ? css("--accent") : look.color, i ? .22 : .13) });
      }
      series.push({ label: name, values: found.mean, color: look.color, dash: look.dash, width: i === choice.variant ? 3 : i === 0 ? 2.2 : 1.2 });
    }
    return lines.spectral(x, series, { height: 300, zero: true, bands });
  });

  function show() {
    const item = data.methods[choice.method], own = places[Number(select.value)] || [];
    byId("spectra-unit").textContent = `sum over the patch, ${item.unit}`;
    byId("spectra-said").textContent = `Mean over ${own.length} explained pixels that ${data.variants[0].name} takes for this class. Thick: ${data.variants[choice.variant].name}; shaded: the middle half of its pixels, and of ${data.variants[0].name}'s.`;
    draw();
  }
  select.addEventListener("change", show);
  methodSelect.addEventListener("change", () => report.choose("method", Number(methodSelect.value)));
  report.when(["variant", "method", "lines"], () => { methodSelect.value = String(choice.method); show(); });
  report.painted(show);
});
