// The grid of cards: only those near the window exist, whatever number is shown, and they are used
// again for other entries, because making canvases is what would cost the time of a filter.

const CARD = { image: 128, width: 276, height: 218, gap: 10 };
const ROWS_BEYOND = 1; // rows kept ready above and below the window
const CARD_TERMS = ["score", "view_angle_deg", "covisibility", "time_gap_s", "pose_distance", "scale_ratio"];

const grid = {
  order: new Uint32Array(0), // entries, in order
  columns: 1,
  cards: new Map(), // place in the order to its card
  spare: [], // cards out of use
  width: 0, // of the grid, and of its window: asking the browser costs a layout
  height: 0,
  scrollTop: 0,
  cursor: 0, // place that the arrow keys start from
  withKeypoints: true,
  onOpen: () => {},
};

/** Show other entries, from the top. */
function setOrder(order) {
  grid.order = order;
  grid.cursor = 0;
  if (grid.scrollTop) byId("scroller").scrollTop = grid.scrollTop = 0;
  layOut();
}

/** Learn the size of the window, once and when it changes. */
function measureGrid() {
  grid.width = byId("grid").clientWidth;
  grid.height = byId("scroller").clientHeight;
}

/** Place the cards anew: after a change of order, size, or of what is drawn on them. */
function layOut() {
  for (const place of [...grid.cards.keys()]) dropCard(place);
  grid.columns = Math.max(1, Math.floor((grid.width + CARD.gap) / (CARD.width + CARD.gap)));
  const numRows = Math.ceil(grid.order.length / grid.columns);
  byId("grid").style.height = `${numRows * (CARD.height + CARD.gap)}px`;
  showWindow();
}

/** Fill the cards that are in the window, and drop those that left it. */
function showWindow() {
  const step = CARD.height + CARD.gap;
  const top = Math.floor(grid.scrollTop / step) - ROWS_BEYOND;
  const bottom = Math.ceil((grid.scrollTop + grid.height) / step) + ROWS_BEYOND;
  const first = Math.max(0, top * grid.columns);
  const last = Math.min(grid.order.length, bottom * grid.columns);
  for (const [place, card] of [...grid.cards]) {
    if ((place < first || place >= last) && card.box !== document.activeElement) dropCard(place);
  }
  for (let place = first; place < last; place++) if (!grid.cards.has(place)) showCard(place);
  for (const card of grid.spare) card.box.hidden = true;
}

function dropCard(place) {
  const card = grid.cards.get(place);
  grid.cards.delete(place);
  card.place = -1;
  if (card.box === document.activeElement) card.box.blur();
  grid.spare.push(card);
}

function makeCard() {
  const [canvas, context] = makeCanvas(2 * CARD.image + 4, CARD.image);
  const [what, reason] = [el("span"), el("span", { className: "reason" })];
  const cells = CARD_TERMS.map(() => [el("dt"), el("dd")]);
  const box = el("div", { role: "listitem", tabIndex: 0 }, canvas,
    el("div", { className: "head" }, what, reason), el("dl", {}, ...cells.flat()));
  const card = { place: -1, box, context, what, reason, cells };
  box.style.width = `${CARD.width}px`;
  box.style.height = `${CARD.height}px`;
  box.addEventListener("click", () => grid.onOpen(card.place));
  box.addEventListener("focus", () => { grid.cursor = card.place; });
  byId("grid").append(box);
  return card;
}

function showCard(place) {
  const entry = grid.order[place];
  const card = grid.spare.pop() ?? makeCard();
  const { box, context } = card;
  card.place = place;
  card.entry = entry;
  grid.cards.set(place, card);
  const [row, column] = [Math.floor(place / grid.columns), place % grid.columns];
  box.hidden = false;
  const [left, top] = [column * (CARD.width + CARD.gap), row * (CARD.height + CARD.gap)];
  box.style.transform = `translate(${left}px, ${top}px)`;
  context.clearRect(0, 0, 2 * CARD.image + 4, CARD.image);
  const sides = cropsOf(entry);
  sides.forEach((crop, side) => drawCrop(context, crop, side * (CARD.image + 4), 0, CARD.image,
    () => card.place === place && card.entry === entry));
  const kindAndPart = [facetOf("kind", entry), facetOf("part", entry)].filter(Boolean);
  const what = kindAndPart.join(", ").replaceAll("_", " ");
  const [status, reason] = [facetOf("status", entry), facetOf("reason", entry)];
  box.className = isKept(entry) ? "card" : "card rejected";
  box.title = reason ? `${reason}: ${textOf(entries.texts.detail, entry)}` : "";
  box.setAttribute("aria-label", [status, reason, what].filter(Boolean).join(", "));
  card.what.textContent = sides.length > 1 ? what : `crop, ${what}`;
  card.reason.textContent = reason;
  showTerms(card, entry);
}

/**
 * The terms on a card: of a pair always the same ones, with the sort term first where it is not
 * among them; of a single crop those that are known.
 */
function showTerms(card, entry) {
  let names = CARD_TERMS;
  if (entries.cropB[entry] < 0) {
    const known = entries.terms.filter((term) => !Number.isNaN(term.values[entry]));
    names = known.map((term) => term.name);
  } else if (!CARD_TERMS.includes(state.sort) && termsByName.has(state.sort)) {
    names = [state.sort, ...CARD_TERMS.slice(0, -1)];
  }
  card.cells.forEach(([name, value], i) => {
    const term = termsByName.get(names[i]);
    name.className = value.className = names[i] === state.sort ? "sorted" : "";
    name.textContent = term ? term.label : "";
    value.textContent = term ? toText(term.values[entry], term.unit) : "";
  });
}

/** Move the keyboard's place by some cards, and bring it into the window. */
function moveCursor(by) {
  grid.cursor = Math.max(0, Math.min(grid.order.length - 1, grid.cursor + by));
  const top = Math.floor(grid.cursor / grid.columns) * (CARD.height + CARD.gap);
  const low = top + CARD.height + 16 - grid.height;
  grid.scrollTop = Math.max(low, Math.min(top, grid.scrollTop));
  byId("scroller").scrollTop = grid.scrollTop;
  showWindow();
  grid.cards.get(grid.cursor)?.box.focus({ preventScroll: true });
}
