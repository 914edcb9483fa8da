// The line between pictures and map, moved by pointer or arrows; kept for the next visit.

import { $ } from '../dom.js';

const KEY = 'neuro-scene-side';
const [LEAST, MOST] = [15, 70];

export function startDivider() {
  const divider = $('divider');
  let share = 39;
  const set = (percent) => {
    share = Math.min(Math.max(percent, LEAST), MOST);
    $('stage').style.setProperty('--side', `${share}%`);
    divider.setAttribute('aria-valuenow', String(Math.round(share)));
  };
  const keep = () => { try { localStorage.setItem(KEY, String(share)); } catch { /* private windows may refuse */ } };
  try { set(Number(localStorage.getItem(KEY)) || share); } catch { set(share); }
  divider.addEventListener('pointerdown', (event) => {
    divider.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  divider.addEventListener('pointermove', (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const { right, width } = $('stage').getBoundingClientRect();
    set(((right - event.clientX) / width) * 100);
  });
  divider.addEventListener('pointerup', keep);
  divider.addEventListener('dblclick', () => { set(39); keep(); });
  divider.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: 2, ArrowRight: -2 }[event.key];
    if (!step) return;
    event.preventDefault();
    set(share + step);
    keep();
  });
}
