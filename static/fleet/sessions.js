// The list of sessions with its filters, and the queue.

import { $, element } from '../dom.js';
import { figure, short, tone } from './format.js';
import { keyed, say } from './keyed.js';
import { linkTo } from './link.js';
import { store } from './store.js';
import { ago } from './summary.js';

const { state } = store;

function wanted(session) {
  if (state.phase === 'active' ? session.ended : state.phase === 'ended' ? !session.ended : false) return false;
  if (state.mode && session.mode !== state.mode) return false;
  const text = state.text.trim().toLowerCase();
  return !text || [session.id, session.owner, session.environment, session.phase].some((part) => part.toLowerCase().includes(text));
}

function makeRow(session) {
  const row = element('tr');
  const name = element('td');
  name.append(element('a'));
  const phase = element('td');
  phase.append(element('span', 'badge'));
  const mode = element('td');
  mode.append('', element('small'));
  row.append(name, phase, mode, element('td', 'owner'), element('td', 'number'), element('td', 'number'));
  row.addEventListener('click', ({ target }) => { if (!target.closest('a')) location.hash = linkTo(session.id).slice(1); });
  return row;
}

function updateRow(row, session) {
  const [name, phase, mode, owner, reward, age] = row.children;
  const link = name.firstChild;
  say(link, short(session.id));
  link.title = session.id;
  link.setAttribute('href', linkTo(session.id));
  row.setAttribute('aria-current', String(session.id === state.selected));
  phase.firstChild.dataset.tone = tone(session.phase);
  say(phase.firstChild, session.phase === 'queued' ? `queued, #${session.queue_position}` : session.phase);
  phase.title = session.reason;
  const [what, scene] = mode.childNodes;
  const driver = session.controller === 'human' ? ', driven' : '';
  if (what.data !== `${session.mode} `) what.data = `${session.mode} `;
  say(scene, `${session.environment}${driver}`);
  say(owner, session.owner);
  say(reward, session.training_end ? figure(session.training_end.final_reward) : session.progress ? figure(session.progress.average_reward) : '');
  say(age, ago(session.created_ms));
}

function emptySentence(all) {
  if (!state.told) return '';
  if (all === 0) return 'No session yet. Make one with New session: a manual one gives you a simulator to drive, a training one a trainer and its simulators.';
  return state.phase === 'active' ? 'No active session matches. Ended ones are kept for a week: choose “ended” or “all” above.' : 'No session matches these filters.';
}

function draw() {
  const all = [...state.sessions.values()];
  const shown = all.filter(wanted).sort((a, b) => b.created_ms - a.created_ms || (a.id < b.id ? -1 : 1));
  const table = $('sessions');
  keyed(table.tBodies[0], shown, (session) => session.id, makeRow, updateRow);
  table.hidden = shown.length === 0;
  table.parentElement.hidden = shown.length === 0;
  say($('sessions-count'), shown.length === all.length ? String(all.length) : `${shown.length} of ${all.length}`);
  const sentence = shown.length === 0 ? emptySentence(all.length) : '';
  $('sessions-empty').hidden = !sentence;
  say($('sessions-empty'), sentence);
  drawQueue(all);
}

function drawQueue(all) {
  const waiting = all.filter(({ phase }) => phase === 'queued').sort((a, b) => a.queue_position - b.queue_position);
  $('queue-panel').hidden = waiting.length === 0;
  say($('queue-count'), String(waiting.length));
  keyed($('queue'), waiting, (session) => session.id, () => {
    const item = element('li');
    const what = element('span');
    what.append(element('a'), element('span'));
    item.append(element('span', 'place'), what, element('span', 'since'), element('small'));
    return item;
  }, (item, session) => {
    const [place, what, since, why] = item.children;
    say(place, `${session.queue_position}.`);
    say(what.firstChild, short(session.id));
    what.firstChild.setAttribute('href', linkTo(session.id));
    const gang = `${session.gang.trainers ? '1 trainer + ' : ''}${session.gang.simulators} simulator${session.gang.simulators === 1 ? '' : 's'}`;
    say(what.lastChild, ` ${session.mode} of ${session.owner}, ${session.priority}, ${gang}`);
    say(since, ago(session.queued_ms || session.created_ms));
    say(why, session.waiting_for ? `waits for ${session.waiting_for}` : session.reason);
  });
}

export function startSessions() {
  const fields = { 'filter-phase': 'phase', 'filter-mode': 'mode', 'filter-text': 'text' };
  for (const [id, key] of Object.entries(fields)) {
    const field = $(id);
    field.addEventListener('input', () => store.set({ [key]: field.value }));
    store.on([key], () => { if (field.value !== state[key]) field.value = state[key]; });
    field.value = state[key];
  }
  store.on(['told', 'sessions', 'selected', 'phase', 'mode', 'text', 'now'], draw);
  draw();
}
