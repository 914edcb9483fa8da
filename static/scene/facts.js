// What this scene has, and what it lacks.

import { $, element } from '../dom.js';
import { cameraText, classText, clockText } from './format.js';
import { store } from './store.js';

const SHUTTERS = { GLOBAL: 'global shutter' };

function table(rows) {
  const list = element('dl');
  for (const [name, value] of rows) list.append(element('dt', '', name), element('dd', '', value));
  return list;
}

function section(title, ...content) {
  const part = element('section');
  part.append(element('h2', '', title), ...content);
  return part;
}

function pathLength(ego) {
  let metres = 0;
  for (let index = 1; index < ego.length; index += 1) metres += Math.hypot(ego[index][1] - ego[index - 1][1], ego[index][2] - ego[index - 1][2]);
  return metres;
}

function lensText({ model, windshield, shutter, resolution, frames }) {
  const rolling = SHUTTERS[shutter] ?? `rolling shutter, ${shutter.replace('ROLLING_', '').replaceAll('_', ' ').toLowerCase()}`;
  return `${resolution.join(' × ')}, ${model}${windshield ? ', windshield' : ''}, ${rolling}, ${frames} frames`;
}

function draw() {
  const { scene } = state;
  if (!scene) { $('panel-facts').replaceChildren(); return; }
  const classes = new Map();
  for (const track of scene.tracks) classes.set(track.class, (classes.get(track.class) ?? 0) + 1);
  const moving = scene.tracks.filter(({ dynamic }) => dynamic).length;
  const lanes = scene.map ? `${scene.map.length} lines` : 'none in this scene: the view from above has no lanes';
  const notes = element('ul', 'notes');
  for (const note of scene.notes) notes.append(element('li', '', note));
  const parts = [
    section('Scene', table([
      ['file', scene.file ?? '–'],
      ['sequence', scene.sequence_id],
      ['begins', new Date(Math.floor(scene.start_us / 1000)).toISOString().replace('T', ' ').slice(0, 23)],
      ['lasts', clockText(scene.end_us - scene.start_us)],
      ['path', `${pathLength(scene.ego).toFixed(0)} m`],
      ['map', lanes],
      ['frames', scene.frame_timestamps_us.length ? `${scene.frame_timestamps_us.length} of the first camera` : 'no camera times: frame steps are 100 ms'],
      ['renderer', `${scene.renderer.name} (${scene.renderer.place})`],
    ])),
    section('Cameras', table(scene.cameras.map((camera) => [cameraText(camera.name), lensText(camera)]))),
    section('Tracks', table([
      ['all', `${scene.tracks.length}, ${moving} moving`],
      ...[...classes].sort((a, b) => b[1] - a[1]).map(([name, count]) => [classText(name), String(count)]),
    ])),
  ];
  if (scene.notes.length) parts.splice(1, 0, section('Notes', notes));
  $('panel-facts').replaceChildren(...parts);
}

const { state } = store;

function choose(name) {
  for (const other of ['tracks', 'facts']) {
    const on = other === name;
    $(`tab-${other}`).setAttribute('aria-selected', String(on));
    $(`tab-${other}`).tabIndex = on ? 0 : -1;
    $(`panel-${other}`).hidden = !on;
  }
}

export function startFacts() {
  store.on(['scene'], draw);
  store.on(['selected'], ({ selected }) => { if (selected) choose('tracks'); });
  for (const name of ['tracks', 'facts']) {
    $(`tab-${name}`).addEventListener('click', () => choose(name));
    $(`tab-${name}`).addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
      const other = name === 'tracks' ? 'facts' : 'tracks';
      choose(other);
      $(`tab-${other}`).focus();
    });
  }
}
