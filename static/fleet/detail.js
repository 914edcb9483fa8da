// One session: what it is, what can be done with it, its picture, its training, its instances, its log.

import { post } from '../call.js';
import { $, element, icon } from '../dom.js';
import { confirm } from './confirm.js';
import { demonstrationsView, membersView } from './members.js';
import { duration, figure, short, tone } from './format.js';
import { historyView } from './history.js';
import { keyed, say } from './keyed.js';
import { logView } from './logview.js';
import { plotsView } from './plots.js';
import { stageView } from './stage.js';
import { chosen, store } from './store.js';
import { ago, toast } from './summary.js';

const { state } = store;
const path = (session, what) => `v1/sessions/${encodeURIComponent(session.id)}/${what}`;

function button(text, symbol, act, kind = '') {
  const made = element('button', kind);
  made.type = 'button';
  made.append(icon(symbol), element('span', '', text));
  made.addEventListener('click', async () => {
    made.dataset.busy = 'true';
    made.disabled = true;
    try {
      const said = await act(chosen());
      if (said) toast(said);
    } catch (error) {
      toast(error.message);
    }
    delete made.dataset.busy;
    draw();
  });
  return made;
}

async function stopSession(session) {
  const members = session.members?.length ?? 0;
  const gives = members > 0 ? `Its ${members === 1 ? 'instance goes' : `${members} instances go`} back to the pools.` : 'It leaves the queue.';
  if (!await confirm(`Stop ${short(session.id)}?`, `${gives} A stopped session does not come back; take a snapshot first to go on from.`, 'Stop')) return '';
  const { released_instances: released } = await post(path(session, 'stop'), { cleanup: true });
  return `Stopped: ${released.length} given back`;
}

async function snapshot(session) {
  const saved = await post(path(session, 'snapshot'), {});
  return `Snapshot ${short(saved.id)}: ${(saved.size_bytes / 1024).toFixed(0)} KiB in ${saved.path}`;
}

const actions = {
  start: button('Start', 'play', async (session) => { await post(path(session, 'start'), { real_time: session.mode === 'manual' }); }, 'primary'),
  pause: button('Pause', 'pause', async (session) => { await post(path(session, 'pause')); }),
  snapshot: button('Snapshot', 'snapshot', snapshot),
  restore: button('Restore', 'back', async (session) => { await post(path(session, 'restore'), {}); return 'Restored from the newest snapshot'; }),
  stop: button('Stop', 'stop', stopSession, 'danger'),
};

function allowed(session) {
  const holds = ['ready', 'running', 'paused'].includes(session.phase);
  return {
    start: ['ready', 'paused'].includes(session.phase),
    pause: session.phase === 'running',
    snapshot: holds,
    restore: holds,
    stop: !session.ended && session.phase !== 'stopping',
  };
}

function copyId(session) {
  const copy = navigator.clipboard?.writeText(session.id) ?? Promise.reject(new Error('no clipboard'));
  copy.then(() => toast('Id copied'), () => toast(session.id));
}

const top = element('section');
const title = element('header', 'title');
const heading = element('h2');
const headingText = element('span');
const copy = element('button', 'tool');
copy.type = 'button';
copy.append(icon('copy'));
copy.setAttribute('aria-label', 'Copy the id');
copy.title = 'Copy the id';
copy.addEventListener('click', () => copyId(chosen()));
heading.append(headingText, copy);
heading.id = 'detail-title';
const badge = element('span', 'badge');
const close = element('button', 'tool close');
close.type = 'button';
close.append(icon('close'));
close.setAttribute('aria-label', 'Close this session');
close.addEventListener('click', () => { store.set({ selected: null, env: 0 }); $('create').focus(); });
title.append(heading, badge, close);
const facts = element('p', 'facts');
const reason = element('p', 'reason');
const toolbar = element('div', 'toolbar');
toolbar.append(...Object.values(actions));
top.append(title, facts, reason, toolbar);
top.setAttribute('aria-labelledby', 'detail-title');

const stage = stageView();
const plots = plotsView();
const members = membersView();
const demonstrations = demonstrationsView();
const history = historyView();
const log = logView();
const pairs = element('div', 'pairs');
pairs.append(members.part, demonstrations.part);
const times = element('div', 'pairs late');
times.append(history.part, log.part);

const hint = element('section', 'hint');
hint.append(
  element('h2', '', 'No session chosen'),
  element('p', 'empty', 'Choose one on the left to see its picture, its training and its log, and to drive it. The same from a shell:'),
);
const shell = element('pre', '', `curl -X POST ${location.origin}/v1/sessions \\\n  -H 'content-type: application/json' -d '{"mode":"training"}'\nneuro fleet sessions\nneuro fleet watch SESSION`);
shell.tabIndex = 0;
hint.append(shell);
const away = element('section', 'hint');
const awayText = element('p', 'empty');
away.append(element('h2', '', 'No such session'), awayText);

function factsOf(session) {
  const pairsOf = [[session.mode, session.environment], ['of', session.owner], ['priority', session.priority]];
  if (session.ended) pairsOf.push(['lived', duration((session.ended_ms || state.now) - session.created_ms)]);
  else pairsOf.push(['age', ago(session.created_ms)]);
  if (session.policy) pairsOf.push(['policy', session.policy]);
  if (session.instruction) pairsOf.push(['told', `“${session.instruction}”`]);
  if (session.training_end) pairsOf.push(['final reward', figure(session.training_end.final_reward)]);
  const requires = Object.entries(session.requires).map(([key, value]) => (value ? `${key}=${value}` : key)).join(', ');
  if (requires) pairsOf.push(['requires', requires]);
  return pairsOf;
}

function because(session) {
  if (session.phase === 'queued') {
    const gang = session.gang.trainers + session.gang.simulators;
    return `Number ${session.queue_position} in the queue; waits for ${session.waiting_for || 'instances'}. Its ${gang === 1 ? 'instance is' : `${gang} instances are`} granted together, and it starts by itself.`;
  }
  return session.training_end && !session.training_end.success ? session.training_end.error : session.reason;
}

function drawTop(session) {
  say(headingText, session.id);
  badge.dataset.tone = tone(session.phase);
  say(badge, session.phase);
  keyed(facts, factsOf(session), ([name]) => name, () => {
    const fact = element('span');
    fact.append('', element('b'));
    return fact;
  }, (fact, [name, value]) => {
    if (fact.firstChild.data !== `${name} `) fact.firstChild.data = `${name} `;
    say(fact.lastChild, value);
  });
  const why = because(session);
  reason.hidden = !why;
  reason.classList.toggle('bad', session.phase === 'failed');
  say(reason, why);
  const may = allowed(session);
  for (const [name, made] of Object.entries(actions)) {
    made.hidden = (session.ended && name !== 'stop') || (name === 'start' && session.phase === 'running') || (name === 'pause' && session.phase !== 'running');
    if (!made.dataset.busy) made.disabled = !may[name];
  }
  toolbar.hidden = session.ended;
  say(actions.start.lastChild, session.phase === 'paused' ? 'Go on' : 'Start');
}

let shown = '';

function draw() {
  const session = chosen();
  const unknown = !session && state.selected !== null && state.told;
  const kind = session ? 'session' : unknown ? 'unknown' : 'none';
  $('fleet').classList.toggle('chosen', state.selected !== null);
  if (kind !== shown) {
    shown = kind;
    const parts = { session: [top, stage.part, plots.part, pairs, times], unknown: [away], none: [hint] }[kind];
    $('detail').replaceChildren(...parts);
  }
  document.title = session ? `${session.phase} ${short(session.id)} · neuro` : 'neuro: fleet';
  stage.draw(session);
  if (unknown) say(awayText, `Nothing is known of ${state.selected}. Ended sessions are kept for a week; of very many only the newest 500 are listed here.`);
  if (!session) return;
  drawTop(session);
  plots.draw(session);
  members.draw(session);
  demonstrations.draw(session);
  history.draw(session);
  log.draw();
}

export function startDetail() {
  store.on(['told', 'sessions', 'instances', 'selected', 'env', 'log', 'now'], draw);
  let before = state.selected;
  store.on(['selected'], ({ selected }) => {
    if (selected !== null && selected !== before && matchMedia('(max-width: 66rem)').matches) $('detail').focus();
    before = selected;
  });
  draw();
}
