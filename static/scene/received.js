// The frame sets received lately, by instant: the cached bar of the timeline, and pictures for its preview.

const MOST_BYTES = 32 * 1024 * 1024;
const JOIN_US = 250_000;

let sets = new Map();
let bytes = 0;
let spans = [];

/** Forgets everything: other cameras, another size or another scene. */
export function forget() {
  sets = new Map();
  bytes = 0;
  spans = [];
}

function cover(us) {
  let index = spans.findIndex(([, end]) => end + JOIN_US >= us);
  if (index < 0) index = spans.length;
  const span = spans[index];
  if (!span || us < span[0] - JOIN_US) { spans.splice(index, 0, [us, us]); return; }
  span[0] = Math.min(span[0], us);
  span[1] = Math.max(span[1], us);
  const after = spans[index + 1];
  if (after && after[0] - JOIN_US <= span[1]) {
    span[1] = Math.max(span[1], after[1]);
    spans.splice(index + 1, 1);
  }
}

export function keep(set) {
  const us = set.header.timestamp_us;
  if (set.header.images.length === 0 || set.header.images.some((image) => image.error)) return;
  cover(us);
  if (sets.has(us)) bytes -= sets.get(us).bytes;
  sets.delete(us);
  // Cuboids and tracks are not needed again, and weigh more than pictures do.
  sets.set(us, { images: set.header.images, picture: set.picture, bytes: set.bytes });
  bytes += set.bytes;
  for (const [oldest, { bytes: freed }] of sets) {
    if (bytes <= MOST_BYTES) break;
    sets.delete(oldest);
    bytes -= freed;
  }
}

/** Stretches of time seen with these settings, `[start_us, end_us]`, in order. */
export const seen = () => spans;

/** The kept set nearest to an instant, if one lies within `withinUs`. */
export function nearest(us, withinUs) {
  let best = null;
  let least = withinUs;
  for (const [at, set] of sets) {
    const away = Math.abs(at - us);
    if (away <= least) { least = away; best = set; }
  }
  return best;
}
