// How the bird's-eye view is painted. Everything is given in metres unless it says pixels.

import { classColour, colours } from './classes.js';
import { idText } from './format.js';

const LANES = {
  road_edge: { colour: 'edge', width: 1.8 },
  solid: { colour: 'edge', width: 1.1 },
  broken: { colour: 'edge', width: 1.1, dash: [3, 4.5] },
  other: { colour: 'line', width: 1 },
};

/** The map as one path a kind, made once a scene. */
export function lanePaths(map) {
  const paths = {};
  for (const { kind, points } of map ?? []) {
    const path = (paths[LANES[kind] ? kind : 'other'] ??= new Path2D());
    points.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
  }
  return paths;
}

export function paintGrid(context, viewport) {
  const { view } = viewport;
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((metres) => metres * view.scale >= 36) ?? 2000;
  const reach = Math.hypot(view.width, view.height) / 2 / view.scale;
  context.lineWidth = 1 / view.scale;
  context.strokeStyle = colours().line;
  context.globalAlpha = 0.7;
  context.beginPath();
  for (let x = Math.ceil((view.x - reach) / step) * step; x <= view.x + reach; x += step) { context.moveTo(x, view.y - reach); context.lineTo(x, view.y + reach); }
  for (let y = Math.ceil((view.y - reach) / step) * step; y <= view.y + reach; y += step) { context.moveTo(view.x - reach, y); context.lineTo(view.x + reach, y); }
  context.stroke();
  context.globalAlpha = 1;
}

export function paintLanes(context, paths, scale) {
  for (const [kind, path] of Object.entries(paths)) {
    const { colour, width, dash } = LANES[kind];
    context.strokeStyle = colours()[colour];
    context.lineWidth = width / scale;
    context.setLineDash(dash ?? []);
    context.stroke(path);
  }
  context.setLineDash([]);
}

/** A path of `[us, x, y, ...]`: what lies behind `us` strong, what is to come faint. */
export function paintPath(context, path, us, at, colour, scale) {
  const run = (points, alpha, width) => {
    if (points.length < 2) return;
    context.globalAlpha = alpha;
    context.lineWidth = width / scale;
    context.beginPath();
    points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  };
  context.strokeStyle = colour;
  context.lineJoin = 'round';
  const here = at ? [[at.position[0], at.position[1]]] : [];
  run([...path.filter(([t]) => t <= us).map(([, x, y]) => [x, y]), ...here], 0.95, 2.4);
  context.setLineDash([6 / scale, 4 / scale]);
  run([...here, ...path.filter(([t]) => t > us).map(([, x, y]) => [x, y])], 0.6, 1.6);
  context.setLineDash([]);
  context.globalAlpha = 1;
}

/** A box from above with a tick at its front. */
export function paintBox(context, box, colour, scale, { chosen = false, solid = false, faint = false } = {}) {
  const [length, width] = box.dimensions_m;
  context.save();
  context.translate(box.position[0], box.position[1]);
  context.rotate(box.yaw);
  if (box.centroid_m) context.translate(box.centroid_m[0], box.centroid_m[1]);
  context.beginPath();
  context.rect(-length / 2, -width / 2, length, width);
  context.fillStyle = colour;
  context.globalAlpha = solid ? 0.95 : faint ? 0.06 : chosen ? 0.6 : 0.28;
  context.fill();
  context.globalAlpha = faint ? 0.6 : 1;
  context.strokeStyle = chosen ? colours().ink : colour;
  context.lineWidth = (chosen ? 2.2 : 1.3) / scale;
  context.stroke();
  context.beginPath();
  context.strokeStyle = solid ? colours().card : context.strokeStyle;
  const nose = Math.min(length * 0.28, 1.4);
  context.moveTo(length / 2 - nose, -width / 2);
  context.lineTo(length / 2, 0);
  context.lineTo(length / 2 - nose, width / 2);
  context.stroke();
  context.restore();
  context.globalAlpha = 1;
}

/** Ids beside the boxes, in pixels; the chosen one always, the others where they do not collide. */
export function paintLabels(context, viewport, tracks, selected) {
  const taken = [];
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  const ordered = [...tracks].sort((a, b) => Number(b.id === selected) - Number(a.id === selected));
  for (const track of ordered) {
    const chosen = track.id === selected;
    if (!chosen && viewport.view.scale < 2.2) continue;
    const [x, y] = viewport.toScreen(track.position[0], track.position[1]);
    if (x < -40 || y < -20 || x > viewport.view.width + 40 || y > viewport.view.height + 20) continue;
    const text = idText(track.id);
    const width = context.measureText(text).width;
    const left = x + Math.max(6, (track.dimensions_m[1] / 2) * viewport.view.scale) + 3;
    const box = [left - 2, y - 7, left + width + 2, y + 7];
    if (!chosen && taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
    taken.push(box);
    context.lineWidth = 3;
    context.strokeStyle = colours().card;
    context.strokeText(text, left, y);
    context.fillStyle = chosen ? colours().ink : classColour(track.class);
    context.fillText(text, left, y);
  }
}

/** A scale bar at the lower left, and an arrow that points where the plane's y axis does. */
export function paintLegend(context, viewport) {
  const { view } = viewport;
  const metres = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].findLast((length) => length * view.scale <= 110) ?? 0.5;
  const [x, y, width] = [14, view.height - 16, metres * view.scale];
  context.fillStyle = colours().card;
  context.globalAlpha = 0.85;
  context.fillRect(x - 6, y - 19, width + 12, 25);
  context.globalAlpha = 1;
  context.strokeStyle = colours().soft;
  context.fillStyle = colours().soft;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x, y - 4); context.lineTo(x, y); context.lineTo(x + width, y); context.lineTo(x + width, y - 4);
  context.stroke();
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'alphabetic';
  context.fillText(metres < 1000 ? `${metres} m` : `${metres / 1000} km`, x + 4, y - 5);
  const [cx, cy] = [view.width - 22, view.height - 24];
  context.save();
  context.translate(cx, cy);
  context.rotate(-view.turn);
  context.beginPath();
  context.moveTo(0, 9); context.lineTo(0, -9); context.moveTo(-4, -4); context.lineTo(0, -9.5); context.lineTo(4, -4);
  context.stroke();
  context.restore();
  context.fillText('y', cx + 6, cy + 14);
}
