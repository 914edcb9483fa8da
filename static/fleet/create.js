// The dialog that makes a session.

import { post } from '../call.js';
import { $, element } from '../dom.js';
import { short } from './format.js';
import { store } from './store.js';
import { toast } from './summary.js';

const MODES = [
  ['manual', 'Manual', 'one simulator, you drive'],
  ['training', 'Training', 'a trainer and its simulators'],
  ['hybrid', 'Hybrid', 'training you can take over'],
];
const SCENES = [['balance', 'balance: keep a pole upright'], ['reach', 'reach: hand to a target'], ['', 'another…']];
/** Sessions to start as soon as they are ready. */
const starting = new Set();

function field(text, input) {
  const label = element('label', 'field', text);
  label.append(input);
  return label;
}

function input(type, value, more = {}) {
  const made = element('input');
  return Object.assign(made, { type, value, autocomplete: 'off', ...more });
}

function select(options, value) {
  const made = element('select');
  made.append(...options.map(([key, text]) => {
    const option = element('option', '', text);
    option.value = key;
    return option;
  }));
  made.value = value;
  return made;
}

function build(dialog) {
  const form = element('form');
  const title = element('h2', '', 'New session');
  title.id = 'create-title';
  const choices = element('fieldset', 'choices');
  choices.append(element('legend', '', 'Mode'));
  for (const [mode, name, says] of MODES) {
    const label = element('label');
    const radio = input('radio', mode, { name: 'mode', checked: mode === 'manual' });
    label.append(radio, element('b', '', name), element('small', '', says));
    choices.append(label);
  }
  const scene = select(SCENES, 'balance');
  const other = input('text', '', { placeholder: 'name.usdz', spellcheck: false });
  const otherField = field('Scenario file', other);
  const envs = input('number', '4', { min: '1', max: '64', required: true });
  const envsField = field('Simulators', envs);
  const episodes = input('number', '1000', { min: '1', max: '1000000', required: true });
  const episodesField = field('Episodes', episodes);
  const grid = element('div', 'grid');
  grid.append(field('Scene', scene), otherField, envsField, episodesField);

  const more = element('details');
  const owner = input('text', '', { placeholder: 'default', maxLength: 128 });
  const priority = select([['low', 'low: may be preempted'], ['normal', 'normal'], ['high', 'high: goes first']], 'normal');
  const policy = input('text', '', { placeholder: 'local, or http://host:8000', spellcheck: false });
  const instruction = input('text', '', { placeholder: 'pick up the blue cube' });
  const id = input('text', '', { placeholder: 'made for you', maxLength: 128, spellcheck: false });
  const hyper = input('text', '', { placeholder: 'learning_rate=0.001 gamma=0.98', spellcheck: false });
  const hyperField = field('Hyperparameters', hyper);
  const wide = element('div', 'grid');
  wide.append(field('Owner', owner), field('Priority', priority), field('Policy that drives', policy), field('Instruction', instruction), field('Session id', id), hyperField);
  more.append(element('summary', '', 'More'), wide);

  const error = element('p', 'error');
  error.hidden = true;
  error.setAttribute('role', 'alert');
  const make = element('button', 'primary', 'Create');
  make.type = 'submit';
  const cancel = element('button', '', 'Cancel');
  cancel.type = 'button';
  cancel.addEventListener('click', () => dialog.close());
  const begin = input('checkbox', '', { checked: true });
  const beginField = element('label', 'check');
  beginField.append(begin, ' start when ready');
  const row = element('div', 'actions');
  row.append(make, cancel, beginField);
  form.append(title, choices, grid, more, error, row);

  const mode = () => form.elements.mode.value;
  const adapt = () => {
    otherField.hidden = scene.value !== '';
    other.required = scene.value === '';
    const trains = mode() !== 'manual';
    envsField.hidden = episodesField.hidden = hyperField.hidden = !trains;
  };
  form.addEventListener('change', adapt);
  adapt();

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    make.disabled = true;
    error.hidden = true;
    const body = { mode: mode(), scene_config: { environment: scene.value || other.value.trim() }, priority: priority.value };
    if (mode() !== 'manual') {
      const pairs = hyper.value.split(/[\s,]+/).filter(Boolean).map((pair) => pair.split('='));
      body.training_config = { parallel_envs: Number(envs.value), total_episodes: Number(episodes.value), hyperparameters: Object.fromEntries(pairs.map(([key, value]) => [key, value ?? ''])) };
      body.enable_human_demo = mode() === 'hybrid';
    }
    for (const [key, from] of [['owner', owner], ['policy', policy], ['instruction', instruction], ['session_id', id]]) if (from.value.trim()) body[key] = from.value.trim();
    try {
      const session = await post('v1/sessions', body);
      if (begin.checked) {
        starting.add(session.id);
        startReady(session);
      }
      dialog.close();
      store.set({ selected: session.id, env: 0, phase: 'active', mode: '', text: '' });
      toast(session.phase === 'queued' ? `${short(session.id)} waits in the queue` : `${short(session.id)} is ${session.phase}`);
    } catch (problem) {
      error.textContent = problem.message;
      error.hidden = false;
    }
    make.disabled = false;
  });
  return form;
}

async function startReady(session) {
  if (!starting.has(session.id)) return;
  if (session.ended || ['running', 'paused'].includes(session.phase)) { starting.delete(session.id); return; }
  if (session.phase !== 'ready') return;
  starting.delete(session.id);
  try {
    await post(`v1/sessions/${encodeURIComponent(session.id)}/start`, { real_time: session.mode === 'manual' });
  } catch (error) {
    toast(error.message);
  }
}

export function startCreate() {
  $('create').addEventListener('click', () => {
    const dialog = $('create-dialog');
    dialog.replaceChildren(build(dialog));
    dialog.showModal();
    dialog.querySelector('input[name=mode]:checked').focus();
  });
  store.on(['sessions'], ({ sessions }) => {
    for (const id of starting) if (sessions.has(id)) startReady(sessions.get(id));
  });
}
