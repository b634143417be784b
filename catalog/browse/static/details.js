// The two dialogs: one entry in large with all that is known of it, and what mining dropped.

const open = { place: -1 }; // place in the order of the entry that is shown large

/** Show the entry at a place of the order large. */
function openDetails(place) {
  open.place = Math.max(0, Math.min(grid.order.length - 1, place));
  const entry = grid.order[open.place];
  const dialog = byId("details");
  const sides = cropsOf(entry);
  const what = [facetOf("status", entry), facetOf("kind", entry), facetOf("part", entry)];
  const reason = facetOf("reason", entry);
  const { stage, detail } = entries.texts;
  const verdict = reason && `${textOf(stage, entry)}: ${reason} (${textOf(detail, entry)})`;
  const position = `${(open.place + 1).toLocaleString("en")} of ${grid.order.length.toLocaleString("en")}`;
  dialog.replaceChildren(
    el("div", { className: "row" },
      el("h2", { textContent: what.filter(Boolean).join(", ").replaceAll("_", " ") }),
      el("span", { textContent: position }),
      makeButton("←", "Previous (left arrow)", () => openDetails(open.place - 1)),
      makeButton("→", "Next (right arrow)", () => openDetails(open.place + 1)),
      makeButton("Close", "Close (Escape)", () => dialog.close())),
    ...(verdict ? [el("p", { className: "verdict", textContent: verdict })] : []),
    el("div", { className: "crops" }, ...sides.map((crop, side) =>
      makeFigure(crop, sides.length > 1 ? `${"ab"[side]}: ` : ""))),
    el("div", { className: "facts" }, makeTermTable(entry), makeIdTable(entry, sides)),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  writeState(entry);
  loadSheets();
}

function makeButton(text, title, onClick) {
  const button = el("button", { type: "button", textContent: text, title, "aria-label": title });
  button.addEventListener("click", onClick);
  return button;
}

function makeFigure(crop, prefix) {
  const room = Math.min((window.innerWidth - 120) / 2, window.innerHeight * 0.42);
  const size = Math.floor(Math.max(200, Math.min(416, room)));
  const [canvas, context] = makeCanvas(size, size);
  drawCrop(context, crop, 0, 0, size, () => canvas.isConnected);
  const { numbers, texts } = crops;
  const facts = [
    `${prefix}view ${textOf(texts.view, crop)}, frame ${toText(numbers.frame_index[crop])}, `
      + `${numbers.time_s[crop].toFixed(3)} s`,
    `box ${[...crops.boxesPx.slice(4 * crop, 4 * crop + 4)].map((edge) => Math.round(edge)).join(", ")} px, `
      + `detector ${toText(numbers.detector_score[crop])}`,
    `sharpness ${toText(numbers.sharpness[crop])}, truncation ${toText(numbers.truncation[crop])}, `
      + `occlusion ${toText(numbers.occlusion[crop])}`,
    ...(raw.sheets.unreadable[crop] ? [raw.sheets.unreadable[crop]] : []),
  ];
  const caption = el("figcaption", {}, ...facts.flatMap((fact, i) => (i ? [el("br"), fact] : [fact])));
  caption.style.maxWidth = `${size}px`;
  return el("figure", {}, canvas, caption);
}

function makeIdTable(entry, sides) {
  const rows = [[sides.length > 1 ? "pair" : "detection", entries.ids[entry]]];
  sides.forEach((crop, side) => {
    const name = "ab"[side];
    if (crops.ids[crop] !== crops.detectionIds[crop]) rows.push([`crop ${name}`, crops.ids[crop]]);
    if (sides.length > 1) rows.push([`detection ${name}`, crops.detectionIds[crop]]);
  });
  rows.push(["identity", textOf(entries.texts.identity_id, entry)]);
  rows.push(["capture", textOf(entries.texts.capture, entry)]);
  rows.push(["dataset", facetOf("dataset", entry)], ["split", facetOf("split", entry)]);
  rows.push(["its way", `${raw.trace} ${entries.ids[entry]}`]);
  return el("table", {}, el("caption", { textContent: "Ids" }), ...rows
    .filter(([, value]) => value)
    .map(([name, value]) => {
      const code = el("code", { textContent: value });
      const copy = makeButton("copy", `Copy ${name}`, () => copyText(code, copy));
      copy.className = "copy";
      return el("tr", {}, el("th", { textContent: name }), el("td", {}, code, copy));
    }));
}

/** Copy an element's text; where the browser refuses, leave it selected. */
async function copyText(element, button) {
  getSelection().selectAllChildren(element);
  try {
    await navigator.clipboard.writeText(element.textContent);
  } catch {
    if (!document.execCommand("copy")) return;
  }
  button.textContent = "copied";
}

function makeTermTable(entry) {
  const rows = entries.terms.filter((term) => !Number.isNaN(term.values[entry]));
  return el("table", {}, el("caption", { textContent: "Terms" }), ...rows.map((term) =>
    el("tr", {}, el("th", { textContent: term.label }),
      el("td", { className: "number", textContent: toText(term.values[entry], term.unit) }),
      el("td", { className: "meaning", textContent: term.meaning }))));
}

/** A table of texts and numbers, the numbers to the right. */
function makeTable(caption, names, rows) {
  const isNumber = names.map((_, i) => rows.some((row) => typeof row[i] === "number"));
  const line = (tag, values) => el("tr", {}, ...values.map((value, i) => el(tag, {
    className: isNumber[i] ? "number" : "",
    textContent: typeof value === "number" ? value.toLocaleString("en") : value ?? "",
  })));
  return el("table", {}, el("caption", { textContent: caption }), line("th", names),
    ...rows.map((row) => line("td", row)));
}

/** Show what each stage took and dropped, by reason; most of it has no picture. */
function openCounts() {
  const dialog = byId("counts");
  dialog.replaceChildren(
    el("div", { className: "row" }, el("h2", { textContent: "What was dropped" }),
      makeButton("Close", "Close (Escape)", () => dialog.close())),
    makeTable("Stages", ["stage", "counts", "in", "kept", "rejected", "failed"], raw.stages.map((row) =>
      [row.stage, row.counted, row.num_in, row.num_kept, row.num_rejected, row.num_failed])),
    makeTable("By reason", ["", "stage", "reason", "number", "example"], raw.dropped.map((row) =>
      [row.what, row.stage, row.reason, row.number, row.example])),
  );
  dialog.showModal();
}
