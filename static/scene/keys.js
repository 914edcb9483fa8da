// Every key, once: what it does and what the help says of it.

import { $, element } from '../dom.js';
import { fit } from './bev.js';
import { cameraKey, camerasKey, copyFrame, copyLink, selectNext } from './commands.js';
import * as clock from './clock.js';
import { openExport } from './export.js';
import { store } from './store.js';

const { state } = store;
const flip = (key) => () => store.set({ [key]: !state[key] });

export function nextRuler() {
  const rulers = ['elapsed', 'absolute', 'frame'];
  store.set({ ruler: rulers[(rulers.indexOf(state.ruler) + 1) % rulers.length] });
}

/** `[keys, shown as, what it does, act]`; keys are `KeyboardEvent.key`, with `Shift+` where it matters. */
const KEYS = [
  ['Playback', [
    [[' '], 'Space', 'play or pause', clock.toggle],
    [[','], ',', 'one frame back', () => clock.stepFrame(-1)],
    [['.'], '.', 'one frame on', () => clock.stepFrame(1)],
    [['ArrowLeft'], '←', '100 ms back', () => clock.stepBy(-100_000)],
    [['ArrowRight'], '→', '100 ms on', () => clock.stepBy(100_000)],
    [['Shift+ArrowLeft'], 'Shift ←', '1 s back', () => clock.stepBy(-1_000_000)],
    [['Shift+ArrowRight'], 'Shift →', '1 s on', () => clock.stepBy(1_000_000)],
    [['Home'], 'Home', 'to the start', clock.home],
    [['End'], 'End', 'to the end', clock.end],
    [['+', '='], '+', 'faster', () => clock.fasterBy(1)],
    [['-'], '-', 'slower', () => clock.fasterBy(-1)],
    [['l', 'L'], 'L', 'loop on or off', clock.toggleLoop],
    [['['], '[', 'loop begins here', () => clock.loopEnd('start_us')],
    [[']'], ']', 'loop ends here', () => clock.loopEnd('end_us')],
    [['t', 'T'], 'T', 'elapsed, absolute or frame', nextRuler],
  ]],
  ['View', [
    [['1', '2', '3', '4', '5', '6', '7', '8', '9'], '1 … 9', 'one camera large', (key) => cameraKey(Number(key))],
    [['0'], '0', 'all cameras alike', camerasKey],
    [['o', 'O'], 'O', 'cuboids over the pictures', flip('overlay')],
    [['b', 'B'], 'B', 'moving objects in the pictures', flip('objects')],
    [['f', 'F'], 'F', 'follow the vehicle or the track', flip('follow')],
    [['h', 'H'], 'H', 'heading up', flip('heading')],
    [['g', 'G'], 'G', 'the whole path on the map', fit],
    [['n'], 'N', 'select the next track', () => selectNext(1)],
    [['Shift+N', 'Shift+n'], 'Shift N', 'select the one before', () => selectNext(-1)],
    [['Escape'], 'Esc', 'deselect', () => store.set({ selected: null, focus: state.selected ? state.focus : null })],
  ]],
  ['Take along', [
    [['c', 'C'], 'C', 'copy a link to this moment', copyLink],
    [['p', 'P'], 'P', 'copy the pictures', copyFrame],
    [['e', 'E'], 'E', 'export', openExport],
    [['?', 'Shift+?'], '?', 'this list', () => openHelp()],
  ]],
];

const BY_MOUSE = [
  ['drag the timeline', 'scrub'],
  ['Shift and drag', 'loop region'],
  ['click a picture', 'large or back'],
  ['double click', 'full screen'],
  ['wheel on the map', 'zoom'],
  ['Alt and arrows on a camera', 'move or resize it'],
];

const acts = new Map(KEYS.flatMap(([, rows]) => rows.flatMap(([keys, , , act]) => keys.map((key) => [key, act]))));

export function openHelp() {
  const dialog = $('help-dialog');
  if (dialog.open) { dialog.close(); return; }
  const title = element('h2', '', 'Keys');
  title.id = 'help-title';
  const columns = element('div', 'help');
  const table = (name, rows, tag) => {
    const part = element('section');
    const list = element('dl');
    for (const [shown, does] of rows) {
      const term = element('dt');
      term.append(element(tag, '', shown));
      list.append(term, element('dd', '', does));
    }
    part.append(element('h3', '', name), list);
    return part;
  };
  columns.append(...KEYS.map(([name, rows]) => table(name, rows.map(([, shown, does]) => [shown, does]), 'kbd')), table('Pointer', BY_MOUSE, 'span'));
  const close = element('button', '', 'Close');
  close.type = 'button';
  close.addEventListener('click', () => dialog.close());
  dialog.replaceChildren(title, columns, close);
  dialog.showModal();
  close.focus();
}

/** What was pressed with the pointer gives the keys back, so that Space plays after a click on a button. */
function letGo() {
  const bars = '.bar, .transport, .bev-tools, .chips, .tracks';
  addEventListener('click', ({ detail, target }) => {
    const button = target.closest?.('button');
    if (detail > 0 && button?.closest(bars)) button.blur();
  });
  let byPointer = false;
  addEventListener('pointerdown', () => { byPointer = true; }, true);
  addEventListener('keydown', () => { byPointer = false; }, true);
  addEventListener('change', ({ target }) => { if (byPointer && target.matches('select') && target.closest(bars)) target.blur(); });
}

export function startKeys() {
  letGo();
  addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector('dialog:modal')) {
      if (event.key === '?' && $('help-dialog').open) $('help-dialog').close();
      return;
    }
    const { target } = event;
    if (target.matches('input, select, textarea')) return;
    // A focused button keeps Space, Enter; tabs and the divider keep their arrows.
    if (event.key === ' ' && target.closest('button, a, [role=tab]')) return;
    if (event.key.startsWith('Arrow') && target.closest('[role=tab], [role=separator], [role=tabpanel]')) return;
    const act = acts.get(event.shiftKey ? `Shift+${event.key}` : event.key) ?? acts.get(event.key);
    if (!act) return;
    event.preventDefault();
    act(event.key);
  });
  $('help').addEventListener('click', openHelp);
}
