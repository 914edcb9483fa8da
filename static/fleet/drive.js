// Taking over: a lease from the orchestrator, its control websocket, and a velocity every 20 ms while a key is held.

import { BASE } from '../credentials.js';
import { post } from '../call.js';
import { store } from './store.js';

const EVERY_MS = 20;
const LEASE_MS = 10_000;
const RENEW_MS = 3000;
const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 4000;

/** key -> the direction it pushes: x ahead, y left, z up (m/s), yaw left (rad/s). */
export const KEYS = {
  w: { x: 1 }, arrowup: { x: 1 }, s: { x: -1 }, arrowdown: { x: -1 },
  a: { y: 1 }, arrowleft: { y: 1 }, d: { y: -1 }, arrowright: { y: -1 },
  r: { z: 1 }, f: { z: -1 }, q: { yaw: 1 }, e: { yaw: -1 },
};

const held = new Set();
let socket = null;
let lease = null;
let ticks = 0;
let renewals = 0;
let retry = 0;
let waitMs = FIRST_WAIT_MS;
let still = true;
export const motion = { speed: 0.5 };

export const pressed = () => held;

function set(patch) {
  store.set({ drive: store.state.drive ? { ...store.state.drive, ...patch } : null });
}

function velocity() {
  const sum = { x: 0, y: 0, z: 0, yaw: 0 };
  for (const key of held) for (const [axis, push] of Object.entries(KEYS[key] ?? {})) sum[axis] += push * motion.speed;
  return sum;
}

/** While keys are held, and once more when the last is let go: the robot stops at once. */
function tick() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const moving = held.size > 0;
  if (!moving && still) return;
  still = !moving;
  socket.send(JSON.stringify({ type: 'robot_control', velocity: velocity() }));
}

export function press(key) {
  if (!(key in KEYS) || !store.state.drive?.held) return false;
  held.add(key);
  tick();
  set({ keys: [...held].join(' ') });
  return true;
}

export function letGo(key) {
  if (key === undefined) held.clear();
  else if (!held.delete(key)) return;
  tick();
  set({ keys: [...held].join(' ') });
}

function address() {
  // The page's own way to the server, also where a proxy or another name leads here; the rest is the lease's.
  const told = new URL(lease.ws_url, BASE);
  const path = told.pathname.slice(told.pathname.indexOf('/control/') + 1);
  const url = new URL(path + told.search, BASE);
  url.protocol = url.protocol.replace('http', 'ws');
  if (lease.instance_id) url.searchParams.set('instance', lease.instance_id);
  return url;
}

function connect() {
  clearTimeout(retry);
  // The token travels as a subprotocol: addresses end up in logs.
  const opened = new WebSocket(address(), ['neuro.control', ...(lease.token ? [`bearer.${encodeURIComponent(lease.token)}`] : [])]);
  socket = opened;
  opened.addEventListener('open', () => { still = true; waitMs = FIRST_WAIT_MS; set({ link: 'open', problem: '' }); });
  opened.addEventListener('message', ({ data }) => {
    if (opened !== socket || typeof data !== 'string') return;
    const message = JSON.parse(data);
    if (message.type === 'robot_state') set({ robot: message });
    else if (message.type === 'sensor_data') set({ sensors: message });
    else if (message.type === 'error') set({ problem: message.message });
  });
  opened.addEventListener('close', ({ code, reason }) => {
    if (opened !== socket || !lease) return;
    set({ link: 'lost', problem: reason || `the control connection closed (${code})` });
    retry = setTimeout(connect, waitMs);
    waitMs = Math.min(waitMs * 1.7, LONGEST_WAIT_MS);
  });
}

const path = (id) => `v1/sessions/${encodeURIComponent(id)}/control`;

async function renew() {
  const mine = lease;
  if (!mine) return;
  try {
    const { expires_at_ms } = await post(path(mine.session), { mode: 'manual', fence: mine.fence, ttl_ms: LEASE_MS, instance_id: mine.instance_id });
    if (mine === lease) set({ expires_at_ms });
  } catch (error) {
    if (mine !== lease) return;
    // Somebody else drives, or the session is gone; a server that does not answer may come back within the lease.
    if (error.status > 0 && error.status < 500) drop(`You no longer drive: ${error.message}`);
    else set({ problem: error.message });
  }
}

/** Forgets the lease without a word to the server. */
function drop(problem = '') {
  clearInterval(ticks);
  clearInterval(renewals);
  clearTimeout(retry);
  held.clear();
  lease = null;
  const left = socket;
  socket = null;
  left?.close();
  store.set({ drive: problem ? { session: null, held: false, problem } : null });
}

/** Takes a session's simulator over. `force` takes it from another person too; throws what the server says. */
export async function takeOver(session, instanceId, env, user, force = false) {
  store.set({ drive: { session, env, held: false, taking: true } });
  try {
    const taken = await post(path(session), { mode: 'manual', user, ttl_ms: LEASE_MS, record: true, force, instance_id: instanceId });
    lease = { ...taken, session, instance_id: instanceId };
  } catch (error) {
    store.set({ drive: null });
    throw error;
  }
  store.set({ drive: { session, env, user, held: true, fence: lease.fence, expires_at_ms: lease.expires_at_ms, link: 'connecting', keys: '' } });
  connect();
  ticks = setInterval(tick, EVERY_MS);
  renewals = setInterval(renew, RENEW_MS);
}

/** Gives the robot back; the id of the demonstration that was recorded, or an empty string. */
export async function giveBack() {
  if (!lease) return '';
  const mine = lease;
  if (held.size > 0) { held.clear(); still = false; tick(); }
  drop();
  const { demonstration_id } = await post(path(mine.session), { mode: 'ai', fence: mine.fence, instance_id: mine.instance_id });
  return demonstration_id ?? '';
}

addEventListener('pagehide', () => { if (lease) giveBack().catch(() => {}); });
