// The live picture with its pad: which environment, who drives, and driving.

import { element, icon } from '../dom.js';
import { confirm } from './confirm.js';
import { figure } from './format.js';
import { KEYS, giveBack, letGo, motion, press, pressed, takeOver } from './drive.js';
import { keyed, say } from './keyed.js';
import { showPictures } from './picture.js';
import { membersOf, store } from './store.js';
import { toast } from './summary.js';

const NAME = 'neuro-operator';
const LEASE_MS = 10_000;
const LIVE = ['ready', 'running', 'paused', 'recovering'];
const { state } = store;

function operator() {
  try { return localStorage.getItem(NAME) || 'operator'; } catch { return 'operator'; }
}

function labelled(text, input) {
  const label = element('label', '', text);
  label.append(input);
  return label;
}

function padButton(key, text, says) {
  const button = element('button', '', text);
  button.type = 'button';
  button.dataset.press = key;
  button.setAttribute('aria-label', says);
  button.addEventListener('pointerdown', (event) => { event.preventDefault(); button.setPointerCapture(event.pointerId); press(key); });
  for (const end of ['pointerup', 'pointercancel']) button.addEventListener(end, () => letGo(key));
  return button;
}

export function stageView() {
  const part = element('section', 'stage');
  part.setAttribute('aria-labelledby', 'stage-title');
  const head = element('header', 'head');
  const title = element('h2', '', 'Live');
  title.id = 'stage-title';
  const envs = element('div', 'envs');
  envs.setAttribute('role', 'group');
  envs.setAttribute('aria-label', 'Environment');
  const who = element('div', 'who');
  who.setAttribute('role', 'group');
  who.setAttribute('aria-label', 'Who drives');
  const machine = element('button', '', 'Policy');
  const person = element('button', 'human');
  for (const button of [machine, person]) button.type = 'button';
  person.append(icon('wheel'), element('span', '', 'Take over'));
  who.append(machine, person);
  head.append(title, envs, who);

  const area = element('div');
  area.setAttribute('role', 'application');
  area.setAttribute('aria-label', 'Drive the robot: W A S D or arrows, Q and E turn, R and F up and down, Escape gives it back');
  area.tabIndex = -1;
  const screen = element('div', 'screen');
  const canvas = element('canvas');
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', 'Picture of the simulator');
  const veil = element('p', 'veil');
  const meter = element('span', 'meter');
  const sign = element('div', 'sign');
  const lease = element('span', 'lease');
  const doing = element('small');
  sign.append(element('span', '', 'You are driving'), doing, lease);
  screen.append(canvas, veil, meter, sign);

  const pad = element('div', 'pad');
  const keys = element('div', 'keys');
  keys.append(padButton('q', 'Q', 'Turn left'), padButton('w', 'W', 'Ahead'), padButton('e', 'E', 'Turn right'), padButton('a', 'A', 'Left'), padButton('s', 'S', 'Back'), padButton('d', 'D', 'Right'));
  const lift = element('div', 'keys');
  lift.append(padButton('r', 'R', 'Up'), padButton('f', 'F', 'Down'));
  const speed = element('input');
  Object.assign(speed, { type: 'range', min: '0.1', max: '2', step: '0.1', value: String(motion.speed) });
  const speedText = element('span');
  const speedLabel = labelled('Speed ', speed);
  speedLabel.append(speedText);
  const name = element('input', 'name');
  Object.assign(name, { type: 'text', value: operator(), maxLength: 64, autocomplete: 'off' });
  const nameLabel = labelled('Your name ', name);
  const readout = element('p', 'readout');
  pad.append(keys, lift, speedLabel, nameLabel, readout);
  area.append(screen);
  part.append(head, area, pad);
  area.append(pad);

  let stop = null;
  let showing = '';
  let picture = {};

  function watch(session, one) {
    const key = !document.hidden && session && one && LIVE.includes(session.phase) ? `${session.id} ${state.env} ${one.id}` : '';
    if (key === showing) return;
    showing = key;
    stop?.();
    stop = null;
    picture = {};
    canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
    if (key) stop = showPictures(canvas, session.id, state.env, (told) => { picture = { ...told, seen: picture.seen || told.fps !== undefined }; drawPicture(); });
  }

  function drawPicture() {
    veil.hidden = Boolean(picture.seen) && !picture.problem;
    say(veil, picture.problem ?? 'waiting for the first picture');
    meter.hidden = !picture.fps;
    say(meter, picture.fps ? `${picture.fps.toFixed(0)} fps` : '');
  }

  async function drive(force = false) {
    const session = state.sessions.get(state.selected);
    const simulators = membersOf(session).filter(({ role }) => role === 'simulator');
    const one = simulators.find(({ env_index: index }) => index === state.env) ?? simulators[0];
    try {
      await takeOver(session.id, one?.id, state.env, name.value.trim() || 'operator', force);
      area.focus({ preventScroll: true });
    } catch (error) {
      if (error.status === 409 && !force && state.sessions.get(session.id)?.controller === 'human') {
        if (await confirm('Take it from the person who drives?', error.message, 'Take it')) await drive(true);
        return;
      }
      toast(error.message);
    }
  }

  async function back() {
    try {
      const demonstration = await giveBack();
      toast(demonstration ? 'Given back; your demonstration is recorded' : 'Given back');
    } catch (error) {
      toast(error.message);
    }
  }

  person.addEventListener('click', () => (state.drive?.held ? back() : drive()));
  machine.addEventListener('click', () => { if (state.drive?.held) back(); });
  speed.addEventListener('input', () => { motion.speed = Number(speed.value); drawDrive(); });
  name.addEventListener('change', () => { try { localStorage.setItem(NAME, name.value.trim()); } catch { /* private windows may refuse */ } });
  area.addEventListener('keydown', (event) => {
    if (!state.drive?.held || event.target === name) return;
    if (event.key === 'Escape') { event.preventDefault(); back(); return; }
    if (event.target === speed && event.key.startsWith('Arrow')) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (press(event.key.toLowerCase())) event.preventDefault();
  });
  area.addEventListener('keyup', (event) => letGo(event.key.toLowerCase()));
  area.addEventListener('focusout', ({ relatedTarget }) => {
    if (!state.drive?.held || !document.hasFocus()) return;
    if (relatedTarget && !area.contains(relatedTarget) && !who.contains(relatedTarget)) back();
  });
  // Nobody watches: the robot must not go on by itself.
  addEventListener('blur', () => { if (state.drive?.held) back(); });
  document.addEventListener('visibilitychange', () => draw(state.sessions.get(state.selected)));

  function drawDrive() {
    const mine = state.drive;
    const driving = Boolean(mine?.held);
    part.classList.toggle('driving', driving);
    sign.hidden = !driving;
    keys.hidden = lift.hidden = speedLabel.hidden = !driving;
    nameLabel.hidden = driving;
    area.tabIndex = driving ? 0 : -1;
    say(speedText, `${motion.speed.toFixed(1)} m/s`);
    for (const button of pad.querySelectorAll('[data-press]')) button.dataset.on = String([...pressed()].some((key) => key === button.dataset.press || JSON.stringify(KEYS[key]) === JSON.stringify(KEYS[button.dataset.press])));
    if (driving) {
      const left = Math.max(0, mine.expires_at_ms - Date.now());
      say(lease, mine.expires_at_ms ? `lease ${Math.ceil(left / 1000)} s, renewed by itself` : '');
      sign.style.setProperty('--left', `${Math.min(100, (left / LEASE_MS) * 100)}%`);
      say(doing, mine.link === 'open' ? 'WASD or arrows, Q E turn, R F up and down; Esc gives it back' : mine.link === 'lost' ? 'connection lost, trying again' : 'connecting');
    }
    const robot = mine?.robot;
    const hand = robot?.pose?.length >= 3 ? `at ${robot.pose.slice(0, 3).map((metre) => metre.toFixed(2)).join(', ')} m` : '';
    const reward = mine?.sensors ? `reward ${figure(mine.sensors.reward)}` : '';
    say(readout, mine?.problem || [hand, reward].filter(Boolean).join(' · ') || (driving ? '' : 'Taking over records what you do as a demonstration.'));
  }

  function draw(session) {
    part.hidden = !session || (session.ended && !state.drive);
    if (!session) { watch(null); return; }
    const simulators = membersOf(session).filter(({ role }) => role === 'simulator');
    const one = simulators.find(({ env_index: index }) => index === state.env);
    envs.hidden = simulators.length < 2;
    keyed(envs, simulators, ({ env_index: index }) => index, ({ env_index: index }) => {
      const button = element('button', '', String(index));
      button.type = 'button';
      button.addEventListener('click', () => { if (!state.drive?.held) store.set({ env: index }); });
      return button;
    }, (button, { env_index: index, name: called }) => {
      button.setAttribute('aria-pressed', String(index === state.env));
      button.setAttribute('aria-label', `Environment ${index}, ${called}`);
    });
    const driving = Boolean(state.drive?.held);
    const human = session.controller === 'human';
    say(machine, session.mode === 'manual' && !session.policy ? 'Nobody' : session.policy ? 'Policy' : 'Trainer');
    machine.setAttribute('aria-pressed', String(!driving && !human));
    person.setAttribute('aria-pressed', String(driving || human));
    say(person.lastChild, driving ? 'You: give back' : human ? 'A person: take over' : 'Take over');
    person.disabled = !LIVE.includes(session.phase) || state.drive?.taking === true;
    machine.disabled = !driving;
    watch(session, one ?? simulators[0]);
    if (!showing) picture = { problem: LIVE.includes(session.phase) ? 'no simulator shows this environment now' : `no picture: the session is ${session.phase}` };
    drawPicture();
    drawDrive();
  }
  store.on(['drive', 'now'], drawDrive);
  return { part, draw };
}
