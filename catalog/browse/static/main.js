// Starts the page, answers every change of the state, and measures how long that took.

/** Call back once the browser has painted what was changed. */
function afterPaint(callback) {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = callback;
    channel.port2.postMessage(null);
  });
}

/** Answer the state anew and show it; `what` names the change in the timings. */
function update(what) {
  const started = performance.now();
  const timing = { what, painted_ms: null, images_ms: null };
  timings.updates.push(timing);
  if (timings.updates.length > 100) timings.updates.shift();
  const result = answer();
  showCount(result.order.length);
  showSort();
  updatePanel(result);
  drawHistogram(result);
  setOrder(result.order);
  byId("nothing").hidden = result.order.length > 0;
  update.result = result;
  afterPaint(() => {
    timing.painted_ms = performance.now() - started;
    onIdle = () => { timing.images_ms ??= performance.now() - started; };
    writeState(byId("details").open ? grid.order[open.place] : null);
    loadSheets();
  });
}

function showCount(count) {
  const write = (number) => number.toLocaleString("en");
  const total = Object.values(raw.totals).reduce((sum, number) => sum + number, 0);
  byId("count").replaceChildren(el("b", { textContent: write(count) }), ` of ${write(entries.count)} shown`);
  if (total === entries.count) return;
  byId("count").append(`; an even sample: ${write(entries.count)} of ${write(total)}`);
  const { codes, values } = facetsByName.get("status");
  byId("count").title = Object.entries(raw.totals).map(([status, number]) => {
    const here = codes.reduce((sum, code) => sum + (values[code] === status ? 1 : 0), 0);
    return `${status}: ${write(here)} of ${write(number)}`;
  }).join("\n");
}

function showSort() {
  byId("sort").value = state.sort;
  const words = termsByName.has(state.sort) ? ["↓ high first", "↑ low first"] : ["↓ reversed", "↑ forward"];
  byId("direction").textContent = words[state.descending ? 0 : 1];
}

function start() {
  byId("dataset").textContent = raw.dataset + (raw.where === "true" ? "" : ` where ${raw.where}`);
  document.title = `crosspairs: ${raw.dataset}`;
  byId("nothing").textContent = entries.count
    ? "Nothing fulfils the filters." : "The catalog has no pairs and no rejected crops here.";
  for (const term of entries.terms.filter((each) => each.isKnown)) {
    byId("sort").append(el("option", { value: term.name, textContent: term.label, title: term.meaning }));
  }
  byId("sort").append(el("option", { value: NO_TERM, textContent: NO_TERM }));
  buildPanel((name) => update(name));
  const entryId = readState();
  byId("find").value = state.find;
  grid.onOpen = openDetails;
  watchHistogram(() => update("range"), () => drawHistogram(update.result));
  measureHistogram();
  measureGrid();
  update("open");
  afterPaint(() => { timings.first_rows_ms = performance.now(); });
  watchImages();
  openById(entryId);
  listen();
}

/** Note when all images of the first screen are drawn. */
function watchImages() {
  const wait = () => {
    if (isLoading()) setTimeout(wait, 5);
    else afterPaint(() => { timings.first_images_ms = performance.now(); });
  };
  afterPaint(wait);
}

function openById(entryId) {
  const place = entryId ? grid.order.findIndex((entry) => entries.ids[entry] === entryId) : -1;
  if (place >= 0) openDetails(place);
}

function listen() {
  let pending = false;
  byId("scroller").addEventListener("scroll", () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      grid.scrollTop = byId("scroller").scrollTop;
      showWindow();
      loadSheets();
    });
  });
  const redraw = () => { measureHistogram(); drawHistogram(update.result); };
  window.addEventListener("resize", () => { measureGrid(); layOut(); loadSheets(); redraw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("hashchange", () => {
    const entryId = readState();
    byId("find").value = state.find;
    update("address");
    openById(entryId);
  });
  byId("sort").addEventListener("change", () => { state.sort = byId("sort").value; update("sort"); });
  byId("direction").addEventListener("click", () => { state.descending = !state.descending; update("sort"); });
  byId("find").addEventListener("input", () => { state.find = byId("find").value; update("find"); });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", clearFilters);
  byId("keypoints").addEventListener("change", () => toggleKeypoints(byId("keypoints").checked));
  byId("show-counts").addEventListener("click", openCounts);
  byId("details").addEventListener("close", () => {
    writeState();
    grid.cursor = open.place;
    moveCursor(0);
    loadSheets();
  });
  document.addEventListener("keydown", onKey);
}

function clearFilters() {
  state.facets.clear();
  state.ranges.clear();
  state.find = byId("find").value = "";
  for (const { low, high } of rangeInputs.values()) low.value = high.value = "";
  update("clear");
}

function toggleKeypoints(wanted) {
  grid.withKeypoints = byId("keypoints").checked = wanted;
  layOut();
  loadSheets();
  if (byId("details").open) openDetails(open.place);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("counts").open) return;
  const isTyping = event.target.matches("input:not([type=checkbox]), select");
  if (isTyping) return;
  const isLarge = byId("details").open;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -grid.columns, ArrowDown: grid.columns };
  const isSideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
  const inGrid = event.target.closest(".card") || event.target === document.body;
  if (event.key === "k") toggleKeypoints(!grid.withKeypoints);
  else if (event.key === "/" && !isLarge) byId("find").focus();
  else if (isLarge && isSideways) openDetails(open.place + steps[event.key]);
  else if (!isLarge && inGrid && event.key in steps) { moveCursor(steps[event.key]); loadSheets(); }
  else if (!isLarge && event.target.matches(".card") && event.key === "Enter") openDetails(grid.cursor);
  else return;
  event.preventDefault();
}

start();
