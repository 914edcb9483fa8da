// How training goes: small plots over environment steps.

import { element } from '../dom.js';
import { figure } from './format.js';
import { say } from './keyed.js';
import { store } from './store.js';

const SPACE = 'http://www.w3.org/2000/svg';
const WIDE = 300;
const HIGH = 100;
/** Columns a line is reduced to: more than the screen has is waste. */
const COLUMNS = 240;

const PLOTS = [
  { title: 'average reward', read: (point) => point.average_reward, wide: true },
  { title: 'steps a second', read: (point) => point.steps_per_second, zero: true },
  { title: 'entropy', read: (point) => point.entropy },
  { title: 'policy loss', read: (point) => point.policy_loss },
  { title: 'value loss', read: (point) => point.value_loss },
];

const svg = (tag) => document.createElementNS(SPACE, tag);

/** At most two points a column, its lowest and its highest, so that no peak is lost. */
function reduced(values) {
  if (values.length <= COLUMNS * 2) return values;
  const kept = [];
  const each = values.length / COLUMNS;
  for (let column = 0; column < COLUMNS; column += 1) {
    const part = values.slice(Math.floor(column * each), Math.floor((column + 1) * each));
    let [low, high] = [part[0], part[0]];
    for (const point of part) {
      if (point[1] < low[1]) low = point;
      if (point[1] > high[1]) high = point;
    }
    kept.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

function makePlot({ title, read, zero, wide }) {
  const figureBox = element('figure', wide ? 'plot wide' : 'plot');
  const caption = element('figcaption', '', title);
  const value = element('b');
  caption.append(value);
  const area = element('div', 'area');
  const drawing = svg('svg');
  drawing.setAttribute('viewBox', `0 0 ${WIDE} ${HIGH}`);
  drawing.setAttribute('preserveAspectRatio', 'none');
  drawing.setAttribute('role', 'img');
  const path = svg('path');
  const cursor = svg('line');
  cursor.setAttribute('visibility', 'hidden');
  drawing.append(path, cursor);
  const top = element('span', 'top');
  const bottom = element('span', 'bottom');
  area.append(drawing, top, bottom);
  const axis = element('div', 'axis');
  axis.append(element('span'), element('span'));
  figureBox.append(caption, area, axis);
  let points = [];

  const latest = (point) => figure(read(point));

  function draw(given) {
    points = given;
    const last = points.at(-1);
    const first = points[0];
    const far = last.steps - first.steps || 1;
    const line = points.map((point) => [point.steps, read(point)]).filter(([, y]) => Number.isFinite(y));
    let low = zero ? 0 : Infinity;
    let high = -Infinity;
    for (const [, y] of line) {
      low = Math.min(low, y);
      high = Math.max(high, y);
    }
    if (!(high > low)) high = low + 1;
    const pad = (high - low) * 0.06;
    const place = ([x, y]) => `${(((x - first.steps) / far) * WIDE).toFixed(1)} ${(HIGH - ((y - low + pad) / (high - low + 2 * pad)) * HIGH).toFixed(1)}`;
    path.setAttribute('d', line.length ? `M${reduced(line).map(place).join('L')}` : '');
    say(top, figure(high));
    say(bottom, figure(low));
    say(value, latest(last));
    say(axis.firstChild, first.steps.toLocaleString('en'));
    say(axis.lastChild, `${last.steps.toLocaleString('en')} steps`);
    drawing.setAttribute('aria-label', `${title}: ${latest(last)} after ${last.steps.toLocaleString('en')} steps`);
  }

  area.addEventListener('pointermove', ({ clientX }) => {
    if (points.length < 2) return;
    const { left, width } = area.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (clientX - left) / width));
    const wanted = points[0].steps + share * (points.at(-1).steps - points[0].steps);
    const nearest = points.reduce((best, point) => (Math.abs(point.steps - wanted) < Math.abs(best.steps - wanted) ? point : best));
    for (const [name, at] of [['x1', share * WIDE], ['x2', share * WIDE], ['y1', 0], ['y2', HIGH]]) cursor.setAttribute(name, at);
    cursor.setAttribute('visibility', 'visible');
    say(value, `${latest(nearest)} at ${nearest.steps.toLocaleString('en')}`);
  });
  area.addEventListener('pointerleave', () => {
    cursor.setAttribute('visibility', 'hidden');
    if (points.length > 0) say(value, latest(points.at(-1)));
  });
  return { box: figureBox, draw };
}

export function plotsView() {
  const part = element('section');
  const head = element('header', 'head');
  const title = element('h2', '', 'Training');
  title.id = 'plots-title';
  const said = element('span', 'count');
  head.append(title, said);
  const list = element('div', 'plots');
  const plots = PLOTS.map(makePlot);
  list.append(...plots.map(({ box }) => box));
  const empty = element('p', 'empty');
  part.append(head, list, empty);
  part.setAttribute('aria-labelledby', 'plots-title');
  let drawn = null;

  function draw(session) {
    part.hidden = session.mode === 'manual';
    const points = store.state.log?.points ?? [];
    list.hidden = points.length === 0;
    empty.hidden = points.length > 0;
    say(empty, session.ended ? 'It ended before the first update.' : 'No progress yet: the first point comes with the trainer’s first update.');
    const key = `${session.id} ${points.length}`;
    if (points.length === 0 || key === drawn) return;
    drawn = key;
    const last = points.at(-1);
    const config = session.training;
    const extra = Object.entries(last.metrics).filter(([, number]) => Number.isFinite(number)).slice(0, 4).map(([name, number]) => `${name.replaceAll('_', ' ')} ${figure(number)}`);
    say(said, [`${config?.algorithm ?? ''} over ${config?.parallel_envs ?? session.gang.simulators} environments`, `episode ${last.episode.toLocaleString('en')}${last.total_episodes ? ` of ${last.total_episodes.toLocaleString('en')}` : ''}`, ...extra].join(' · '));
    for (const plot of plots) plot.draw(points);
  }
  return { part, draw };
}
