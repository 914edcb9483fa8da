// The bird's-eye view: the vehicle, its path, the tracks alive and the lanes, seen from above.

import { $ } from '../dom.js';
import { lanePaths, paintBox, paintGrid, paintLabels, paintLanes, paintLegend, paintPath } from './bev_paint.js';
import { classColour, colours } from './classes.js';
import { indexOn, poseAt, yawOf } from './pose.js';
import { store } from './store.js';
import { createViewport } from './viewport.js';

const CLICK_PX = 5;
const { state } = store;
const canvas = $('bev');
const viewport = createViewport();
let paths = {};
let known = new Map();
let boxes = [];
let queued = false;

/** The track under a point of the canvas, the nearest of several; a margin makes small ones easy to hit. */
function trackAt(px, py) {
  const [x, y] = viewport.toWorld(px, py);
  const margin = 7 / viewport.view.scale;
  const hits = boxes.filter(({ position, yaw, dimensions_m }) => {
    const [dx, dy] = [x - position[0], y - position[1]];
    const along = Math.cos(yaw) * dx + Math.sin(yaw) * dy;
    const across = -Math.sin(yaw) * dx + Math.cos(yaw) * dy;
    return Math.abs(along) <= dimensions_m[0] / 2 + margin && Math.abs(across) <= dimensions_m[1] / 2 + margin;
  });
  const distance = ({ position }) => Math.hypot(position[0] - x, position[1] - y);
  return hits.sort((a, b) => distance(a) - distance(b))[0]?.id ?? null;
}

function egoPose() {
  const { scene, frame } = state;
  if (frame?.ego) return { position: frame.ego.position, yaw: yawOf(frame.ego.quaternion) };
  const us = frame?.timestamp_us ?? scene.start_us;
  return poseAt(scene.ego, us, indexOn(scene.ego, us));
}

function aim(ego) {
  const { view } = viewport;
  if (state.heading && ego) view.turn = Math.PI / 2 - ego.yaw;
  else view.turn = 0;
  if (!state.follow) return;
  const target = boxes.find(({ id }) => id === state.selected) ?? ego;
  if (!target) return;
  [view.x, view.y] = target.position;
  // With the heading up there is more to see ahead than behind.
  if (state.heading && target === ego) {
    const ahead = (view.height * 0.18) / view.scale;
    view.x += Math.cos(ego.yaw) * ahead;
    view.y += Math.sin(ego.yaw) * ahead;
  }
}

function paint() {
  queued = false;
  const ratio = devicePixelRatio || 1;
  const context = canvas.getContext('2d');
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = colours().card;
  context.fillRect(0, 0, canvas.width, canvas.height);
  const { scene, frame } = state;
  if (!scene) return;
  const us = frame?.timestamp_us ?? scene.start_us;
  const ego = egoPose();
  boxes = (frame?.tracks ?? []).flatMap((track) => {
    const fixed = known.get(track.id);
    return fixed ? [{ ...fixed, ...track, yaw: yawOf(track.quaternion) }] : [];
  });
  aim(ego);
  const { scale } = viewport.view;
  viewport.apply(context, ratio);
  paintGrid(context, viewport);
  paintLanes(context, paths, scale);
  paintPath(context, scene.ego, us, ego, colours().accent, scale);
  const chosen = known.get(state.selected);
  if (chosen && state.path) paintPath(context, state.path.path, us, boxes.find(({ id }) => id === chosen.id), classColour(chosen.class), scale);
  for (const box of boxes) {
    paintBox(context, box, classColour(box.class), scale, { chosen: box.id === state.selected, faint: !state.objects && box.dynamic });
  }
  if (ego) {
    const shape = scene.rig_box ?? { centroid_m: [1.4, 0, 0.7], dimensions_m: [4.8, 2, 1.5] };
    paintBox(context, { ...ego, ...shape }, colours().accent, scale, { solid: true });
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  paintLabels(context, viewport, boxes, state.selected);
  paintLegend(context, viewport);
}

export function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(paint);
}

function watchPointer() {
  const pointers = new Map();
  let moved = 0;
  const point = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, point(event));
    if (pointers.size === 1) moved = 0;
  });
  canvas.addEventListener('pointermove', (event) => {
    const here = point(event);
    const before = pointers.get(event.pointerId);
    if (!before) { canvas.style.cursor = trackAt(...here) ? 'pointer' : 'grab'; return; }
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const span = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      viewport.zoomAt(...other, span(here) / span(before));
    } else {
      moved += Math.hypot(here[0] - before[0], here[1] - before[1]);
      if (moved > CLICK_PX) { store.set({ follow: false }); viewport.pan(here[0] - before[0], here[1] - before[1]); }
    }
    pointers.set(event.pointerId, here);
    redraw();
  });
  canvas.addEventListener('pointerup', (event) => {
    pointers.delete(event.pointerId);
    if (moved <= CLICK_PX) {
      const id = trackAt(...point(event));
      store.set({ selected: id === state.selected ? null : id });
    }
  });
  canvas.addEventListener('pointercancel', (event) => pointers.delete(event.pointerId));
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    const factor = Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0016));
    if (state.follow) viewport.zoom(factor);
    else viewport.zoomAt(event.offsetX, event.offsetY, factor);
    redraw();
  }, { passive: false });
  canvas.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '+' || event.key === '=') viewport.zoom(1.25);
    else if (event.key === '-') viewport.zoom(0.8);
    else return;
    event.preventDefault();
    event.stopPropagation();
    redraw();
  });
}

export function fit() {
  if (!state.scene) return;
  store.set({ follow: false, heading: false });
  viewport.view.turn = 0;
  viewport.fit(state.scene.ego);
  redraw();
}

/** Where the view stands, for the link. */
export function viewState() {
  const { x, y, scale } = viewport.view;
  return { x, y, scale };
}

export function restoreView({ x, y, scale }) {
  if (scale > 0) viewport.view.scale = scale;
  if (!state.follow) { viewport.view.x = x; viewport.view.y = y; }
  redraw();
}

export function startBev() {
  watchPointer();
  new ResizeObserver(() => {
    const ratio = devicePixelRatio || 1;
    viewport.view.width = canvas.clientWidth;
    viewport.view.height = canvas.clientHeight;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    paint();
  }).observe(canvas);
  store.on(['scene'], ({ scene }) => {
    paths = lanePaths(scene?.map);
    known = new Map(scene?.tracks.map((track) => [track.id, track]));
  });
  store.on(['scene', 'frame', 'selected', 'path', 'heading', 'follow', 'objects'], redraw);
  addEventListener('neuro-theme', redraw);
  const button = (id, key) => {
    $(id).addEventListener('click', () => store.set({ [key]: !state[key] }));
    store.on([key], () => $(id).setAttribute('aria-pressed', String(state[key])));
  };
  button('bev-heading', 'heading');
  button('bev-follow', 'follow');
  $('bev-fit').addEventListener('click', fit);
}
