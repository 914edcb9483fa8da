// The grid of cameras: which are shown, in which order and size, and which one is large.

import { $, element } from '../dom.js';
import { createCell } from './cell.js';
import { cameraText } from './format.js';
import { spotlight, tile } from './layout.js';
import { store } from './store.js';

const GAP_PX = 4;
const DOUBLE_CLICK_MS = 230;
const { state } = store;
const grid = $('grid');
const cells = new Map();
let classes = new Map();

const aspect = () => {
  const camera = state.scene?.cameras.find(({ name }) => name === state.cameras[0]);
  return camera ? camera.resolution[0] / camera.resolution[1] : 16 / 9;
};

const narrow = matchMedia('(max-width: 60rem)');

export function arrange() {
  if (state.cameras.length === 0) return;
  const focus = state.cameras.includes(state.focus) ? state.focus : null;
  const box = { width: grid.clientWidth, height: narrow.matches ? 0 : grid.clientHeight };
  const spanOf = (name) => (focus ? 1 : state.spans[name] ?? 1);
  if (focus) {
    const { columns, strip } = spotlight(state.cameras.length, box, aspect(), GAP_PX);
    const alone = state.cameras.length === 1;
    const rest = Math.ceil((state.cameras.length - 1) / columns);
    const large = narrow.matches ? `${Math.round(box.width / aspect())}px` : 'minmax(0, 1fr)';
    grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    grid.style.gridTemplateRows = alone ? large : `${large} repeat(${rest}, ${strip}px)`;
    grid.style.gridAutoRows = '';
  } else {
    const { columns, width } = tile(state.cameras.map(spanOf), box, aspect(), GAP_PX);
    grid.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
    grid.style.gridTemplateRows = '';
    grid.style.gridAutoRows = `${Math.floor(width / aspect())}px`;
  }
  grid.classList.toggle('spotlight', Boolean(focus));
  for (const [name, cell] of cells) {
    const span = spanOf(name);
    cell.root.style.gridColumn = name === focus ? '1 / -1' : `span ${span}`;
    cell.root.style.gridRow = name === focus ? '1' : `span ${span}`;
    cell.root.style.order = name === focus ? -1 : state.cameras.indexOf(name);
    cell.root.classList.toggle('focused', name === focus);
    cell.setNumber(state.cameras.indexOf(name));
    cell.drawLines(null, state.selected);
  }
}

export const focusOn = (name) => store.set({ focus: state.focus === name ? null : name });

export function move(name, before) {
  const order = state.order.filter((other) => other !== name);
  order.splice(before === null ? order.length : order.indexOf(before), 0, name);
  store.set({ order, cameras: order.filter((other) => state.cameras.includes(other)) });
}

function resize(name, span) {
  store.set({ spans: { ...state.spans, [name]: Math.min(Math.max(span, 1), 4) } });
}

function fullScreen(cell) {
  if (document.fullscreenElement) document.exitFullscreen();
  else cell.root.requestFullscreen?.().catch(() => {});
}

function watchGrip(cell, name) {
  cell.grip.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    event.stopPropagation();
    cell.grip.setPointerCapture(event.pointerId);
    const unit = cell.root.clientWidth / (state.spans[name] ?? 1);
    const left = cell.root.getBoundingClientRect().left;
    const follow = ({ clientX }) => resize(name, Math.round((clientX - left) / unit));
    cell.grip.addEventListener('pointermove', follow);
    cell.grip.addEventListener('lostpointercapture', () => cell.grip.removeEventListener('pointermove', follow), { once: true });
  });
}

function watchOrder(cell, name) {
  cell.label.addEventListener('dragstart', (event) => {
    event.dataTransfer.setData('text/x-camera', name);
    event.dataTransfer.effectAllowed = 'move';
  });
  cell.root.addEventListener('dragover', (event) => { if (event.dataTransfer.types.includes('text/x-camera')) event.preventDefault(); });
  cell.root.addEventListener('drop', (event) => {
    const moved = event.dataTransfer.getData('text/x-camera');
    if (!moved || moved === name) return;
    event.preventDefault();
    const later = state.order.indexOf(moved) < state.order.indexOf(name);
    move(moved, later ? state.order[state.order.indexOf(name) + 1] ?? null : name);
  });
  cell.root.addEventListener('keydown', (event) => {
    if (event.target !== cell.root) return;
    const index = state.cameras.indexOf(name);
    if (event.key === 'Enter') focusOn(name);
    else if (!event.altKey) return;
    else if (event.key === 'ArrowLeft' && index > 0) move(name, state.cameras[index - 1]);
    else if (event.key === 'ArrowRight') move(name, state.cameras[index + 2] ?? null);
    else if (event.key === 'ArrowUp') resize(name, (state.spans[name] ?? 1) + 1);
    else if (event.key === 'ArrowDown') resize(name, (state.spans[name] ?? 1) - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
    cell.root.focus();
  });
}

function build(camera) {
  const cell = createCell(camera, (id) => classes.get(id));
  let click = 0;
  cell.root.addEventListener('click', (event) => {
    if (event.target.closest('button, .grip')) return;
    const track = state.overlay ? cell.trackAt(event.clientX, event.clientY) : null;
    if (track) { store.set({ selected: state.selected === track ? null : track }); return; }
    clearTimeout(click);
    if (event.detail < 2) click = setTimeout(() => focusOn(camera.name), DOUBLE_CLICK_MS);
  });
  cell.root.addEventListener('dblclick', (event) => { clearTimeout(click); if (!event.target.closest('button')) fullScreen(cell); });
  cell.full.addEventListener('click', () => fullScreen(cell));
  watchGrip(cell, camera.name);
  watchOrder(cell, camera.name);
  return cell;
}

function drawChips() {
  $('camera-chips').replaceChildren(...state.order.map((name) => {
    const chip = element('button', 'chip');
    chip.type = 'button';
    const place = state.cameras.indexOf(name);
    chip.setAttribute('aria-pressed', String(place >= 0));
    chip.append(element('b', '', place >= 0 && place < 9 ? `${place + 1}` : '·'), cameraText(name));
    chip.addEventListener('click', () => {
      const shown = new Set(state.cameras);
      if (!shown.delete(name)) shown.add(name);
      store.set({ cameras: state.order.filter((other) => shown.has(other)), focus: state.focus === name ? null : state.focus });
      [...$('camera-chips').children][state.order.indexOf(name)]?.focus();
    });
    return chip;
  }));
}

function sync() {
  if (!state.scene) { $('camera-chips').replaceChildren(); return; }
  for (const [name, cell] of cells) {
    if (state.cameras.includes(name)) continue;
    cell.root.remove();
    cells.delete(name);
  }
  for (const name of state.cameras) {
    if (cells.has(name)) continue;
    const cell = build(state.scene.cameras.find((camera) => camera.name === name));
    cells.set(name, cell);
  }
  for (const name of state.cameras) grid.append(cells.get(name).root);
  grid.classList.toggle('empty-grid', state.cameras.length === 0);
  drawChips();
  arrange();
}

/** Draws the pictures of one frame set. */
export function drawCameras(header, bitmaps) {
  for (const image of header.images) {
    const cell = cells.get(image.camera);
    if (!cell) continue;
    const bitmap = bitmaps.get(image.camera);
    if (bitmap) cell.drawPicture(bitmap);
    else cell.fail(image.error);
    cell.drawLines(header.overlay?.[image.camera] ?? [], state.selected);
    cell.setCuboidCount();
  }
}

/** The pictures on show side by side, or the large one alone, as a canvas. */
export function composite() {
  const names = state.cameras.includes(state.focus) ? [state.focus] : state.cameras;
  const shown = names.map((name) => cells.get(name));
  if (shown.length === 0) return null;
  const columns = Math.ceil(Math.sqrt(shown.length));
  const width = Math.max(...shown.map(({ picture }) => picture.width));
  const height = Math.max(...shown.map(({ picture }) => picture.height));
  const canvas = document.createElement('canvas');
  canvas.width = columns * width;
  canvas.height = Math.ceil(shown.length / columns) * height;
  const context = canvas.getContext('2d');
  shown.forEach((cell, index) => {
    context.save();
    context.translate((index % columns) * width, Math.floor(index / columns) * height);
    context.drawImage(cell.picture, 0, 0);
    if (state.overlay) cell.paintLines(context, cell.picture.width, cell.picture.height, 1, state.selected);
    context.restore();
  });
  return canvas;
}

export function startCameras() {
  store.on(['scene'], ({ scene }) => {
    classes = new Map(scene?.tracks.map((track) => [track.id, track.class]));
    for (const cell of cells.values()) cell.root.remove();
    cells.clear();
  });
  store.on(['scene', 'cameras', 'order'], sync);
  store.on(['focus', 'spans'], arrange);
  store.on(['selected'], () => { for (const cell of cells.values()) cell.drawLines(null, state.selected); });
  store.on(['overlay'], () => { if (!state.overlay) for (const cell of cells.values()) { cell.forgetCuboids(); cell.drawLines([], null); } });
  new ResizeObserver(arrange).observe(grid);
}
