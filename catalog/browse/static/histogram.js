// The distribution of the sort term over what is shown, kept and rejected; dragging sets its range.

const NUM_BARS = 60;
const HISTOGRAM_PX = 56;
let drag = null; // values where the drag began and is

const look = { width: 0, keptColour: "", rejectedColour: "" };

/** Learn the width and the colours, once and when they change: asking costs a layout. */
function measureHistogram() {
  const style = getComputedStyle(document.documentElement);
  look.width = document.querySelector("main").clientWidth - 32;
  look.keptColour = style.getPropertyValue("--bar");
  look.rejectedColour = style.getPropertyValue("--bar-rejected");
}

/** Draw the distribution of the sort term; its own range does not hide bars, it shades them. */
function drawHistogram(result) {
  const figure = byId("histogram");
  const term = termsByName.get(state.sort);
  figure.style.visibility = term?.isKnown ? "visible" : "hidden"; // its place stays
  if (!term?.isKnown) return;
  const passes = result.without(term.name);
  const kept = new Uint32Array(NUM_BARS);
  const rejected = new Uint32Array(NUM_BARS);
  const span = term.max - term.min || 1;
  const { codes, values } = facetsByName.get("status");
  const keptCode = values.indexOf("kept");
  for (let i = 0; i < entries.count; i++) {
    const value = term.values[i];
    if (value !== value || !passes(i)) continue;
    const bar = Math.min(NUM_BARS - 1, Math.floor(((value - term.min) / span) * NUM_BARS));
    (codes[i] === keptCode ? kept : rejected)[bar]++;
  }
  const { width, keptColour, rejectedColour } = look;
  const [, context] = makeCanvas(width, HISTOGRAM_PX, figure.querySelector("canvas"));
  const most = Math.max(1, ...kept.map((count, bar) => count + rejected[bar]));
  const step = width / NUM_BARS;
  const range = drag ? [Math.min(...drag), Math.max(...drag)] : state.ranges.get(term.name);
  for (let bar = 0; bar < NUM_BARS; bar++) {
    const middle = term.min + ((bar + 0.5) / NUM_BARS) * span;
    const isOut = range && (middle < (range[0] ?? -Infinity) || middle > (range[1] ?? Infinity));
    context.globalAlpha = isOut ? 0.3 : 1;
    const heights = [kept[bar], rejected[bar]].map((count) => (count / most) * HISTOGRAM_PX);
    context.fillStyle = keptColour;
    context.fillRect(bar * step, HISTOGRAM_PX - heights[0], step - 1, heights[0]);
    context.fillStyle = rejectedColour;
    context.fillRect(bar * step, HISTOGRAM_PX - heights[0] - heights[1], step - 1, heights[1]);
  }
  figure.querySelector("figcaption").replaceChildren(
    el("span", { textContent: toText(term.min, term.unit) }),
    el("span", { textContent: `${term.label}: drag to choose a range, double-click for all` }),
    el("span", { textContent: toText(term.max, term.unit) }),
  );
}

/** Let the pointer choose a range of the sort term; `onRange` is called when it has. */
function watchHistogram(onRange, redraw) {
  const canvas = byId("histogram").querySelector("canvas");
  const valueAt = (event) => {
    const term = termsByName.get(state.sort);
    const box = canvas.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return Number((term.min + share * (term.max - term.min)).toPrecision(4));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag = [valueAt(event), valueAt(event)];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag[1] = valueAt(event);
    redraw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!drag) return;
    drag[1] = valueAt(event);
    const [low, high] = [Math.min(...drag), Math.max(...drag)];
    drag = null;
    if (low < high) {
      setRange(state.sort, low, high);
      onRange();
    }
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("dblclick", () => {
    setRange(state.sort, null, null);
    onRange();
  });
}
