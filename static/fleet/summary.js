// The fleet at a glance, and what is wrong with it.

import { $, element } from '../dom.js';
import { duration } from './format.js';
import { keyed, say } from './keyed.js';
import { store } from './store.js';

const { state } = store;

function figures() {
  const sessions = [...state.sessions.values()].filter((session) => !session.ended);
  const waiting = sessions.filter(({ phase }) => phase === 'queued').length;
  const running = sessions.filter(({ phase }) => phase === 'running').length;
  const driven = sessions.filter(({ controller }) => controller === 'human').length;
  const instances = [...state.instances.values()];
  const lost = instances.filter((one) => one.state === 'lost' || one.state === 'away').length;
  const of = (role) => {
    const all = instances.filter((one) => one.role === role && one.state !== 'lost');
    return [all.filter((one) => one.session_id !== null).length, all.length];
  };
  const list = [
    ['running', running, sessions.length > running ? ` of ${sessions.length}` : '', ''],
    ['queued', waiting, '', ''],
    ['driven by people', driven, '', ''],
    ...['simulator', 'trainer'].map((role) => {
      const [busy, all] = of(role);
      return [`${role}s busy`, busy, ` of ${all}`, ''];
    }),
  ];
  if (lost > 0) list.push(['away or lost', lost, '', 'alarm']);
  return list;
}

function draw() {
  keyed($('figures'), figures(), ([name]) => name, () => {
    const pair = element('div');
    const value = element('dd');
    value.append('', element('small'));
    pair.append(element('dt'), value);
    return pair;
  }, (pair, [name, value, more, kind]) => {
    pair.className = kind;
    say(pair.firstChild, name);
    const [number, rest] = pair.lastChild.childNodes;
    if (number.data !== String(value)) number.data = String(value);
    say(rest, more);
  });
}

function headline() {
  if (state.connection === 'lost') return ['gone', 'connection lost, trying again'];
  if (!state.told) return ['loading', 'connecting'];
  if (!state.fleet.healthy) return ['failed', state.fleet.reason || 'takes no sessions'];
  return ['ready', `orchestrator ${state.fleet.version}`];
}

function notices() {
  const [kind, text] = headline();
  const status = $('status');
  status.dataset.state = kind;
  say(status, text);
  const band = $('banner');
  let said = null;
  if (state.connection === 'lost') {
    said = ['Connection lost', 'The orchestrator does not answer. Sessions and instances go on without it; this page picks up where it was when it is back.'];
  } else if (state.told && !state.fleet.healthy) {
    said = ['No new sessions', state.fleet.reason];
  }
  band.hidden = !said;
  const key = said?.join('|') ?? '';
  if (band.dataset.said === key) return;
  band.dataset.said = key;
  band.replaceChildren(...(said ? [element('b', '', said[0]), element('span', '', said[1])] : []));
}

function gpus() {
  const told = state.gpus;
  if (!told) return;
  const cards = told.gpus.map((gpu) => `GPU ${gpu.index} ${gpu.name}: ${Math.round(gpu.utilization * 100)} %, ${(gpu.memory_used_mb / 1024).toFixed(1)} of ${(gpu.memory_total_mb / 1024).toFixed(0)} GiB, ${gpu.temperature_c} °C, ${Math.round(gpu.power_watts)} W`);
  say($('gpus'), cards.length > 0 ? cards.join(' · ') : `No GPU on the orchestrator’s side: ${told.reason}.`);
}

let toasts = 0;

/** Says briefly what was done. */
export function toast(text) {
  const line = $('toast');
  line.textContent = text;
  line.classList.add('shown');
  clearTimeout(toasts);
  toasts = setTimeout(() => line.classList.remove('shown'), 6000);
}

/** How long ago, with the page's own second. */
export const ago = (ms) => duration(state.now - ms);

export function startSummary() {
  store.on(['sessions', 'instances'], draw);
  store.on(['connection', 'told', 'fleet'], notices);
  store.on(['gpus'], gpus);
  setInterval(() => store.set({ now: Date.now() }), 1000);
  notices();
}
