// The playback page: which parts there are, and how a scene and its frames reach them.

import { $, wait } from '../dom.js';
import { startBev } from './bev.js';
import { arrange, drawCameras, startCameras } from './cameras.js';
import * as clock from './clock.js';
import { toast } from './commands.js';
import { startDetails } from './details.js';
import { startDivider } from './divider.js';
import { startFacts } from './facts.js';
import { baseName } from './format.js';
import { startKeys } from './keys.js';
import { habits, readLink, restore, startLink } from './link.js';
import { reconnect, sendView, start as startLive } from './live.js';
import { forgetMeters, measured, startMeters } from './meters.js';
import { startNotices } from './notices.js';
import { closePicker, loadNamed, openPicker, startPicker } from './picker.js';
import { forget, keep } from './received.js';
import { server } from './server.js';
import { startSessions } from './sessions.js';
import { store } from './store.js';
import { redrawTimeline, startTimeline } from './timeline.js';
import { startTracks } from './tracks.js';
import { startTransport } from './transport.js';

const { state } = store;
let link = readLink();
let opening = null;
let tried = false;

/** Fetches the scene of the session and shows it as the link asks, or plainly. */
async function openScene(asked) {
  const scene = await server.scene();
  closePicker();
  document.title = `${baseName(scene.file ?? scene.sequence_id)} · neuro`;
  $('scene-name').firstChild.textContent = baseName(scene.file ?? scene.sequence_id);
  const { us, loop } = restore(asked, scene);
  arrange();
  sendView();
  if (loop) await clock.loopOver(loop);
  // A session that plays is watched as it is; the clock belongs to all its viewers.
  if (us !== null && !state.playback?.is_playing) clock.seek(us);
}

function opened(asked) {
  opening ??= openScene(asked)
    .catch((error) => { if (error.status === 400) nothing(); else store.set({ complaint: error.message }); })
    .finally(() => { opening = null; });
  return opening;
}

function nothing() {
  store.set({ scene: null, frame: null, selected: null });
  document.title = 'neuro: playback';
  $('scene-name').firstChild.textContent = 'no scene';
  openPicker();
}

/** The server told what the session plays: follow it, also when another viewer loaded it. */
async function follow({ playback }) {
  const told = playback?.sequence_id;
  if (told === undefined || opening) return;
  const asked = link;
  if (told === null) {
    if (state.scene) { nothing(); return; }
    const name = asked?.get('f');
    openPicker();
    if (!name || tried) return;
    tried = true;
    if (!await loadNamed(name)) toast(`The server has no scene called ${name}`);
    return;
  }
  if (told === state.scene?.sequence_id) return;
  link = null;
  await opened(asked ?? habits());
  const name = asked?.get('f');
  if (name && state.scene && baseName(state.scene.file ?? '') !== name) {
    toast(`The link is to ${name}; this session plays ${baseName(state.scene.file ?? '')}`);
  }
}

function drawFrame(set, bitmaps) {
  const { header } = set;
  if (!state.scene) return;
  drawCameras(header, bitmaps);
  keep(set);
  measured(set);
  store.set({ frame: header });
  clock.shown(header.timestamp_us);
}

async function changeSession(name) {
  link = new URLSearchParams();
  store.set({ session: name, scene: null, frame: null, playback: null, selected: null, region: null });
  forget();
  reconnect();
  await wait(0);
}

store.on(['cameras', 'quality', 'objects', 'overlay'], () => { forget(); forgetMeters(); redrawTimeline(); sendView(); });
store.on(['scene'], () => { forget(); forgetMeters(); });
store.on(['playback'], follow);

store.set({ session: link.get('s') ?? 'default' });
startDivider();
startCameras();
startBev();
startTimeline();
startTracks();
startDetails();
startFacts();
startMeters();
startTransport();
startNotices();
startKeys();
startLink();
startSessions(changeSession);
startPicker((file) => {
  if (state.scene?.file === file) { closePicker(); return null; }
  const asked = link;
  link = null;
  return opened(asked ?? habits());
});
startLive({ frame: drawFrame, opened: () => {} });
addEventListener('neuro-theme', arrange);
