// The tracks alive: a list by distance, with those that just appeared or left marked.

import { $, element } from '../dom.js';
import { classColour } from './classes.js';
import { classText, idText, metres } from './format.js';
import { store } from './store.js';

const REFRESH_MS = 250;
const MARK_MS = 1600;
const { state } = store;
const list = $('tracks');
const rows = new Map();     // id -> row on the page
let known = new Map();
let before = new Map();     // id -> { us, position } of the frame before
let speeds = new Map();
let drawnMs = 0;
let later = 0;

function measure(frame) {
  const now = new Map();
  for (const { id, position } of frame.tracks) {
    const last = before.get(id);
    const seconds = last ? (frame.timestamp_us - last.us) / 1e6 : 0;
    if (seconds === 0 && last) { now.set(id, last); continue; }
    if (Math.abs(seconds) > 1) speeds.delete(id);
    else if (last) {
      const fresh = Math.hypot(position[0] - last.position[0], position[1] - last.position[1]) / Math.abs(seconds);
      speeds.set(id, speeds.has(id) ? speeds.get(id) * 0.6 + fresh * 0.4 : fresh);
    }
    now.set(id, { us: frame.timestamp_us, position });
  }
  before = now;
}

export const speedOf = (id) => speeds.get(id);

export function distanceTo(position) {
  const ego = state.frame?.ego?.position;
  return ego ? Math.hypot(position[0] - ego[0], position[1] - ego[1]) : null;
}

function createRow(track) {
  const item = element('li');
  item.dataset.track = track.id;
  const button = element('button', 'track');
  button.type = 'button';
  const swatch = element('i', 'swatch');
  const cells = ['kind', 'id', 'speed', 'far'].map((name) => element('span', name));
  cells[0].textContent = classText(track.class);
  cells[1].textContent = idText(track.id);
  cells[1].title = track.id;
  button.append(swatch, ...cells);
  button.addEventListener('click', () => store.set({ selected: state.selected === track.id ? null : track.id }));
  item.append(button);
  return { item, button, swatch, speed: cells[2], far: cells[3], fresh: performance.now(), gone: 0 };
}

function draw() {
  drawnMs = performance.now();
  const { frame, classes } = state;
  const alive = (frame?.tracks ?? []).filter(({ id }) => known.has(id));
  $('alive').textContent = String(alive.length);
  const first = rows.size === 0;
  const listed = alive.filter(({ id }) => !classes || classes.has(known.get(id).class))
    .map((track) => ({ ...track, far: distanceTo(track.position) ?? 0 }))
    .sort((a, b) => a.far - b.far);
  const present = new Set(listed.map(({ id }) => id));
  for (const { id, far } of listed) {
    let row = rows.get(id);
    if (!row) { row = createRow(known.get(id)); if (first) row.fresh = 0; rows.set(id, row); }
    row.gone = 0;
    row.far.textContent = `${metres(far)} m`;
    row.speed.textContent = speeds.has(id) ? `${(speeds.get(id) * 3.6).toFixed(0)} km/h` : '';
  }
  for (const [id, row] of rows) {
    if (present.has(id)) continue;
    const filtered = classes && known.has(id) && !classes.has(known.get(id).class);
    row.gone ||= drawnMs;
    if (filtered || !known.has(id) || drawnMs - row.gone > MARK_MS) { row.item.remove(); rows.delete(id); }
  }
  const order = [...listed.map(({ id }) => id), ...[...rows.keys()].filter((id) => !present.has(id))];
  order.forEach((id, index) => {
    const { item, button, swatch, fresh, gone } = rows.get(id);
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    swatch.style.background = classColour(known.get(id).class);
    item.dataset.mark = gone ? 'left' : fresh && drawnMs - fresh < MARK_MS ? 'new' : '';
    button.setAttribute('aria-pressed', String(id === state.selected));
  });
  // Marks run out without a new frame, too.
  clearTimeout(later);
  if ([...rows.values()].some(({ gone, fresh }) => gone || drawnMs - fresh < MARK_MS)) later = setTimeout(draw, MARK_MS / 4);
}

function refresh() {
  const dueMs = drawnMs + REFRESH_MS - performance.now();
  clearTimeout(later);
  if (dueMs <= 0) draw();
  else later = setTimeout(draw, dueMs);
}

function drawClasses() {
  const { scene, classes } = state;
  const counts = new Map();
  for (const track of scene?.tracks ?? []) counts.set(track.class, (counts.get(track.class) ?? 0) + 1);
  const names = [...counts].sort((a, b) => b[1] - a[1]);
  $('classes').replaceChildren(...names.map(([name, count]) => {
    const chip = element('button', 'chip');
    chip.type = 'button';
    chip.setAttribute('aria-pressed', String(!classes || classes.has(name)));
    const swatch = element('i', 'swatch');
    swatch.style.background = classColour(name);
    chip.append(swatch, `${classText(name)} `, element('small', '', String(count)));
    chip.title = 'Click: only this class';
    chip.addEventListener('click', () => {
      const alone = classes?.size === 1 && classes.has(name);
      store.set({ classes: alone ? null : new Set([name]) });
      [...$('classes').children][names.findIndex(([other]) => other === name)]?.focus();
    });
    return chip;
  }));
}

export function startTracks() {
  store.on(['scene'], ({ scene }) => {
    known = new Map(scene?.tracks.map((track) => [track.id, track]));
    before = new Map();
    speeds = new Map();
    rows.clear();
    list.replaceChildren();
    drawClasses();
    draw();
  });
  store.on(['classes'], () => { drawClasses(); draw(); });
  store.on(['frame'], ({ frame }) => { if (frame) measure(frame); refresh(); });
  store.on(['selected'], () => {
    draw();
    rows.get(state.selected)?.item.scrollIntoView({ block: 'nearest' });
  });
  addEventListener('neuro-theme', () => { drawClasses(); draw(); });
}
