"use strict";
/* The bar of variants: one choice for the whole page, by mouse or arrow keys. */
report.part("variants", () => {
  const { data, choice, byId, make, fill, style, swatch, numbers } = report;
  const bar = byId("variants"), oa = numbers(1);

  const chips = data.variants.map((variant, index) => make("button", {
    type: "button", class: "chip", role: "radio", "data-variant": index, "aria-checked": "false",
    title: variant.file, onclick: () => report.choose("variant", index),
  }, make("canvas", { "aria-hidden": "true" }), variant.name, " ", make("small", {}, `${oa(variant.oa)} %`)));
  fill(bar, ...chips);

  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? chips.length - 1 : step ? (choice.variant + step + chips.length) % chips.length : null;
    if (to === null) return;
    event.preventDefault();
    report.choose("variant", to);
    chips[to].focus();
  });

  function show() {
    chips.forEach((chip, index) => {
      const on = index === choice.variant;
      chip.setAttribute("aria-checked", String(on));
      chip.tabIndex = on ? 0 : -1;
    });
    const chip = chips[choice.variant];
    bar.scrollTo({ left: chip.offsetLeft - bar.offsetLeft - bar.clientWidth / 2 + chip.clientWidth / 2 });
    document.querySelectorAll("tr[data-variant]").forEach((row) => row.classList.toggle("selected", Number(row.dataset.variant) === choice.variant));
  }

  document.querySelectorAll("tr[data-variant], .tile[data-variant]").forEach((node) => node.addEventListener("click", () => report.choose("variant", Number(node.dataset.variant))));
  report.painted(() => {
    chips.forEach((chip, index) => swatch(chip.querySelector("canvas"), style(index)));
    document.querySelectorAll("[data-swatch]").forEach((node) => { node.style.background = style(Number(node.dataset.swatch)).color; });
  });
  report.when(["variant"], show);
  show();
});
