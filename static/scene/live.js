// The websocket: one binary message holds the pictures of all cameras at one instant. The newest one wins, and a message
// is acknowledged once it is on the screen, so a slow page slows the server down instead of falling behind.

import { openSocket } from '../credentials.js';
import { sessionPath } from './server.js';
import { QUALITIES, store } from './store.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

let socket = null;
let waitMs = FIRST_WAIT_MS;
let retry = 0;
let shows = 0;
let drawing = false;
let next = null;
let handlers = { frame: () => {}, opened: () => {} };

export function send(message) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(message));
  return true;
}

export const show = (timestamp_us) => { shows += 1; return send({ type: 'show', timestamp_us, seq: shows }); };

/** Asks for the cameras, size and layers now chosen. */
export function sendView() {
  const { cameras, quality, objects, overlay } = store.state;
  send({ type: 'view', cameras, ...QUALITIES[quality], objects, overlay });
}

/** Splits a message into its header and its pictures. */
export function parse(buffer) {
  const headerBytes = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headerBytes)));
  const start = 4 + headerBytes;
  const picture = ({ offset, length, media }) => new Blob([new Uint8Array(buffer, start + offset, length)], { type: media });
  return { header, picture, bytes: buffer.byteLength };
}

export async function decode(set) {
  const bitmaps = new Map();
  await Promise.all(set.header.images.map(async (image) => {
    if (image.error) return;
    try {
      bitmaps.set(image.camera, await createImageBitmap(set.picture(image)));
    } catch {
      image.error = 'the picture that came could not be decoded';
    }
  }));
  return bitmaps;
}

async function take(from, set) {
  if (drawing) {
    if (next) acknowledge(next.from, next.set);
    next = { from, set };
    return;
  }
  drawing = true;
  try {
    const bitmaps = await decode(set);
    await new Promise((resume) => { requestAnimationFrame(resume); });
    // A set of a session left meanwhile is not shown.
    if (from === socket) handlers.frame(set, bitmaps);
    for (const bitmap of bitmaps.values()) bitmap.close();
    acknowledge(from, set);
  } finally {
    drawing = false;
  }
  if (next) {
    const { from: later, set: newer } = next;
    next = null;
    take(later, newer);
  }
}

function acknowledge(from, set) {
  if (from.readyState === WebSocket.OPEN) from.send(JSON.stringify({ type: 'ack', seq: set.header.seq }));
}

function told(message) {
  if (message.type === 'state') {
    const { type, ...playback } = message;
    store.set({ playback });
  } else if (message.type === 'error') {
    store.set({ complaint: message.message });
  }
}

function connect() {
  clearTimeout(retry);
  const opened = openSocket(sessionPath('live'));
  socket = opened;
  opened.binaryType = 'arraybuffer';
  opened.addEventListener('open', () => {
    waitMs = FIRST_WAIT_MS;
    store.set({ connection: 'open' });
    sendView();
    handlers.opened();
  });
  opened.addEventListener('message', ({ data }) => {
    if (opened !== socket) return;
    if (typeof data === 'string') { told(JSON.parse(data)); return; }
    const set = parse(data);
    set.arrivedMs = performance.now();
    take(opened, set);
  });
  opened.addEventListener('close', () => {
    if (opened !== socket) return;
    store.set({ connection: 'lost' });
    retry = setTimeout(connect, waitMs);
    waitMs = Math.min(waitMs * 1.7, LONGEST_WAIT_MS);
  });
}

/** Connects, and again whenever the line breaks. */
export function start(given) {
  handlers = given;
  connect();
  addEventListener('online', reconnect);
  addEventListener('neuro-token', reconnect);
}

export function reconnect() {
  const left = socket;
  socket = null;
  left?.close();
  waitMs = FIRST_WAIT_MS;
  store.set({ connection: 'connecting' });
  connect();
}
