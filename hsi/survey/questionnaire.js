"use strict";
(function () {
  const content = JSON.parse(document.getElementById("content").textContent);
  const LETTERS = "123456789abcdefghijklmnopqrstuvwxyz";
  const ARROWS = { left: ["ArrowLeft", "\u2190"], equal: ["ArrowDown", "\u2193"], right: ["ArrowRight", "\u2192"] };
  const at = (id) => document.getElementById(id);
  const store = `hsi-survey-${content.survey}`;
  let state = null;
  let since = 0;

  function warn(text) {
    at("warning").textContent = text;
    at("warning").hidden = false;
  }

  function remember() {
    try {
      localStorage.setItem(`${store}-${state.rater}`, JSON.stringify(state));
      localStorage.setItem(`${store}-last`, state.rater);
    } catch (error) {
      warn("This browser keeps no progress: please finish before you close the page.");
    }
  }

  function recall(name) {
    try {
      return localStorage.getItem(`${store}-${name}`);
    } catch (error) {
      return null;
    }
  }

  // Which form a rater gets: the number behind # in the address, else one drawn by their name.
  function formOf(rater) {
    const asked = Number.parseInt(location.hash.slice(1), 10);
    if (asked >= 1 && asked <= content.forms.length) return asked - 1;
    let hash = 2166136261;
    for (const letter of rater) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619) >>> 0;
    return hash % content.forms.length;
  }

  function begin(rater) {
    let known = null;
    try {
      known = JSON.parse(recall(rater));
    } catch (error) {
      known = null;
    }
    const fits = known && known.rater === rater && content.forms[known.form] && known.answers;
    state = fits ? known : { rater, form: formOf(rater), place: 0, answers: {} };
    remember();
    show();
  }

  const ids = () => content.forms[state.form];

  function only(section) {
    for (const name of ["start", "ask", "end"]) at(name).hidden = name !== section;
  }

  function show() {
    if (state.place >= ids().length) return finish();
    const id = ids()[state.place];
    const question = content.questions[id];
    only("ask");
    at("count").textContent = `Question ${state.place + 1} of ${ids().length}`;
    at("progress").max = ids().length;
    at("progress").value = state.place;
    at("prompt").textContent = question.prompt;
    at("sheet").src = question.image;
    at("sheet").alt = question.kind === "preference"
      ? "Three pictures side by side: the original, and an explanation on the left and on the right"
      : "A picture of which a part is covered";
    at("choices").className = question.kind === "preference" ? "sides" : "";
    at("choices").replaceChildren(...question.choices.map((choice, i) => button(id, choice, i)));
    at("back").disabled = state.place === 0;
    at("prompt").focus();
    since = performance.now();
  }

  function keyOf(choice, place) {
    if (ARROWS[choice.value]) return ARROWS[choice.value];
    const key = choice.value === "none" ? "0" : LETTERS[place] || "";
    return [key, key.toUpperCase()];
  }

  function button(id, choice, place) {
    const made = document.createElement("button");
    made.type = "button";
    made.dataset.value = choice.value;
    const [key, sign] = keyOf(choice, place);
    made.dataset.key = key;
    const known = state.answers[id];
    made.setAttribute("aria-pressed", String(Boolean(known && known.answer === choice.value)));
    if (sign) {
      const cap = document.createElement("kbd");
      cap.textContent = sign;
      made.append(cap);
    }
    made.append(choice.label);
    made.addEventListener("click", () => answer(id, choice.value));
    return made;
  }

  function answer(id, value) {
    const before = state.answers[id] ? state.answers[id].seconds : 0;
    const seconds = before + (performance.now() - since) / 1000;
    state.answers[id] = { answer: value, seconds: Math.round(10 * seconds) / 10 };
    state.place += 1;
    remember();
    show();
  }

  function back() {
    if (state.place > 0) {
      state.place -= 1;
      remember();
      show();
    }
  }

  const given = () => ids().filter((id) => state.answers[id]);

  function finish() {
    only("end");
    const open = ids().length - given().length;
    at("end-title").textContent = open ? "Thank you so far" : "Thank you, that is all";
    at("end-text").textContent = open
      ? `${given().length} of ${ids().length} questions are answered. Go on now or later in this browser, or download what there is and hand the file back.`
      : `All ${ids().length} questions are answered. Please download the file and hand it back.`;
    at("on").hidden = !open;
    at("end-title").focus();
  }

  function table() {
    const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
    const rows = given().map((id) => [content.survey, state.rater, id, state.answers[id].answer, state.answers[id].seconds]);
    return [["survey", "rater", "question", "answer", "seconds"], ...rows]
      .map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
  }

  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = `answers_${content.survey}_${state.rater}.csv`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  at("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    begin(at("rater").value);
  });
  at("back").addEventListener("click", back);
  at("pause").addEventListener("click", finish);
  at("download").addEventListener("click", download);
  at("on").addEventListener("click", () => {
    const open = ids().findIndex((id) => !state.answers[id]);
    state.place = open < 0 ? ids().length : open;
    show();
  });
  document.addEventListener("keydown", (event) => {
    // A key that is held down must not answer the next question too.
    if (at("ask").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Backspace") {
      event.preventDefault();
      back();
      return;
    }
    const wanted = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const found = [...at("choices").children].find((made) => made.dataset.key === wanted);
    if (found) {
      event.preventDefault();
      found.click();
    }
  });
  const last = recall("last");
  if (last) at("rater").value = last;
})();
