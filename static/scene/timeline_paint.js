// How the timeline is painted: ruler, how many tracks are alive by class, the selected one's life, what was received, the loop.

import { classColour, colours } from './classes.js';
import { instantText } from './format.js';
import { seen } from './received.js';

export const RULER_PX = 18;
const FOOT_PX = 7;

/** How many tracks of each class are alive over time, in `bins` steps; made once a scene and width. */
export function census(scene, bins) {
  const length = Math.max(1, scene.end_us - scene.start_us);
  const counts = new Map();
  for (const track of scene.tracks) {
    const row = counts.get(track.class) ?? counts.set(track.class, new Uint16Array(bins)).get(track.class);
    const bin = (us) => Math.min(Math.max(Math.floor(((us - scene.start_us) / length) * bins), 0), bins - 1);
    for (let index = bin(track.start_us); index <= bin(track.end_us); index += 1) row[index] += 1;
  }
  const rows = [...counts].sort((a, b) => b[1].reduce((x, y) => x + y, 0) - a[1].reduce((x, y) => x + y, 0));
  let most = 1;
  for (let index = 0; index < bins; index += 1) most = Math.max(most, rows.reduce((sum, [, row]) => sum + row[index], 0));
  return { rows, most, bins };
}

function paintCensus(context, { rows, most, bins }, classes, box) {
  const base = new Float32Array(bins);
  for (const [name, row] of rows) {
    const shown = !classes || classes.has(name);
    context.fillStyle = classColour(name);
    context.globalAlpha = shown ? 0.5 : 0.08;
    context.beginPath();
    const y = (count) => box.bottom - (count / most) * (box.bottom - box.top);
    context.moveTo(box.x(0), y(base[0]));
    for (let index = 0; index < bins; index += 1) { context.lineTo(box.x(index / bins), y(base[index] + row[index])); context.lineTo(box.x((index + 1) / bins), y(base[index] + row[index])); }
    for (let index = bins - 1; index >= 0; index -= 1) { context.lineTo(box.x((index + 1) / bins), y(base[index])); context.lineTo(box.x(index / bins), y(base[index])); }
    context.fill();
    for (let index = 0; index < bins; index += 1) base[index] += row[index];
  }
  context.globalAlpha = 1;
}

function paintRuler(context, scene, ruler, x, width) {
  const length = scene.end_us - scene.start_us;
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].map((seconds) => seconds * 1e6);
  const step = steps.find((us) => (us / length) * width >= 70) ?? length;
  const minor = step / 5;
  // Absolute marks stand at round times of day, the others at round times since the start.
  const from = ruler === 'absolute' ? Math.ceil(scene.start_us / minor) * minor : scene.start_us;
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.strokeStyle = colours().edge;
  context.lineWidth = 1;
  context.fillStyle = colours().soft;
  const digits = step < 1e5 ? 2 : step < 1e6 ? 1 : 0;
  const zero = ruler === 'absolute' ? 0 : scene.start_us;
  for (let us = from; us <= scene.end_us; us += minor) {
    const major = Math.round((us - zero) / minor) % 5 === 0;
    const at = Math.round(x(us)) + 0.5;
    context.globalAlpha = major ? 1 : 0.5;
    context.beginPath();
    context.moveTo(at, RULER_PX);
    context.lineTo(at, RULER_PX - (major ? 6 : 3));
    context.stroke();
    context.globalAlpha = 1;
    if (!major) continue;
    const text = instantText(us, scene, ruler, digits);
    const wide = context.measureText(text).width;
    context.fillText(text, Math.min(Math.max(at - wide / 2, 3), width - wide - 3), 6);
  }
}

/** Where tracks appear (a tick upwards) and leave (downwards): those of the selected one's class, or of the classes listed. */
function paintLives(context, scene, state, x, box) {
  const chosen = scene.tracks.find(({ id }) => id === state.selected);
  const listed = chosen ? [chosen] : state.classes ? scene.tracks.filter((track) => state.classes.has(track.class)) : [];
  for (const track of listed) {
    const colour = classColour(track.class);
    context.fillStyle = colour;
    if (track === chosen) {
      context.fillRect(x(track.start_us), box.top, Math.max(2, x(Math.min(track.end_us, scene.end_us)) - x(track.start_us)), 4);
      context.fillRect(x(track.start_us), box.top - 3, 2, 10);
      context.fillRect(x(track.end_us) - 1, box.top - 3, 2, 10);
    } else {
      if (track.start_us > scene.start_us) context.fillRect(x(track.start_us), box.top, 1.5, 6);
      if (track.end_us < scene.end_us) context.fillRect(x(track.end_us), box.bottom - 6, 1.5, 6);
    }
  }
}

export function paintTimeline(context, size, state, marks) {
  const { scene } = state;
  const { width, height } = size;
  const length = Math.max(1, scene.end_us - scene.start_us);
  const x = (us) => ((us - scene.start_us) / length) * width;
  const box = { top: RULER_PX + 3, bottom: height - FOOT_PX - 2, x: (share) => share * width };
  context.fillStyle = colours().raised;
  context.fillRect(0, RULER_PX, width, height - RULER_PX);
  paintRuler(context, scene, state.ruler, x, width);
  paintCensus(context, marks.census, state.classes, box);
  paintLives(context, scene, state, x, box);
  context.fillStyle = colours().line;
  context.fillRect(0, height - FOOT_PX, width, FOOT_PX);
  context.fillStyle = colours().good;
  for (const [from, to] of seen()) context.fillRect(x(from), height - FOOT_PX + 2, Math.max(2, x(to) - x(from)), FOOT_PX - 4);
  const region = marks.drag ?? state.region;
  if (region) {
    const on = Boolean(state.playback?.loop) || marks.drag;
    const [left, right] = [x(region.start_us), x(region.end_us)];
    context.fillStyle = colours().warn;
    context.globalAlpha = on ? 0.16 : 0.07;
    context.fillRect(left, RULER_PX, right - left, height - RULER_PX);
    context.globalAlpha = on ? 1 : 0.5;
    context.fillRect(left, RULER_PX, right - left, 2);
    context.fillRect(left - 1, RULER_PX, 2, height - RULER_PX);
    context.fillRect(right - 1, RULER_PX, 2, height - RULER_PX);
    context.globalAlpha = 1;
  }
  if (marks.hover !== null) {
    context.fillStyle = colours().soft;
    context.globalAlpha = 0.6;
    context.fillRect(x(marks.hover), RULER_PX, 1, height - RULER_PX);
    context.globalAlpha = 1;
  }
  const head = Math.min(Math.max(x(marks.now), 1), width - 1);
  context.fillStyle = colours().accent;
  context.fillRect(head - 1, RULER_PX - 6, 2, height - RULER_PX + 6);
  context.beginPath();
  context.moveTo(head - 6, RULER_PX - 8); context.lineTo(head + 6, RULER_PX - 8); context.lineTo(head + 6, RULER_PX - 3);
  context.lineTo(head, RULER_PX + 3); context.lineTo(head - 6, RULER_PX - 3);
  context.fill();
}
