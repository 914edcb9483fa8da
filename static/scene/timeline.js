// The timeline: drag to scrub, shift and drag for a loop, hover for a picture.

import { $ } from '../dom.js';
import * as clock from './clock.js';
import { cameraText, instantText } from './format.js';
import { nearest } from './received.js';
import { store } from './store.js';
import { census, paintTimeline } from './timeline_paint.js';

const LEAST_LOOP_PX = 4;
const { state } = store;
const canvas = $('timeline');
const preview = $('preview');
const marks = { census: null, hover: null, drag: null, now: 0 };
let queued = false;
let previewed = null;

const instantAt = (px) => {
  const { start_us, end_us } = state.scene;
  return start_us + Math.min(Math.max(px / canvas.clientWidth, 0), 1) * (end_us - start_us);
};

function paint() {
  queued = false;
  const ratio = devicePixelRatio || 1;
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!state.scene) return;
  const bins = Math.min(600, Math.max(60, Math.floor(canvas.clientWidth / 2)));
  if (marks.census?.bins !== bins) marks.census = census(state.scene, bins);
  marks.now = clock.now();
  paintTimeline(context, { width: canvas.clientWidth, height: canvas.clientHeight }, state, marks);
}

export function redrawTimeline() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(paint);
}

async function drawPreview(us, px) {
  const set = nearest(us, 200_000);
  preview.hidden = false;
  const half = Math.min(90, canvas.clientWidth / 2);
  preview.style.left = `${Math.min(Math.max(px, half), canvas.clientWidth - half)}px`;
  preview.querySelector('span').textContent = instantText(us, state.scene, state.ruler);
  const small = preview.querySelector('canvas');
  const name = state.focus ?? state.cameras[0];
  const image = set?.images.find(({ camera }) => camera === name);
  small.hidden = !image;
  if (!image || previewed === image) return;
  previewed = image;
  try {
    const bitmap = await createImageBitmap(set.picture(image), { resizeWidth: 176, resizeQuality: 'low' });
    if (previewed === image) {
      small.width = bitmap.width;
      small.height = bitmap.height;
      small.getContext('2d').drawImage(bitmap, 0, 0);
      small.title = cameraText(name);
    }
    bitmap.close();
  } catch { /* a picture that does not decode has no preview */ }
}

function hideHover() {
  marks.hover = null;
  preview.hidden = true;
  redrawTimeline();
}

function watchPointer() {
  let drag = null; // 'time', or where a loop begins, in microseconds
  canvas.addEventListener('pointerdown', (event) => {
    if (!state.scene || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    if (event.shiftKey) { drag = { from: instantAt(event.offsetX), px: event.offsetX }; return; }
    drag = 'time';
    clock.dragStarts();
    clock.seek(instantAt(event.offsetX));
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!state.scene) return;
    const us = instantAt(event.offsetX);
    marks.hover = us;
    drawPreview(us, event.offsetX);
    if (drag === 'time') clock.seek(us);
    else if (drag) marks.drag = { start_us: Math.min(drag.from, us), end_us: Math.max(drag.from, us) };
    redrawTimeline();
  });
  const release = (event) => {
    if (drag === 'time') clock.dragEnds();
    else if (drag && marks.drag && Math.abs(event.offsetX - drag.px) >= LEAST_LOOP_PX) {
      clock.loopOver({ start_us: Math.round(marks.drag.start_us), end_us: Math.round(marks.drag.end_us) });
    }
    drag = null;
    marks.drag = null;
    if (event.pointerType === 'touch') hideHover();
  };
  canvas.addEventListener('pointerup', release);
  canvas.addEventListener('pointercancel', release);
  canvas.addEventListener('pointerleave', hideHover);
}

function speak() {
  if (!state.scene) return;
  const { start_us, end_us } = state.scene;
  canvas.setAttribute('aria-valuemax', String(Math.round((end_us - start_us) / 1000)));
  canvas.setAttribute('aria-valuenow', String(Math.round((clock.now() - start_us) / 1000)));
  canvas.setAttribute('aria-valuetext', instantText(clock.now(), state.scene, state.ruler));
}

export function startTimeline() {
  watchPointer();
  new ResizeObserver(() => {
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    paint();
  }).observe(canvas);
  store.on(['scene'], () => { marks.census = null; hideHover(); });
  store.on(['scene', 'frame', 'playback', 'wanted', 'region', 'selected', 'classes', 'ruler'], () => { redrawTimeline(); speak(); });
  addEventListener('neuro-theme', redrawTimeline);
}
