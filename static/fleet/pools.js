// Pools as rows of tiles: one an instance, its state in colour and word; details and draining behind each.

import { call, post } from '../call.js';
import { $, element } from '../dom.js';
import { confirm } from './confirm.js';
import { clock, figure, short } from './format.js';
import { keyed, say } from './keyed.js';
import { linkTo } from './link.js';
import { store } from './store.js';
import { ago, toast } from './summary.js';

const { state } = store;
const GPUS_EVERY_MS = 5000;
let shown = null;

function makePool() {
  const part = element('section', 'pool');
  const header = element('header');
  header.append(element('h3'), element('small'));
  const trouble = element('p', 'trouble');
  part.append(header, trouble, element('ul', 'tiles'));
  return part;
}

function updatePool(part, pool) {
  const [header, trouble, tiles] = part.children;
  const mine = [...state.instances.values()].filter(({ pool: name }) => name === pool.name).sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  say(header.firstChild, pool.name);
  const limits = pool.max > 0 ? `, ${pool.warm} kept warm, at most ${pool.max}` : '';
  say(header.lastChild, `${pool.role}s, ${pool.backend}${limits}`);
  trouble.hidden = !pool.trouble;
  say(trouble, pool.trouble ? `The last start failed: ${pool.trouble}` : '');
  const starting = Array.from({ length: pool.starting }, (_, index) => ({ id: `starting-${index}`, starting: true }));
  keyed(tiles, [...mine, ...starting], ({ id }) => id, makeTile, updateTile);
}

function makeTile(one) {
  const item = element('li');
  if (one.starting) {
    item.append(element('div', 'tile starting', 'starting'));
    return item;
  }
  const tile = element('button', 'tile');
  tile.type = 'button';
  tile.append(element('b'), element('span', 'state'), element('small'), element('small'));
  tile.addEventListener('click', () => openInstance(one.id));
  item.append(tile);
  return item;
}

function doing(one) {
  if (one.session_id) {
    const what = one.role === 'trainer' ? 'trains' : `env ${one.env_index}`;
    return `${short(one.session_id)}, ${what}`;
  }
  if (one.state === 'idle') return one.gpus.length > 0 ? one.gpus.map((gpu) => `GPU ${gpu.index}`).join(', ') : 'ready';
  return one.pulse ? `heard ${ago(one.pulse.at_ms)} ago` : 'not heard yet';
}

function updateTile(item, one) {
  if (one.starting) return;
  const tile = item.firstChild;
  const [name, word, small, fence] = tile.children;
  tile.dataset.state = one.state;
  tile.dataset.mine = String(one.session_id !== null && one.session_id === state.selected);
  say(name, one.name);
  say(word, one.state);
  say(small, doing(one));
  say(fence, `fence ${one.fence}`);
}

function facts(one) {
  const pairs = [
    ['state', one.state], ['id', one.id], ['role', one.role], ['pool', one.pool], ['node', one.node || '–'], ['version', one.version || '–'], ['fence', one.fence],
    ['session', one.session_id ?? 'none'], ['seen since', clock(one.registered_ms)],
  ];
  if (one.session_id) pairs.push(['environment', one.env_index]);
  if (one.drain_until_ms) pairs.push(['drains until', clock(one.drain_until_ms)]);
  if (one.memory_mb) pairs.push(['memory', `${one.memory_mb} MiB`]);
  for (const gpu of one.gpus) pairs.push([`GPU ${gpu.index}`, `${gpu.name} ${gpu.uuid}${gpu.memory_total_mb ? `, ${gpu.memory_used_mb} of ${gpu.memory_total_mb} MiB, ${Math.round(gpu.utilization * 100)} %` : ''}`]);
  if (one.gpus.length === 0) pairs.push(['GPUs', 'none']);
  if (one.pulse) pairs.push(['heartbeat', `${ago(one.pulse.at_ms)} ago`], ['speed', `${figure(one.pulse.fps)} steps/s`], ['processor', `${Math.round(one.pulse.cpu_utilization * 100)} %`]);
  if (one.zmq_endpoint) pairs.push(['reset/step', one.zmq_endpoint]);
  const labels = Object.entries(one.labels).map(([key, value]) => `${key}=${value}`).join(', ');
  pairs.push(['labels', labels || 'none']);
  return pairs;
}

function drawInstance() {
  const dialog = $('instance-dialog');
  const one = shown && state.instances.get(shown);
  if (!dialog.open || !one) return;
  keyed(dialog.querySelector('dl'), facts(one).flatMap(([name, value]) => [[`${name} is`, 'dt', name], [name, 'dd', value]]), ([key]) => key,
    ([, tag]) => element(tag), (part, [, , text]) => say(part, String(text)));
  say(dialog.querySelector('h2'), one.name);
  say(dialog.querySelector('.drain'), one.drain_until_ms ? 'Take sessions again' : 'Drain');
}

function openInstance(id) {
  shown = id;
  const dialog = $('instance-dialog');
  const title = element('h2');
  title.id = 'instance-title';
  const drainIt = element('button', 'drain');
  drainIt.type = 'button';
  drainIt.addEventListener('click', () => drainOne(state.instances.get(id)));
  const go = element('a', '', 'Its session');
  const holder = state.instances.get(id)?.session_id;
  go.hidden = !holder;
  if (holder) go.href = linkTo(holder);
  go.addEventListener('click', () => dialog.close());
  const close = element('button', '', 'Close');
  close.type = 'button';
  close.addEventListener('click', () => dialog.close());
  const row = element('div', 'actions');
  row.append(close, drainIt, go);
  dialog.replaceChildren(title, element('dl'), row);
  dialog.showModal();
  drawInstance();
  close.focus();
}

async function drainOne(one) {
  try {
    if (one.drain_until_ms) await post('v1/pools/undrain', { instance_id: one.id });
    else await post('v1/pools/drain', { instance_id: one.id });
    toast(one.drain_until_ms ? `${one.name} takes sessions again` : `${one.name} takes no new session`);
  } catch (error) {
    toast(error.message);
  }
}

async function drainAll() {
  const draining = state.told && !state.fleet.healthy;
  try {
    if (draining) {
      await post('v1/pools/undrain');
      toast('The fleet takes sessions again');
      return;
    }
    const answer = await confirm('Drain the whole fleet?', 'No new sessions are taken. Those that run may stay until the deadline; training and hybrid ones are saved.', 'Drain', { label: 'Deadline in seconds', value: 300 });
    if (answer === null) return;
    const { sessions } = await post('v1/pools/drain', { deadline_s: answer });
    toast(sessions.length > 0 ? `Draining: ${sessions.length} sessions are left` : 'Drained: nothing runs');
  } catch (error) {
    toast(error.message);
  }
}

function draw() {
  const pools = [...state.pools.values()].sort((a, b) => a.role.localeCompare(b.role) || a.name.localeCompare(b.name));
  const known = new Set(pools.map(({ name }) => name));
  for (const one of state.instances.values()) {
    if (!known.has(one.pool)) pools.push({ name: one.pool, role: one.role, backend: 'attached', warm: 0, max: 0, starting: 0, trouble: '' });
    known.add(one.pool);
  }
  keyed($('pools'), pools, ({ name }) => name, makePool, updatePool);
  const empty = state.told && pools.length === 0;
  $('pools-empty').hidden = !empty;
  say($('pools-empty'), empty ? 'No pool. Name some in the configuration ([[pool]]), or attach instances: neuro simulate --orchestrator http://HOST:50051' : '');
  say($('drain').querySelector('span'), state.told && !state.fleet.healthy ? 'Undrain' : 'Drain');
  drawInstance();
}

async function lookAtGpus() {
  if (document.hidden || state.connection !== 'open') return;
  try {
    store.set({ gpus: await call('v1/gpus') });
  } catch {
    // The line stays as it was; the status says when the server is away.
  }
}

export function startPools() {
  store.on(['told', 'pools', 'instances', 'selected', 'fleet', 'now'], draw);
  $('drain').addEventListener('click', drainAll);
  store.on(['connection'], lookAtGpus);
  setInterval(() => { if (state.gpus?.gpus.length) lookAtGpus(); }, GPUS_EVERY_MS);
}
