// The filters beside the grid: a list of choices for each facet, two bounds for each term.

const choices = []; // { facet, value, input, output, line }
const rangeInputs = new Map(); // term's name to { box, low, high }

/** Build the filters; `onChange` is called after the state has changed. */
function buildPanel(onChange) {
  for (const facet of entries.facets) {
    if (facet.values.length < 2 && facet.name !== "status") continue;
    const list = el("div", { className: "choices" });
    for (const [code, value] of facet.values.entries()) {
      const input = el("input", { type: "checkbox" });
      const output = el("output");
      const text = el("span", { textContent: value || "(none)", title: value });
      const line = el("label", { className: "choice" }, input, text, output);
      input.addEventListener("change", () => {
        const wanted = state.facets.get(facet.name) ?? new Set();
        if (input.checked) wanted.add(value);
        else wanted.delete(value);
        if (wanted.size) state.facets.set(facet.name, wanted);
        else state.facets.delete(facet.name);
        onChange(facet.name);
      });
      choices.push({ facet, code, value, input, output, line });
      list.append(line);
    }
    byId("facets").append(el("fieldset", {}, el("legend", { textContent: facet.name }), list));
  }
  for (const term of entries.terms.filter((each) => each.isKnown)) {
    const name = term.unit ? `${term.label} (${term.unit})` : term.label;
    const makeBound = (word, value) => el("input", {
      type: "number", step: "any", placeholder: toText(value), "aria-label": `${word} ${name}`,
    });
    const [low, high] = [makeBound("least", term.min), makeBound("most", term.max)];
    const box = el("div", { className: "range", title: term.meaning },
      el("span", { className: "range-name", textContent: name }), el("div", {}, low, "to", high));
    for (const input of [low, high]) {
      input.addEventListener("input", () => {
        setRange(term.name, toBound(low.value), toBound(high.value));
        onChange(term.name);
      });
    }
    rangeInputs.set(term.name, { box, low, high });
    byId("ranges").append(box);
  }
}

/** Show the state and how many entries each choice would give. */
function updatePanel(result) {
  for (const facet of entries.facets) {
    const passes = result.without(facet.name);
    facet.counts = new Uint32Array(facet.values.length);
    for (let i = 0; i < entries.count; i++) if (passes(i)) facet.counts[facet.codes[i]]++;
  }
  for (const { facet, code, value, input, output, line } of choices) {
    input.checked = state.facets.get(facet.name)?.has(value) ?? false;
    output.textContent = facet.counts[code].toLocaleString("en");
    line.classList.toggle("none", !facet.counts[code]);
  }
  for (const [name, { box, low, high }] of rangeInputs) {
    const range = state.ranges.get(name) ?? [null, null];
    box.classList.toggle("active", state.ranges.has(name));
    for (const [input, bound] of [[low, range[0]], [high, range[1]]]) {
      if (toBound(input.value) !== bound && document.activeElement !== input) input.value = bound ?? "";
    }
  }
}
