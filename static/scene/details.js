// The selected track: class, size, speed, distance, its life, and what may be done with it.

import { $, element } from '../dom.js';
import { classColour } from './classes.js';
import { seek } from './clock.js';
import { classText, instantText, metres } from './format.js';
import { indexOn, poseAt } from './pose.js';
import { server } from './server.js';
import { store } from './store.js';
import { distanceTo, speedOf } from './tracks.js';

const { state } = store;
const panel = $('details');
let values = null;

function button(text, title, act) {
  const made = element('button', 'tool', text);
  made.type = 'button';
  made.title = title;
  made.addEventListener('click', act);
  return made;
}

function build(track) {
  const head = element('header');
  const swatch = element('i', 'swatch');
  swatch.style.background = classColour(track.class);
  const close = button('', 'Deselect (Esc)', () => store.set({ selected: null }));
  close.setAttribute('aria-label', 'Deselect');
  close.textContent = '×';
  head.append(swatch, element('b', '', classText(track.class)), element('span', 'id', track.id), close);
  const table = element('dl');
  values = {};
  for (const name of ['speed', 'size', 'distance', 'position', 'alive', 'kind']) {
    values[name] = element('dd');
    table.append(element('dt', '', name), values[name]);
  }
  const [length, width, height] = track.dimensions_m;
  values.size.textContent = `${length.toFixed(1)} × ${width.toFixed(1)} × ${height.toFixed(1)} m`;
  values.kind.textContent = [track.dynamic ? 'moves' : 'stands', track.controllable ? 'controllable' : ''].filter(Boolean).join(', ');
  const line = element('div', 'row-actions');
  line.append(
    button('First seen', 'Go to where it appears', () => seek(Math.max(track.start_us, state.scene.start_us))),
    button('Last seen', 'Go to where it leaves', () => seek(Math.min(track.end_us, state.scene.end_us))),
    button('Follow', 'Keep it in the middle of the map (F)', () => store.set({ follow: true })),
  );
  panel.replaceChildren(head, table, line);
}

function update() {
  const track = state.scene?.tracks.find(({ id }) => id === state.selected);
  if (!track || !values) return;
  const us = state.frame?.timestamp_us ?? state.scene.start_us;
  const alive = state.frame?.tracks.find(({ id }) => id === track.id);
  const path = state.path?.id === track.id ? state.path.path : null;
  const speed = path && alive ? poseAt(path, us, indexOn(path, us))?.speed_mps : speedOf(track.id);
  panel.classList.toggle('absent', !alive);
  values.speed.textContent = alive && speed !== undefined ? `${speed.toFixed(1)} m/s, ${(speed * 3.6).toFixed(0)} km/h` : '–';
  const far = alive ? distanceTo(alive.position) : null;
  values.distance.textContent = far === null ? '–' : `${metres(far)} m`;
  values.position.textContent = alive ? alive.position.map((value) => value.toFixed(1)).join(', ') : 'not here now';
  const at = (time) => instantText(time, state.scene, state.ruler, 1);
  values.alive.textContent = `${at(Math.max(track.start_us, state.scene.start_us))} to ${at(Math.min(track.end_us, state.scene.end_us))}`;
}

async function choose() {
  const track = state.scene?.tracks.find(({ id }) => id === state.selected);
  panel.hidden = !track;
  values = null;
  store.set({ path: null });
  if (!track) return;
  build(track);
  update();
  try {
    const path = await server.track(track.id);
    if (state.selected === track.id) store.set({ path });
  } catch (error) {
    store.set({ complaint: error.message });
  }
}

export function startDetails() {
  store.on(['selected', 'scene'], choose);
  store.on(['frame', 'path', 'ruler'], update);
  addEventListener('neuro-theme', choose);
}
