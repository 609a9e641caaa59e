"use strict";
/* Line charts over wavelengths, with gaps where bands were removed. */
const lines = (() => {
  const { css } = report;
  const font = "12px ui-sans-serif, -apple-system, 'Segoe UI', 'Noto Sans', Arial, sans-serif";

  const compact = (value) => {
    const size = Math.abs(value);
    if (value === 0) return "0";
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
    if (size < 1e-3) return value.toExponential(0).replace("-", "−").replace("e−", "e−");
    return String(+value.toPrecision(3)).replace("-", "−");
  };

  /* Positions with a hole wherever the step is far wider than usual. */
  function axis(wavelengths, bands) {
    const along = wavelengths || bands;
    const steps = along.slice(1).map((value, i) => value - along[i]).sort((a, b) => a - b);
    const usual = steps[Math.floor(steps.length / 2)] || 1;
    const xs = [], from = [];
    along.forEach((value, i) => {
      if (i && value - along[i - 1] > 2.5 * usual) { xs.push((value + along[i - 1]) / 2); from.push(-1); }
      xs.push(value); from.push(i);
    });
    return { xs, spread: (values) => from.map((i) => (i < 0 ? null : values[i])), label: wavelengths ? "wavelength (nm)" : "band" };
  }

  /* Axes in the colours of the page. */
  function axes(xLabel, extra = {}) {
    const common = { stroke: css("--soft"), font, labelFont: font, grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1, size: 5 } };
    return [
      { ...common, label: xLabel, labelSize: 22, size: 34, values: (u, ticks) => ticks.map((v) => v === null ? "" : compact(v)), ...extra.x },
      { ...common, size: 54, values: (u, ticks) => ticks.map((v) => v === null ? "" : compact(v)), ...extra.y },
    ];
  }

  /* Ticks of a log axis: 1, 2, 5 in every decade, more of them where few would be seen. */
  function logSteps(low, high) {
    for (const steps of [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]]) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
        for (const step of steps) { const value = step * 10 ** power; if (value >= low && value <= high) found.push(value); }
      if (found.length > 3 || steps.length === 7) return found;
    }
    return [];
  }
  const logAxis = { splits: (u, axis, low, high) => logSteps(low, high), filter: (u, splits) => splits };

  /* A chart that is made again when its place, the colours or the data change. */
  function chart(place, describe) {
    let plot = null;
    const draw = () => {
      const width = Math.floor(place.clientWidth);
      if (width < 40) return;
      if (plot) plot.destroy();
      place.querySelectorAll(".uplot").forEach((node) => node.remove());
      const { options, data } = describe(width);
      plot = new uPlot({ width, height: options.height || 230, legend: { show: false }, ...options }, data, place);
    };
    let last = 0;
    new ResizeObserver(() => { if (Math.abs(place.clientWidth - last) > 1) { last = place.clientWidth; draw(); } }).observe(place);
    window.addEventListener("beforeprint", draw);
    return draw;
  }

  /* Options of a line chart: `series` of {label, values, color, dash, width}; `zero` draws y = 0. */
  function spectral(x, series, { height = 230, zero = false, bands = [] } = {}) {
    return {
      data: [x.xs, ...series.map((line) => x.spread(line.values))],
      options: {
        height,
        scales: { x: { time: false }, y: { range: (u, low, high) => {
          if (low === null || !isFinite(low)) return [-1, 1];
          if (zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
          const pad = (high - low || Math.abs(high) || 1) * .06;
          return [low - pad, high + pad];
        } } },
        cursor: { y: false, points: { show: false } },
        axes: axes(x.label),
        bands,
        series: [{}, ...series.map((line) => ({ label: line.label, stroke: line.color, width: line.width || 1.6, dash: line.dash, points: { show: false }, spanGaps: false, ...line.more }))],
        hooks: zero ? { drawAxes: [(u) => {
          const y = Math.round(u.valToPos(0, "y", true)), g = u.ctx;
          g.save(); g.strokeStyle = css("--soft"); g.lineWidth = 1; g.beginPath();
          g.moveTo(u.bbox.left, y); g.lineTo(u.bbox.left + u.bbox.width, y); g.stroke(); g.restore();
        }] } : {},
      },
    };
  }

  return { axis, axes, logAxis, chart, spectral };
})();
