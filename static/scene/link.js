// The page's whole state in the address: a link leads to the same moment and view.

import { restoreView, viewState } from './bev.js';
import { now } from './clock.js';
import { baseName } from './format.js';
import { QUALITIES, store } from './store.js';

const WRITE_MS = 400;
const { state } = store;
let ready = false;
let timer = 0;

const seconds = (us) => String(Number(((us - state.scene.start_us) / 1e6).toFixed(6)));

function parts() {
  const { scene } = state;
  const found = [];
  const add = (key, value) => found.push(`${key}=${encodeURIComponent(value).replaceAll('%2C', ',').replaceAll('%2F', '/')}`);
  if (state.session !== 'default') add('s', state.session);
  if (!scene) return found;
  add('f', baseName(scene.file ?? ''));
  add('t', seconds(now()));
  add('cams', state.cameras.join(','));
  if (state.focus) add('focus', state.focus);
  const spans = Object.entries(state.spans).filter(([, span]) => span > 1).map(([name, span]) => `${name}:${span}`);
  if (spans.length) add('spans', spans.join(','));
  if (state.speed !== 1) add('speed', state.speed);
  if (state.region) add('loop', `${seconds(state.region.start_us)}-${seconds(state.region.end_us)}${state.playback?.loop ? '' : '-off'}`);
  if (state.selected) add('sel', state.selected);
  if (state.quality !== 'medium') add('q', state.quality);
  if (state.overlay) add('boxes', 1);
  if (!state.objects) add('objects', 0);
  if (state.ruler !== 'elapsed') add('ruler', state.ruler);
  const { x, y, scale } = viewState();
  add('view', [state.follow ? 'follow' : 'free', state.heading ? 'heading' : 'fixed', scale.toFixed(2), ...(state.follow ? [] : [x.toFixed(1), y.toFixed(1)])].join(','));
  return found;
}

function write() {
  clearTimeout(timer);
  timer = 0;
  const hash = parts().join('&');
  if (`#${hash}` !== location.hash) history.replaceState(null, '', `#${hash}`);
}

/** Brings the address up to date and returns it. */
export function linkNow() {
  if (ready) write();
  return location.href;
}

/** What an address asks for. */
export function readLink(hash = location.hash) {
  return new URLSearchParams(hash.replace(/^#/, ''));
}

/** What holds for any scene: how the viewer likes to look at it. */
export function habits() {
  const link = readLink();
  for (const key of ['s', 'f', 't', 'focus', 'loop', 'sel']) link.delete(key);
  const [follow, ...rest] = (link.get('view') ?? '').split(',');
  if (follow) link.set('view', ['follow', ...rest.slice(0, 2)].join(','));
  return link;
}

/** Puts the view a link describes on the page; `scene` is loaded. Returns the instant and the loop for the clock. */
export function restore(link, scene) {
  const names = scene.cameras.map(({ name }) => name);
  const asked = link.has('cams') ? link.get('cams').split(',').filter((name) => names.includes(name)) : names.slice(0, 6);
  const cameras = [...new Set(asked.length > 0 || link.get('cams') === '' ? asked : names.slice(0, 6))];
  const order = [...cameras, ...names.filter((name) => !cameras.includes(name))];
  const spans = Object.fromEntries((link.get('spans') ?? '').split(',').map((part) => part.split(':')).filter(([name, span]) => names.includes(name) && span > 1).map(([name, span]) => [name, Number(span)]));
  const [follow, heading, scale, x, y] = (link.get('view') ?? 'follow,fixed').split(',');
  const speed = Number(link.get('speed') ?? 1);
  const us = (text) => Math.round(scene.start_us + Number(text) * 1e6);
  const [from, to, off] = (link.get('loop') ?? '').split('-');
  const inside = (value) => Number.isFinite(value) && value >= scene.start_us && value <= scene.end_us;
  const region = to && inside(us(from)) && inside(us(to)) && us(from) < us(to) ? { start_us: us(from), end_us: us(to) } : null;
  store.set({
    scene, order, cameras, spans, region,
    frame: null, wanted: null,
    focus: cameras.includes(link.get('focus')) ? link.get('focus') : null,
    speed: speed >= 0.1 && speed <= 10 ? speed : 1,
    selected: scene.tracks.some(({ id }) => id === link.get('sel')) ? link.get('sel') : null,
    quality: Object.hasOwn(QUALITIES, link.get('q')) ? link.get('q') : 'medium',
    overlay: link.get('boxes') === '1',
    objects: link.get('objects') !== '0',
    ruler: ['elapsed', 'absolute', 'frame'].includes(link.get('ruler')) ? link.get('ruler') : 'elapsed',
    follow: follow !== 'free',
    heading: heading === 'heading',
  });
  if (link.has('view')) restoreView({ x: Number(x), y: Number(y), scale: Number(scale) });
  ready = true;
  const t = link.has('t') && inside(us(link.get('t'))) ? us(link.get('t')) : null;
  return { us: t, loop: region && off !== 'off' ? region : null };
}

export function startLink() {
  const soon = () => { if (ready && !timer) timer = setTimeout(write, WRITE_MS); };
  store.on(['session', 'scene', 'playback', 'frame', 'wanted', 'speed', 'region', 'cameras', 'spans', 'focus', 'quality', 'objects', 'overlay', 'selected', 'heading', 'follow', 'ruler'], soon);
  addEventListener('neuro-view', soon);
}
