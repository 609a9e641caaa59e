"use strict";
/* Unpack, then start every part that has its section on this page. */
(async () => {
  report.theme();
  await report.open();
  const { data, choice } = report;
  if (data.variants) {
    /* The most compressed Keras model is where there is most to see. */
    const pruned = data.variants.map((v, i) => [v.form === "Keras" && i ? v.removed ?? 0 : -1, i]).sort((a, b) => b[0] - a[0])[0];
    choice.variant = pruned[0] > 0 ? pruned[1] : Math.min(1, data.variants.length - 1);
  }
  if (data.kind === "scene") choice.pixel = data.explained.length ? data.explained[Math.floor(data.explained.length / 2)] : 0;
  for (const [id, start] of report.parts) if (document.getElementById(id)) start();
  /* Charts are drawn when their places have a size, which is in the next frame. */
  requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.ready = "true"; }));
})();
