// Everything about the fleet over one websocket: all of it once, then what changes. Comes back by itself.

import { openSocket } from '../credentials.js';
import { store } from './store.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const KINDS = ['sessions', 'pools', 'instances'];

let socket = null;
let waitMs = FIRST_WAIT_MS;
let retry = 0;

function take(message) {
  const patch = { told: true };
  const whole = message.type === 'all';
  for (const kind of KINDS) {
    const news = Object.entries(message[kind] ?? {});
    if (news.length === 0 && !whole) continue;
    const things = new Map(whole ? [] : store.state[kind]);
    for (const [id, thing] of news) {
      if (thing === null) things.delete(id);
      else things.set(id, thing);
    }
    patch[kind] = things;
  }
  patch.fleet = { ...(whole ? {} : store.state.fleet), ...message.fleet };
  store.set(patch);
}

function connect() {
  clearTimeout(retry);
  const opened = openSocket('v1/events');
  socket = opened;
  opened.addEventListener('open', () => {
    waitMs = FIRST_WAIT_MS;
    store.set({ connection: 'open' });
  });
  opened.addEventListener('message', ({ data }) => { if (opened === socket) take(JSON.parse(data)); });
  opened.addEventListener('close', () => {
    if (opened !== socket) return;
    store.set({ connection: 'lost' });
    retry = setTimeout(connect, waitMs);
    waitMs = Math.min(waitMs * 1.7, LONGEST_WAIT_MS);
  });
}

export function reconnect() {
  const left = socket;
  socket = null;
  left?.close();
  waitMs = FIRST_WAIT_MS;
  connect();
}

export function startFeed() {
  connect();
  addEventListener('online', reconnect);
  addEventListener('neuro-token', reconnect);
}
