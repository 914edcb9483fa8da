// Buttons of the clock, and of the bar above the pictures.

import { $ } from '../dom.js';
import * as clock from './clock.js';
import { copyFrame, copyLink } from './commands.js';
import { openExport } from './export.js';
import { instantText, lengthText } from './format.js';
import { nextRuler } from './keys.js';
import { SPEEDS, store } from './store.js';

const NEED_SCENE = [
  'play', 'home', 'end', 'frame-back', 'frame-on', 'loop', 'readout', 'speed',
  'copy-frame', 'copy-link', 'export', 'objects', 'overlay', 'quality',
];
const { state } = store;

function drawTime() {
  if (!state.scene) return;
  const text = instantText(clock.now(), state.scene, state.ruler);
  if ($('time').textContent !== text) $('time').textContent = text;
  const length = lengthText(state.scene, state.ruler);
  if ($('length').textContent !== length) $('length').textContent = length;
}

function drawPlay() {
  const playing = Boolean(state.playback?.is_playing);
  const button = $('play');
  button.querySelector('use').setAttribute('href', playing ? '#icon-pause' : '#icon-play');
  button.setAttribute('aria-label', playing ? 'Pause' : 'Play');
  $('loop').setAttribute('aria-pressed', String(Boolean(state.playback?.loop)));
}

function drawSpeed() {
  const select = $('speed');
  const known = [...new Set([...SPEEDS, state.speed])].sort((a, b) => a - b);
  if (select.options.length !== known.length) select.replaceChildren(...known.map((speed) => new Option(`${speed}×`, String(speed))));
  select.value = String(state.speed);
}

function toggle(id, key) {
  $(id).addEventListener('click', () => store.set({ [key]: !state[key] }));
  const draw = () => $(id).setAttribute('aria-pressed', String(state[key]));
  store.on([key], draw);
  draw();
}

/** Without a scene there is nothing to play, copy or export. */
function drawIdle() {
  const idle = !state.scene;
  $('stage').classList.toggle('idle', idle);
  for (const id of NEED_SCENE) $(id).disabled = idle;
}

export function startTransport() {
  const on = (id, act) => $(id).addEventListener('click', act);
  on('play', clock.toggle);
  on('home', clock.home);
  on('end', clock.end);
  on('frame-back', () => clock.stepFrame(-1));
  on('frame-on', () => clock.stepFrame(1));
  on('loop', clock.toggleLoop);
  on('readout', nextRuler);
  on('copy-frame', copyFrame);
  on('copy-link', copyLink);
  on('export', openExport);
  $('speed').addEventListener('change', ({ target }) => clock.setSpeed(Number(target.value)));
  $('quality').addEventListener('change', ({ target }) => store.set({ quality: target.value }));
  toggle('objects', 'objects');
  toggle('overlay', 'overlay');
  store.on(['scene', 'frame', 'playback', 'wanted', 'ruler'], drawTime);
  store.on(['playback'], drawPlay);
  store.on(['speed'], drawSpeed);
  store.on(['quality'], () => { $('quality').value = state.quality; });
  store.on(['scene'], drawIdle);
  drawIdle();
  drawSpeed();
  $('quality').value = state.quality;
}
