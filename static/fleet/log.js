// The log of the selected session over a websocket: from its beginning, and after a broken line from the last entry on.

import { openSocket } from '../credentials.js';
import { call } from '../call.js';
import { store } from './store.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const MOST_EVENTS = 5000;
const NORMAL = 1000;

let socket = null;
let retry = 0;
let waitMs = FIRST_WAIT_MS;
let log = null;
let due = 0;

/** Tells the page at most once a frame, however fast old entries come. */
function tell() {
  due ||= requestAnimationFrame(() => { due = 0; if (log) store.set({ log: { ...log } }); });
}

function take(event) {
  if (event.seq <= log.last && event.type !== 'gap') return;
  log.last = Math.max(log.last, event.seq);
  if (event.type === 'progress') log.points.push(event);
  log.events.push(event);
  if (log.events.length > MOST_EVENTS) log.events.splice(0, log.events.length - MOST_EVENTS);
  tell();
}

function connect(id) {
  clearTimeout(retry);
  const opened = openSocket(`v1/sessions/${encodeURIComponent(id)}/events?after=${log.last}`);
  socket = opened;
  opened.addEventListener('open', () => { waitMs = FIRST_WAIT_MS; log.state = 'open'; tell(); });
  opened.addEventListener('message', ({ data }) => { if (opened === socket) take(JSON.parse(data)); });
  opened.addEventListener('close', ({ code }) => {
    if (opened !== socket) return;
    log.state = code === NORMAL ? 'ended' : 'lost';
    tell();
    if (code === NORMAL) return;
    // A session that nobody knows answers no upgrade: say so instead of asking for ever.
    if (log.last === 0) {
      call(`v1/sessions/${encodeURIComponent(id)}`).catch((error) => {
        if (opened !== socket || error.status !== 404) return;
        log.state = 'unknown';
        clearTimeout(retry);
        tell();
      });
    }
    retry = setTimeout(() => connect(id), waitMs);
    waitMs = Math.min(waitMs * 1.7, LONGEST_WAIT_MS);
  });
}

function follow(id) {
  const left = socket;
  socket = null;
  left?.close();
  clearTimeout(retry);
  waitMs = FIRST_WAIT_MS;
  log = id === null ? null : { id, events: [], points: [], last: 0, state: 'connecting' };
  store.set({ log });
  if (id !== null) connect(id);
}

export function startLog() {
  store.on(['selected'], ({ selected }) => follow(selected));
  // A session that ended and is made again goes on in the same log.
  store.on(['sessions'], ({ sessions, selected }) => {
    const session = sessions.get(selected);
    if (log?.state === 'ended' && session && session.last_seq > log.last) connect(selected);
    if (log?.state === 'unknown' && session) connect(selected);
  });
  addEventListener('neuro-token', () => { if (log) connect(log.id); });
  if (store.state.selected !== null) follow(store.state.selected);
}
