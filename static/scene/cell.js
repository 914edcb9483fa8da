// One camera's cell: its picture, the cuboids over it, its name, and what to check when no picture comes.

import { element, icon } from '../dom.js';
import { brightColour } from './classes.js';
import { cameraText, classText, idText } from './format.js';

const bounds = (lines) => {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [u, v] of lines.flat()) {
    box[0] = Math.min(box[0], u); box[1] = Math.min(box[1], v);
    box[2] = Math.max(box[2], u); box[3] = Math.max(box[3], v);
  }
  return box;
};

export function createCell(camera, classOf) {
  const root = element('figure', 'cell');
  root.dataset.camera = camera.name;
  root.tabIndex = 0;
  root.setAttribute('role', 'group');
  root.setAttribute('aria-label', `Camera ${cameraText(camera.name)}`);
  const picture = element('canvas', 'picture');
  picture.setAttribute('role', 'img');
  picture.setAttribute('aria-label', `Picture of ${cameraText(camera.name)}`);
  [picture.width, picture.height] = [16 * 20, Math.round((16 * 20 * camera.resolution[1]) / camera.resolution[0])];
  const lines = element('canvas', 'lines');
  lines.setAttribute('aria-hidden', 'true');
  const label = element('figcaption');
  label.draggable = true;
  label.title = 'Drag to reorder';
  const number = element('b');
  label.append(number, cameraText(camera.name));
  const full = element('button', 'tool corner');
  full.type = 'button';
  full.title = 'Full screen (double click)';
  full.setAttribute('aria-label', `${cameraText(camera.name)} full screen`);
  full.append(icon('full'));
  const grip = element('span', 'grip');
  grip.title = 'Drag to resize';
  const problem = element('p', 'problem');
  problem.hidden = true;
  problem.tabIndex = 0;
  root.append(picture, lines, problem, label, full, grip);

  let cuboids = [];
  let drawnError = '';

  function fail(sentence) {
    if (sentence === drawnError) return;
    drawnError = sentence;
    problem.textContent = sentence;
    problem.hidden = !sentence;
    root.classList.toggle('failed', Boolean(sentence));
  }

  function drawPicture(bitmap) {
    if (picture.width !== bitmap.width || picture.height !== bitmap.height) {
      picture.width = bitmap.width;
      picture.height = bitmap.height;
    }
    picture.getContext('2d').drawImage(bitmap, 0, 0);
    root.classList.add('drawn');
    fail('');
  }

  function paintLines(context, width, height, ratio, selected) {
    context.lineJoin = 'round';
    context.font = `600 ${11 * ratio}px system-ui, sans-serif`;
    for (const { id, lines: edges, box } of cuboids) {
      const chosen = id === selected;
      context.strokeStyle = brightColour(classOf(id));
      context.globalAlpha = selected && !chosen ? 0.65 : 1;
      context.lineWidth = (chosen ? 2.6 : 1.3) * ratio;
      context.beginPath();
      for (const edge of edges) edge.forEach(([u, v], index) => (index ? context.lineTo(u * width, v * height) : context.moveTo(u * width, v * height)));
      context.stroke();
      if (!chosen && (box[2] - box[0]) * width < 46 * ratio) continue;
      const text = chosen ? `${classText(classOf(id))} ${idText(id)}` : idText(id);
      const x = Math.min(Math.max(box[0] * width, 2 * ratio), width - context.measureText(text).width - 6 * ratio);
      const y = Math.max(box[1] * height - 4 * ratio, 13 * ratio);
      context.fillStyle = 'rgb(10 12 16 / .72)';
      context.fillRect(x - 3 * ratio, y - 11 * ratio, context.measureText(text).width + 6 * ratio, 14 * ratio);
      context.fillStyle = context.strokeStyle;
      context.fillText(text, x, y);
    }
    context.globalAlpha = 1;
  }

  function drawLines(overlay, selected) {
    if (overlay) cuboids = overlay.map((entry) => ({ ...entry, box: bounds(entry.lines) }));
    const ratio = devicePixelRatio || 1;
    const fit = Math.min(root.clientWidth / picture.width, root.clientHeight / picture.height) || 1;
    const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * fit * ratio)));
    if (lines.width !== width || lines.height !== height) { lines.width = width; lines.height = height; }
    const context = lines.getContext('2d');
    context.clearRect(0, 0, width, height);
    paintLines(context, width, height, ratio, selected);
  }

  /** The smallest cuboid drawn around a point of the window, or null. */
  function trackAt(x, y) {
    const frame = root.getBoundingClientRect();
    const fit = Math.min(frame.width / picture.width, frame.height / picture.height);
    const u = (x - frame.left - (frame.width - picture.width * fit) / 2) / (picture.width * fit);
    const v = (y - frame.top - (frame.height - picture.height * fit) / 2) / (picture.height * fit);
    const hits = cuboids.filter(({ box }) => u >= box[0] && u <= box[2] && v >= box[1] && v <= box[3]);
    const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
    return hits.sort((left, right) => area(left) - area(right))[0]?.id ?? null;
  }

  return {
    root, picture, label, full, grip, fail, drawPicture, drawLines, trackAt, paintLines,
    setNumber: (index) => { number.textContent = index < 9 ? `${index + 1}` : ''; },
    setCuboidCount: () => { root.dataset.cuboids = cuboids.length; },
    forgetCuboids: () => { cuboids = []; },
  };
}
