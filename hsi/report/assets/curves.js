"use strict";
/* Four charts on one axis: accuracy, explanation, size and latency against compression. */
report.part("curves", () => {
  const { data, choice, byId, make, fill, css, style, forms, swatch, mark, numbers, thousands } = report;
  const against = byId("against"), methodSelect = byId("curves-method");
  const variants = data.variants;
  const along = {
    removed: { label: "parameters removed (%)", value: (v) => v.removed, range: [Math.min(-4, ...variants.map((v) => v.removed - 4)), 104] },
    bytes: { label: "size of the file (bytes, log scale)", value: (v) => v.bytes, log: true },
    macs: { label: "multiply-accumulates (log scale)", value: (v) => v.macs, log: true },
  };
  const method = () => data.methods[choice.method] || null;
  const like = (index) => (method() && method().likeness[index]) || {};
  const panels = {
    oa: { value: (v) => [v.oa, v.oa_low, v.oa_high], text: (v) => `OA ${numbers(2)(v.oa)} %` },
    likeness: { value: (v, i) => [like(i).median ?? null, like(i).low ?? null, like(i).high ?? null], text: (v, i) => `${method() ? method().measure : ""} ${numbers(3)(like(i).median ?? null)}` },
    bytes: { value: (v) => [v.bytes && v.bytes / 1000, null, null], log: true, text: (v) => `${thousands(v.bytes / 1000)} kB` },
    latency: { value: (v) => [v.latency_ms, v.latency_low, v.latency_high], log: true, text: (v) => `${numbers(3)(v.latency_ms)} ms` },
  };

  function describe(name) {
    const panel = panels[name], x = along[against.value];
    const points = variants.map((variant, index) => ({ index, variant, x: x.value(variant), y: panel.value(variant, index) })).filter((p) => p.x !== null && p.x !== undefined && p.y[0] !== null && p.y[0] !== undefined && (!x.log || p.x > 0) && (!panel.log || p.y[0] > 0));
    points.sort((a, b) => a.x - b.x || a.index - b.index);
    const low = (p) => p.y[1] ?? p.y[0], high = (p) => p.y[2] ?? p.y[0];
    const ys = points.flatMap((p) => [low(p), high(p)]);
    const spread = (values, log) => {
      if (!values.length) return log ? [1, 10] : [0, 1];
      let [a, b] = [Math.min(...values), Math.max(...values)];
      if (log) return [a / 1.35, b * 1.35];
      const pad = (b - a || Math.abs(b) * .02 || 1) * .1;
      return [a - pad, b + pad];
    };
    const yRange = spread(ys, panel.log);
    if (name === "likeness") yRange[1] = Math.max(yRange[1], 1.02);
    return {
      data: [points.map((p) => p.x), points.map((p) => p.y[0])],
      options: {
        height: 212,
        scales: {
          x: { time: false, distr: x.log ? 3 : 1, range: x.range ? () => x.range : () => spread(points.map((p) => p.x), x.log) },
          y: { distr: panel.log ? 3 : 1, range: () => yRange },
        },
        axes: lines.axes(x.label, { x: x.log ? lines.logAxis : {}, y: panel.log ? lines.logAxis : {} }),
        cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false } },
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: { draw: [(u) => draw(u, points, name)], ready: [(u) => listen(u, points, name)] },
      },
    };
  }

  function place(u, p) {
    return [u.valToPos(p.x, "x", true), u.valToPos(p.y[0], "y", true)];
  }

  function draw(u, points, name) {
    const g = u.ctx, scale = uPlot.pxRatio;
    g.save();
    g.beginPath(); g.rect(u.bbox.left - 6 * scale, u.bbox.top - 6 * scale, u.bbox.width + 12 * scale, u.bbox.height + 12 * scale); g.clip();
    const first = points.find((p) => p.index === 0);
    if (first && (name === "oa" || name === "likeness")) {
      const y = place(u, first)[1];
      g.strokeStyle = css("--soft"); g.lineWidth = scale; g.setLineDash([2 * scale, 3 * scale]); g.beginPath(); g.moveTo(u.bbox.left, y); g.lineTo(u.bbox.left + u.bbox.width, y); g.stroke(); g.setLineDash([]);
    }
    const series = new Map();
    points.forEach((p) => { const key = p.variant.series; series.set(key, [...(series.get(key) || []), p]); });
    for (const own of series.values()) {
      const origin = points.filter((p) => p.variant.form === own[0].variant.form && p.variant.made === "trained").slice(0, 1);
      const path = own[0].variant.made.startsWith("pruned") ? [...origin, ...own] : own;
      g.setLineDash(style(own[0].index).dash.map((n) => n * scale)); g.lineWidth = 1.6 * scale;
      for (let i = 1; i < path.length; i++) {
        g.strokeStyle = style(path[i].index).color; g.beginPath(); g.moveTo(...place(u, path[i - 1])); g.lineTo(...place(u, path[i])); g.stroke();
      }
      g.setLineDash([]);
    }
    for (const p of points) {
      const [x, y] = place(u, p), look = style(p.index);
      if (p.y[1] !== null && p.y[1] !== undefined && p.y[2] !== null) {
        g.strokeStyle = look.color; g.lineWidth = 1.3 * scale; g.beginPath();
        const [a, b] = [p.y[1], p.y[2]].map((v) => u.valToPos(v, "y", true));
        g.moveTo(x, a); g.lineTo(x, b);
        for (const end of [a, b]) { g.moveTo(x - 3 * scale, end); g.lineTo(x + 3 * scale, end); }
        g.stroke();
      }
    }
    const chosen = points.find((p) => p.index === choice.variant);
    for (const p of points) { const [x, y] = place(u, p), look = style(p.index); mark(g, look.mark, x, y, 4.6 * scale, look.color, css("--card")); }
    if (chosen) {
      const [x, y] = place(u, chosen), look = style(chosen.index);
      g.strokeStyle = css("--accent"); g.lineWidth = 2.4 * scale; g.beginPath(); g.arc(x, y, 9.5 * scale, 0, 7); g.stroke();
      mark(g, look.mark, x, y, 5.2 * scale, look.color, css("--card"));
    }
    g.restore();
  }

  function listen(u, points, name) {
    const tip = make("div", { class: "tip" });
    u.over.append(tip);
    const nearest = (event) => {
      const box = u.over.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      let best = null, least = 30 * 30;
      for (const p of points) {
        const away = (u.valToPos(p.x, "x") - x) ** 2 + (u.valToPos(p.y[0], "y") - y) ** 2;
        if (away < least) { least = away; best = p; }
      }
      return best;
    };
    u.over.addEventListener("mousemove", (event) => {
      const p = nearest(event);
      tip.style.display = p ? "block" : "none";
      if (!p) return;
      tip.textContent = `${p.variant.name}: ${panels[name].text(p.variant, p.index)}`;
      const x = u.valToPos(p.x, "x"), width = u.over.clientWidth;
      tip.style.left = `${Math.max(90, Math.min(width - 90, x))}px`; tip.style.top = `${Math.max(30, u.valToPos(p.y[0], "y"))}px`;
    });
    u.over.addEventListener("mouseleave", () => { tip.style.display = "none"; });
    u.over.addEventListener("click", (event) => { const p = nearest(event); if (p) report.choose("variant", p.index); });
  }

  const draws = Object.keys(panels).map((name) => lines.chart(byId(`curve-${name}`), () => describe(name)));
  const all = () => draws.forEach((again) => again());

  function say() {
    const v = variants[choice.variant], p = v.mcnemar_p, now = like(choice.variant);
    const parts = [`OA ${numbers(2)(v.oa)} % (${numbers(1)(v.oa_low)} to ${numbers(1)(v.oa_high)})`];
    if (p !== null) parts.push(`McNemar p ${p < .001 ? "< .001" : "= " + p.toFixed(p < .1 ? 3 : 2).replace(/^0/, "")}`);
    if (v.bytes) parts.push(`${thousands(v.bytes / 1000)} kB, ${numbers(1)(variants[0].bytes / v.bytes)} × smaller`);
    if (v.latency_ms) parts.push(`${numbers(3)(v.latency_ms)} ms`);
    if (now.median !== undefined && choice.variant) {
      const shift = method().shift && method().shift[choice.variant];
      parts.push(`explanation ${method().measure} ${numbers(2)(now.median)}${shift && Math.abs(shift) >= 1 ? `, centre moved by ${Math.round(shift).toString().replace("-", "−")} nm` : ""}`);
    }
    fill(byId("curves-said"), make("strong", {}, v.name), ` · ${parts.join(" · ")}`);
    byId("likeness-unit").textContent = method() ? `median ${method().measure} with ${variants[0].name}, bars: quarters of the samples` : "";
  }

  const key = byId("forms"), used = [...new Set(variants.map((v) => v.form))];
  report.painted(() => {
    fill(key, ...used.map((form) => make("span", {}, swatch(make("canvas"), { color: css("--soft"), ...(forms[form] || forms.dynamic) }), form)));
    all(); say();
  });
  against.addEventListener("change", all);
  methodSelect.addEventListener("change", () => report.choose("method", Number(methodSelect.value)));
  report.when(["variant", "method"], () => { methodSelect.value = String(choice.method); all(); say(); });
});
