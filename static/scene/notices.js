// What went wrong, where it can be seen: the state in the header, and a band over the pictures.

import { $, element } from '../dom.js';
import { show } from './live.js';
import { store } from './store.js';

const RETRY_MS = 2000;
const FADE_MS = 9000;
const { state } = store;
const status = $('status');
let fades = 0;
let retries = 0;

function say(kind, text) {
  status.dataset.state = kind;
  // Written only when it changes: a screen reader speaks every write.
  if (status.textContent !== text) status.textContent = text;
}

const failures = () => (state.frame?.images ?? []).filter((image) => image.error);

function headline() {
  if (state.connection === 'lost') return ['gone', 'connection lost, trying again'];
  if (state.connection === 'connecting') return ['loading', 'connecting'];
  if (!state.scene) return ['loading', 'no scene loaded'];
  const { renderer } = state.scene;
  const failed = failures().length;
  if (failed > 0) return ['failed', `renderer: ${failed} of ${state.frame.images.length} cameras fail`];
  return ['ready', `${renderer.name}, ${renderer.place}`];
}

function bandText() {
  if (state.connection === 'lost') {
    return ['Connection lost', 'The server does not answer. This page goes on trying and picks up where it was; check that neuro serve still runs.'];
  }
  const failed = failures();
  if (failed.length > 0 && failed.length === state.frame.images.length) {
    return ['The renderer is away', `${failed[0].error} Map, tracks and timeline go on; pictures come back by themselves.`];
  }
  return state.complaint ? ['', state.complaint] : null;
}

function draw() {
  say(...headline());
  const band = $('banner');
  const text = bandText();
  band.hidden = !text;
  const key = text ? text.join('|') : '';
  if (band.dataset.said === key) return;
  band.dataset.said = key;
  band.replaceChildren(...(text ? [element('b', '', text[0]), element('span', '', text[1])] : []));
}

/** A paused page would not notice that the renderer is back: it asks for its instant again. */
function retry() {
  clearTimeout(retries);
  if (failures().length === 0 || state.playback?.is_playing) return;
  const us = state.frame.timestamp_us;
  retries = setTimeout(() => {
    if (state.frame?.timestamp_us === us && state.wanted === null && !state.playback?.is_playing) show(us);
  }, RETRY_MS);
}

export function startNotices() {
  store.on(['connection', 'scene', 'frame', 'complaint'], draw);
  store.on(['frame', 'playback', 'connection'], retry);
  store.on(['complaint'], () => {
    clearTimeout(fades);
    if (state.complaint) fades = setTimeout(() => store.set({ complaint: '' }), FADE_MS);
  });
  draw();
}
