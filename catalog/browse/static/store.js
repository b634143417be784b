// What data.js brought, decoded once into typed arrays: one value for each entry or each crop.

const raw = window.crosspairsData;
const timings = { data_ms: performance.now(), updates: [] };
window.crosspairsTimings = timings;

/** The bytes of base64 text, as a buffer. */
function toBuffer(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

/** Texts with few distinct values: `values`, and `codes`, one for each row. */
function toTexts(column) {
  return { values: column.values, codes: new Uint32Array(toBuffer(column.codes)) };
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));
}

const entries = {
  count: raw.entries.count,
  ids: raw.entries.ids,
  cropA: new Int32Array(toBuffer(raw.entries.crop_a)),
  cropB: new Int32Array(toBuffer(raw.entries.crop_b)), // -1: the entry is one crop
  facets: raw.entries.facets.map((facet) => ({ name: facet.name, ...toTexts(facet) })),
  texts: mapValues(raw.entries.texts, toTexts),
  // values: NaN where the term is unknown
  terms: raw.entries.terms.map((term) => ({ ...term, values: new Float32Array(toBuffer(term.values)) })),
};

const crops = {
  count: raw.crops.count,
  ids: raw.crops.ids,
  detectionIds: raw.crops.detection_ids,
  texts: mapValues(raw.crops.texts, toTexts),
  numbers: mapValues(raw.crops.numbers, (values) => new Float32Array(toBuffer(values))),
  boxesPx: new Float32Array(toBuffer(raw.crops.boxes_px)), // x0, y0, x1, y1 of each
  numKeypoints: new Uint8Array(toBuffer(raw.crops.num_keypoints)),
  keypoints: new Uint16Array(toBuffer(raw.crops.keypoints)), // x, y of each; see decodeShare
  confidences: new Uint8Array(toBuffer(raw.crops.confidences)), // 255 is 1
  firstKeypoint: null,
};
crops.firstKeypoint = new Uint32Array(crops.count + 1);
for (let i = 0; i < crops.count; i++) {
  crops.firstKeypoint[i + 1] = crops.firstKeypoint[i] + crops.numKeypoints[i];
}

const termsByName = new Map(entries.terms.map((term) => [term.name, term]));
const facetsByName = new Map(entries.facets.map((facet) => [facet.name, facet]));
for (const term of entries.terms) {
  term.min = Infinity;
  term.max = -Infinity;
  for (const value of term.values) {
    if (value < term.min) term.min = value;
    if (value > term.max) term.max = value;
  }
  term.isKnown = term.min <= term.max;
}

/** A share of the crop's side from its 16 bits: -1 to 2. */
function decodeShare(fixed) {
  return (fixed / 65535) * 3 - 1;
}

/** The text of one row in a column of texts. */
function textOf(column, row) {
  return column.values[column.codes[row]];
}

/** The value of an entry in a facet. */
function facetOf(name, entry) {
  return textOf(facetsByName.get(name), entry);
}

function isKept(entry) {
  return facetOf("status", entry) === "kept";
}

/** The crops of an entry: two of a pair, else one. */
function cropsOf(entry) {
  return [entries.cropA[entry], entries.cropB[entry]].filter((crop) => crop >= 0);
}

/** A number in at most 3 or 4 figures, with its unit; a dash where it is unknown. */
function toText(value, unit = "") {
  if (Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const digits = Number.isInteger(value) ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toFixed(digits) + (unit === "°" || !unit ? unit : ` ${unit}`);
}

/** A new element with properties and children; text is only ever set as text. */
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

function byId(id) {
  return document.getElementById(id);
}
