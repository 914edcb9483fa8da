// The session's clock is the server's; this is the page's hand on it.

import { newestSeq, show } from './live.js';
import { lastAt } from './format.js';
import { server } from './server.js';
import { SPEEDS, store } from './store.js';

const SHOW_TIMEOUT_MS = 700;

let asked = null;      // { us, timer }: the `show` under way
let resumes = false;   // whether play goes on after the drag
let stale = 0;         // number of the last frame set from before play began
let ran = false;
let line = Promise.resolve();   // commands go out one after the other: the last one given is the last one done
let waiting = 0;       // commands given and not answered
let starting = 0;      // plays under way

const { state } = store;

/** The instant the page stands at. */
export function now() {
  if (state.wanted !== null) return state.wanted;
  if (state.playback?.is_playing && state.frame?.is_playing && state.frame.seq > stale) return state.frame.timestamp_us;
  return state.playback?.current_time_us ?? state.scene?.start_us ?? 0;
}

const clamped = (us) => Math.min(Math.max(Math.round(us), state.scene.start_us), state.scene.end_us);

function command(name, body) {
  if (!state.scene) return Promise.resolve();
  waiting += 1;
  line = line.then(() => send(name, body));
  return line;
}

async function send(name, body) {
  let heard;
  try {
    const { new_track_ids: _new, removed_track_ids: _removed, ...playback } = await server.playback(name, body);
    heard = { playback: { ...state.playback, ...playback } };
  } catch (error) {
    heard = { complaint: error.message };
  }
  waiting -= 1;
  store.set(heard);
}

async function begin() {
  if (!state.scene || !state.playback) return;
  const { loop } = state.playback;
  const here = now();
  const over = here >= (loop ?? state.scene).end_us;
  if (over || state.wanted !== null) await command('seek', { timestamp_us: over ? (loop ?? state.scene).start_us : here });
  store.set({ wanted: null });
  await command('play', { speed: state.speed });
}

export async function play() {
  starting += 1;
  try {
    await begin();
  } finally {
    starting -= 1;
  }
}

export const stop = () => command('stop');
export const toggle = () => (state.playback?.is_playing ? stop() : play());

/** Moves to an instant: through the websocket when paused, so that a drag costs one message a picture. */
export function seek(us) {
  if (!state.scene) return;
  const target = clamped(us);
  if (state.playback?.is_playing) {
    command('seek', { timestamp_us: target });
    return;
  }
  store.set({ wanted: target });
  pump();
}

function pump() {
  if (asked || state.wanted === null) return;
  const us = state.wanted;
  if (!show(us)) {
    command('seek', { timestamp_us: us }).then(() => { if (state.wanted === us) store.set({ wanted: null }); });
    return;
  }
  asked = { us, timer: setTimeout(settle, SHOW_TIMEOUT_MS) };
}

function settle() {
  if (!asked) return;
  const { us, timer } = asked;
  clearTimeout(timer);
  asked = null;
  if (state.wanted === us) store.set({ wanted: null, playback: { ...state.playback, current_time_us: us } });
  else pump();
}

/** To be called for every frame set on the screen: the next instant of a drag is asked for now. */
export function shown(timestamp_us) {
  if (asked && timestamp_us === asked.us) settle();
}

export const stepBy = (deltaUs) => seek(now() + deltaUs);

export async function stepFrame(direction) {
  if (!state.scene) return;
  if (state.playback?.is_playing) await stop();
  const frames = state.scene.frame_timestamps_us;
  const at = now();
  const here = lastAt(frames, at);
  const index = direction > 0 ? here + 1 : here - (frames[here] === at ? 1 : 0);
  if (frames.length === 0) seek(at + direction * 100_000);
  else if (index < 0) seek(state.scene.start_us);
  else seek(frames[Math.min(index, frames.length - 1)]);
}

export const home = () => seek(state.playback?.loop?.start_us ?? state.scene?.start_us ?? 0);
export const end = () => seek(state.playback?.loop?.end_us ?? state.scene?.end_us ?? 0);

export async function dragStarts() {
  resumes = Boolean(state.playback?.is_playing);
  if (resumes) {
    store.set({ playback: { ...state.playback, is_playing: false } });
    await stop();
  }
}

export function dragEnds() {
  if (!resumes) return;
  resumes = false;
  const us = state.wanted;
  store.set({ wanted: null });
  (us === null ? Promise.resolve() : command('seek', { timestamp_us: us })).then(play);
}

export function setSpeed(speed) {
  store.set({ speed });
  if (state.playback?.is_playing || starting > 0) command('play', { speed });
}

export function fasterBy(steps) {
  const here = SPEEDS.findLastIndex((speed) => speed <= state.speed + 1e-9);
  setSpeed(SPEEDS[Math.min(Math.max(here + steps, 0), SPEEDS.length - 1)]);
}

/** Turns the loop on or off; without a region it is the whole scene. */
export const toggleLoop = () => (state.playback?.loop ? command('loop', { enabled: false }) : loopOver(state.region));

export function loopOver(region) {
  if (region && region.end_us - region.start_us < 1000) return command('loop', { enabled: false });
  store.set({ region });
  return command('loop', { enabled: true, ...region });
}

/** Sets one end of the loop region to this instant. */
export function loopEnd(which) {
  if (!state.scene) return;
  const region = { start_us: state.scene.start_us, end_us: state.scene.end_us, ...state.region };
  region[which] = now();
  if (region.end_us <= region.start_us) {
    if (which === 'start_us') region.end_us = state.scene.end_us;
    else region.start_us = state.scene.start_us;
  }
  loopOver(region);
}

store.on(['connection'], () => { stale = 0; });

// Another viewer of the session may have changed speed or loop.
store.on(['playback'], ({ playback }) => {
  if (playback?.is_playing && !ran) stale = newestSeq();
  ran = Boolean(playback?.is_playing);
  if (!playback) return;
  const patch = {};
  // An answer that a later command of this page has overtaken says nothing about what is wanted.
  if (waiting === 0 && playback.is_playing && playback.speed && playback.speed !== state.speed) patch.speed = playback.speed;
  if (playback.loop && (playback.loop.start_us !== state.region?.start_us || playback.loop.end_us !== state.region?.end_us)) patch.region = playback.loop;
  store.set(patch);
});
