// Crops on canvases: sheets loaded when they are needed, keypoints drawn over them.

const MAX_SHEETS = 96; // kept ready; a sheet decodes to about 2 MB
const SURE = 0.3; // keypoints with less confidence are drawn faint
const SEEN = 0.05; // and below this not at all
const COLOURS = { left: "#2f9bff", right: "#ff8a1f", middle: "#5fd38d" };

// COCO's 17: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; odd places are left
const BODY_LINES = [
  [0, 1], [0, 2], [1, 3], [2, 4], [5, 7], [7, 9], [6, 8], [8, 10], [11, 13], [13, 15], [12, 14],
  [14, 16], [5, 6], [11, 12], [5, 11], [6, 12],
];
// wrist, then each finger from base to tip
const HAND_LINES = [0, 1, 2, 3, 4].flatMap((finger) =>
  [0, 1, 2, 3].map((bone) => [bone ? 4 * finger + bone : 0, 4 * finger + bone + 1]));

const MAX_LOADING = 4; // few at once, so that what is on the screen comes first
const sheets = new Map(); // place to { image, ready, waiting }, least recently used first
const queue = []; // places of sheets to load
let numLoading = 0;
let onIdle = () => {};

/** Whether images of the screen are still to come. */
function isLoading() {
  return numLoading > 0 || queue.length > 0;
}

/** The sheet at a place when it is ready; else null, and `request.draw` is called once it is. */
function getSheet(place, request) {
  let sheet = sheets.get(place);
  if (sheet) {
    sheets.delete(place);
  } else {
    sheet = { image: new Image(), ready: false, waiting: [] };
    queue.push(place);
  }
  sheets.set(place, sheet);
  if (sheets.size > MAX_SHEETS) sheets.delete(sheets.keys().next().value);
  if (!sheet.ready) sheet.waiting.push(request);
  return sheet.ready ? sheet.image : null;
}

/** Begin to load sheets that are still wanted; called after the page has painted without them. */
function loadSheets() {
  while (numLoading < MAX_LOADING && queue.length) {
    const place = queue.shift();
    const sheet = sheets.get(place);
    if (!sheet) continue;
    if (sheet.waiting.some((request) => request.isWanted())) loadSheet(place, sheet);
    else sheets.delete(place);
  }
  if (!isLoading()) onIdle();
}

async function loadSheet(place, sheet) {
  numLoading++;
  sheet.image.src = `${raw.sheets.prefix}${String(place).padStart(5, "0")}.jpg`;
  try {
    await sheet.image.decode();
    sheet.ready = true;
  } catch {
    sheets.delete(place); // the file is not there: the cells stay grey, and may be asked for again
  }
  numLoading--;
  for (const request of sheet.waiting.splice(0)) {
    if (sheet.ready && request.isWanted()) request.draw();
  }
  loadSheets();
}

/** A canvas of some size in CSS pixels, sharp on any screen, and its context. */
function makeCanvas(width, height, canvas = document.createElement("canvas")) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return [canvas, context];
}

/** Draw one crop as a square at (x, y), later if its image is not there and it is still wanted. */
function drawCrop(context, crop, x, y, size, isWanted) {
  context.fillStyle = "#808080";
  context.fillRect(x, y, size, size);
  const { columns, cell_px: cell, unreadable } = raw.sheets;
  const problem = unreadable[crop];
  if (problem !== undefined) {
    context.fillStyle = "#fff";
    context.font = "12px system-ui, sans-serif";
    context.fillText("no image", x + 8, y + size / 2);
  } else {
    const draw = () => drawCrop(context, crop, x, y, size, isWanted);
    const image = getSheet(Math.floor(crop / columns ** 2), { draw, isWanted });
    if (!image) return;
    const place = crop % columns ** 2;
    context.imageSmoothingQuality = "high";
    context.drawImage(image, (place % columns) * cell, Math.floor(place / columns) * cell, cell, cell,
      x, y, size, size);
  }
  if (grid.withKeypoints) drawKeypoints(context, crop, x, y, size);
}

function drawKeypoints(context, crop, x, y, size) {
  const first = crops.firstKeypoint[crop];
  const count = crops.numKeypoints[crop];
  if (!count) return;
  const at = (k) => [
    x + size * decodeShare(crops.keypoints[2 * (first + k)]),
    y + size * decodeShare(crops.keypoints[2 * (first + k) + 1]),
  ];
  const confidence = (k) => crops.confidences[first + k] / 255;
  const part = textOf(crops.texts.part, crop);
  const width = Math.max(1.5, size / 90);
  context.save();
  context.beginPath();
  context.rect(x, y, size, size);
  context.clip();
  context.lineCap = "round";
  for (const [a, b] of count === 17 ? BODY_LINES : count === 21 ? HAND_LINES : []) {
    const sure = Math.min(confidence(a), confidence(b));
    if (sure < SEEN) continue;
    const [sideA, sideB] = [sideOf(a, part, count), sideOf(b, part, count)];
    const colour = COLOURS[sideA === sideB ? sideA : "middle"];
    context.globalAlpha = sure < SURE ? 0.35 : 1;
    context.beginPath();
    context.moveTo(...at(a));
    context.lineTo(...at(b));
    for (const [style, extra] of [["rgb(0 0 0 / .55)", 1.5], [colour, 0]]) {
      context.strokeStyle = style;
      context.lineWidth = width + extra;
      context.stroke();
    }
  }
  for (let k = 0; k < count; k++) {
    if (confidence(k) < SEEN) continue;
    context.globalAlpha = confidence(k) < SURE ? 0.35 : 1;
    context.beginPath();
    context.arc(...at(k), width * 1.25, 0, 2 * Math.PI);
    context.fillStyle = COLOURS[sideOf(k, part, count)];
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = "rgb(0 0 0 / .6)";
    context.stroke();
  }
  context.restore();
}

/** Which side of the body a keypoint is on: of a hand all are on the hand's. */
function sideOf(k, part, count) {
  if (part !== "body") return part === "left_hand" ? "left" : part === "right_hand" ? "right" : "middle";
  return count !== 17 || k === 0 ? "middle" : k % 2 ? "left" : "right";
}
