// What keys and buttons share: copies, focus by number, the next track.

import { $, save } from '../dom.js';
import { composite, focusOn } from './cameras.js';
import { clockText } from './format.js';
import { linkNow } from './link.js';
import { now } from './clock.js';
import { store } from './store.js';
import { distanceTo } from './tracks.js';

const { state } = store;
let fades = 0;

/** A short word at the bottom of the page. */
export function toast(text) {
  const place = $('toast');
  place.textContent = text;
  place.classList.add('shown');
  clearTimeout(fades);
  fades = setTimeout(() => place.classList.remove('shown'), 2600);
}

/** Browsers offer the clipboard on https and this machine only; elsewhere the link is in the address bar. */
export async function copyLink() {
  const link = linkNow();
  try {
    await navigator.clipboard.writeText(link);
    toast('Link copied');
  } catch {
    toast('The link is in the address bar');
  }
}

export async function copyFrame() {
  const canvas = state.scene ? composite() : null;
  if (!canvas) { toast('No camera is shown'); return; }
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, 'image/png'); });
  try {
    await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
    toast('Picture copied');
  } catch {
    save(blob, `${state.scene.sequence_id}-${clockText(now() - state.scene.start_us).replace(':', '-')}.png`);
    toast('Picture saved');
  }
}

export function cameraKey(number) {
  const name = state.cameras[number - 1];
  if (name) focusOn(name);
}

export const camerasKey = () => store.set({ focus: null });

/** Selects the next track by distance. */
export function selectNext(step) {
  const near = [...(state.frame?.tracks ?? [])].sort((a, b) => distanceTo(a.position) - distanceTo(b.position));
  if (near.length === 0) return;
  const here = near.findIndex(({ id }) => id === state.selected);
  const index = here < 0 ? (step > 0 ? 0 : near.length - 1) : (here + step + near.length) % near.length;
  store.set({ selected: near[index].id });
}
