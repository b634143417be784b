// Which entries are shown, in which order: the state, its text in the address, and its answer.

/** What is chosen. `facets`: name to a set of values, `ranges`: name to [low, high], null: open. */
const state = { facets: new Map(), ranges: new Map(), find: "", sort: "score", descending: true };

const NO_TERM = "catalog order";

/** Read the state from the address's fragment; unknown words are left out. */
function readState() {
  const words = new URLSearchParams(location.hash.slice(1));
  state.facets.clear();
  state.ranges.clear();
  state.find = words.get("find") ?? "";
  for (const facet of entries.facets) {
    const values = words.getAll(facet.name).filter((value) => facet.values.includes(value));
    if (values.length) state.facets.set(facet.name, new Set(values));
  }
  for (const term of entries.terms) {
    const match = /^([^ ]*)\.\.([^ ]*)$/.exec(words.get(term.name) ?? "");
    if (match) setRange(term.name, toBound(match[1]), toBound(match[2]));
  }
  const sort = words.get("sort") ?? (termsByName.get("score")?.isKnown ? "-score" : NO_TERM);
  state.descending = sort.startsWith("-");
  const name = sort.replace(/^-/, "");
  state.sort = termsByName.has(name) ? name : NO_TERM;
  return words.get("entry");
}

/** Write the state (and the entry that is open) to the address, so that a view can be shared. */
function writeState(openEntry = null) {
  const words = new URLSearchParams();
  words.set("sort", (state.descending ? "-" : "") + state.sort);
  for (const [name, values] of state.facets) for (const value of values) words.append(name, value);
  for (const [name, [low, high]] of state.ranges) words.set(name, `${low ?? ""}..${high ?? ""}`);
  if (state.find) words.set("find", state.find);
  if (openEntry !== null) words.set("entry", entries.ids[openEntry]);
  history.replaceState(null, "", `#${words}`);
}

function toBound(text) {
  const value = Number.parseFloat(text);
  return Number.isFinite(value) ? value : null;
}

/** Keep a term within bounds (inclusive, null: open); entries without the term are then hidden. */
function setRange(name, low, high) {
  if (low === null && high === null) state.ranges.delete(name);
  else state.ranges.set(name, [low, high]);
}

/** The filters of the state: for each a name and a Uint8Array with 1 where an entry fails it. */
function findFailures() {
  const found = [];
  for (const [name, wanted] of state.facets) {
    const facet = facetsByName.get(name);
    const failing = Uint8Array.from(facet.values, (value) => (wanted.has(value) ? 0 : 1));
    found.push({ name, fails: Uint8Array.from(facet.codes, (code) => failing[code]) });
  }
  for (const [name, [low, high]] of state.ranges) {
    const values = termsByName.get(name).values;
    const least = low === null ? -Infinity : Math.fround(low);
    const most = high === null ? Infinity : Math.fround(high);
    const fails = new Uint8Array(entries.count);
    for (let i = 0; i < fails.length; i++) fails[i] = values[i] >= least && values[i] <= most ? 0 : 1;
    found.push({ name, fails });
  }
  if (state.find) found.push({ name: "find", fails: failFind(state.find.trim().toLowerCase()) });
  return found;
}

function failFind(wanted) {
  const hits = (column) => column.values.map((value) => value.toLowerCase().includes(wanted));
  const [capture, identity] = [entries.texts.capture, entries.texts.identity_id];
  const [inCapture, inIdentity] = [hits(capture), hits(identity)];
  const inCrop = Uint8Array.from(crops.ids, (id, i) =>
    id.includes(wanted) || crops.detectionIds[i].includes(wanted) ? 1 : 0);
  return Uint8Array.from(entries.ids, (id, i) =>
    id.includes(wanted) || inCapture[capture.codes[i]] || inIdentity[identity.codes[i]]
      || inCrop[entries.cropA[i]] || inCrop[entries.cropB[i]] ? 0 : 1);
}

/**
 * Answer the state. `order`: the entries shown, in order. `without(name)`: tells of an entry
 * whether it would be shown if the filter `name` were open, for counts beside choices.
 */
function answer() {
  const filters = findFailures();
  const numFails = new Uint8Array(entries.count);
  const lastFail = new Uint8Array(entries.count);
  filters.forEach((filter, place) => {
    for (let i = 0; i < entries.count; i++) {
      if (filter.fails[i]) {
        numFails[i]++;
        lastFail[i] = place;
      }
    }
  });
  const shown = new Uint32Array(entries.count);
  let count = 0;
  for (let i = 0; i < entries.count; i++) if (!numFails[i]) shown[count++] = i;
  const places = new Map(filters.map((filter, place) => [filter.name, place]));
  return {
    order: sortEntries(shown.slice(0, count)),
    without: (name) => {
      const place = places.get(name) ?? -1;
      return (i) => numFails[i] === 0 || (numFails[i] === 1 && lastFail[i] === place);
    },
  };
}

/** Sort entries by the chosen term; unknown values last, ties in the order of the catalog. */
function sortEntries(order) {
  const values = termsByName.get(state.sort)?.values;
  if (!values) return state.descending ? order.reverse() : order;
  const sign = state.descending ? -1 : 1;
  return order.sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    if (x !== x) return y !== y ? a - b : 1;
    if (y !== y) return -1;
    return x === y ? a - b : sign * (x - y);
  });
}
