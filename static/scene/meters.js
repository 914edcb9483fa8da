// How fast the pictures come, how old they are when seen, and where that time went.

import { $, element } from '../dom.js';
import { store } from './store.js';

const WINDOW_MS = 2000;
const SAMPLES = 120;
const REFRESH_MS = 300;
const STAGES = [['queued', '--stage-1'], ['render', '--stage-2'], ['encode_message', '--stage-3'], ['page', '--stage-4']];

let drawn = [];
let latencies = [];
let stages = {};
let timer = 0;

/** To be called when a frame set is on the screen. */
export function measured(set) {
  const nowMs = performance.now();
  const timings = set.header.timings_ms ?? {};
  const pageMs = nowMs - set.arrivedMs;
  drawn.push(nowMs);
  latencies.push((timings.total ?? 0) + pageMs);
  if (latencies.length > SAMPLES) latencies.shift();
  stages = { ...timings, page: pageMs };
  timer ||= setTimeout(draw, REFRESH_MS);
}

export function forgetMeters() {
  drawn = [];
  latencies = [];
}

const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

/** Frame sets a second over the last moments. */
export function framesPerSecond() {
  const nowMs = performance.now();
  drawn = drawn.filter((at) => nowMs - at < WINDOW_MS);
  return drawn.length < 2 ? 0 : ((drawn.length - 1) * 1000) / Math.max(drawn.at(-1) - drawn[0], 1);
}

function draw() {
  timer = 0;
  const playing = store.state.playback?.is_playing;
  $('fps').textContent = playing ? framesPerSecond().toFixed(1) : '–';
  if (latencies.length > 0) {
    const sorted = [...latencies].sort((a, b) => a - b);
    $('latency').textContent = `${quantile(sorted, 0.5).toFixed(0)} / ${quantile(sorted, 0.95).toFixed(0)}`;
  }
  const parts = STAGES.filter(([name]) => stages[name] >= 0.05);
  $('stages').replaceChildren(...parts.map(([name, colour]) => {
    const part = element('i');
    part.style.flexGrow = stages[name];
    part.style.background = `var(${colour})`;
    return part;
  }));
  const words = parts.map(([name]) => `${name.replace('_', ' ')} ${stages[name].toFixed(1)} ms`).join(', ') || 'no picture yet';
  $('stages').title = words;
  $('stages').setAttribute('aria-label', words);
  if (playing) timer = setTimeout(draw, REFRESH_MS);
}

export function startMeters() {
  store.on(['playback'], () => { timer ||= setTimeout(draw, REFRESH_MS); });
}
