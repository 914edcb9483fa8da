// A session's live picture: the multipart stream, read here so that it carries the token and ends when it is left.

import { ask } from '../credentials.js';

const AGAIN_MS = 1500;
const text = new TextDecoder('latin1');

function find(bytes, pattern, from) {
  outer: for (let at = from; at <= bytes.length - pattern.length; at += 1) {
    for (let index = 0; index < pattern.length; index += 1) if (bytes[at + index] !== pattern[index]) continue outer;
    return at;
  }
  return -1;
}

const BLANK_LINE = [13, 10, 13, 10];
const JPEG_END = [255, 217, 13, 10];

/** Calls `take` with each part's bytes. */
async function parts(reader, take) {
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    for (;;) {
      const blank = find(held, BLANK_LINE, 0);
      if (blank < 0) break;
      const start = blank + BLANK_LINE.length;
      const length = Number(text.decode(held.subarray(0, blank)).match(/content-length:\s*(\d+)/i)?.[1]);
      let end = start + length;
      if (!Number.isFinite(length)) {
        const found = find(held, JPEG_END, start);
        end = found < 0 ? Infinity : found + 2;
      }
      if (end > held.length) break;
      take(held.slice(start, end));
      held = held.slice(end);
    }
  }
}

/** Shows a session's pictures on `canvas` until `stop()`; `told` hears `{ fps }` or `{ problem }`. */
export function showPictures(canvas, id, env, told) {
  const leave = new AbortController();
  let newest = null;
  let drawing = false;
  let times = [];

  async function draw() {
    drawing = true;
    while (newest) {
      const bytes = newest;
      newest = null;
      try {
        const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/jpeg' }));
        if (leave.signal.aborted) return;
        if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
        canvas.getContext('2d').drawImage(bitmap, 0, 0);
        bitmap.close();
        const now = performance.now();
        times = [...times.filter((time) => now - time < 2000), now];
        told({ fps: times.length > 1 ? (times.length - 1) / ((now - times[0]) / 1000) : null });
      } catch {
        // A broken picture is left out: the next one comes soon.
      }
    }
    drawing = false;
  }

  async function run() {
    while (!leave.signal.aborted) {
      try {
        const response = await ask(`v1/sessions/${encodeURIComponent(id)}/stream?env=${env}`, { signal: leave.signal });
        if (!response.ok) {
          const answer = await response.json().catch(() => null);
          told({ problem: answer?.detail ?? `no picture: ${response.status}` });
        } else {
          await parts(response.body.getReader(), (bytes) => { newest = bytes; if (!drawing) draw(); });
          told({ problem: 'the picture ended, asking again' });
        }
      } catch (error) {
        if (leave.signal.aborted) return;
        told({ problem: `no picture: ${error.message}` });
      }
      await new Promise((resume) => { setTimeout(resume, AGAIN_MS); });
    }
  }
  run();
  return () => leave.abort();
}
