// A session's instances, and the demonstrations that people left.

import { ask } from '../credentials.js';
import { call } from '../call.js';
import { element, save } from '../dom.js';
import { clock, figure, short } from './format.js';
import { keyed, say } from './keyed.js';
import { membersOf, store } from './store.js';
import { toast } from './summary.js';

const STATE_TONES = { busy: 'busy', idle: 'good', draining: 'wait', away: 'wait', lost: 'bad' };

function table(titles, name) {
  const scroll = element('div', 'scroll');
  scroll.tabIndex = 0;
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', name);
  const made = element('table', 'table');
  const row = element('tr');
  row.append(...titles.map(([title, number]) => {
    const cell = element('th', number ? 'number' : '', title);
    cell.scope = 'col';
    return cell;
  }));
  const head = element('thead');
  head.append(row);
  made.append(head, element('tbody'));
  scroll.append(made);
  return { scroll, body: made.tBodies[0] };
}

function section(title, id) {
  const part = element('section');
  const head = element('header', 'head');
  const heading = element('h2', '', title);
  heading.id = id;
  const count = element('span', 'count');
  heading.append(' ', count);
  head.append(heading);
  part.append(head);
  part.setAttribute('aria-labelledby', id);
  return { part, count };
}

export function membersView() {
  const { part, count } = section('Instances', 'members-title');
  const { scroll, body } = table([['Instance'], ['Env', true], ['State'], ['Fence', true], ['Steps/s', true], ['Node'], ['GPU']], 'Instances of the session');
  const empty = element('p', 'empty');
  part.append(scroll, empty);

  function draw(session) {
    const members = membersOf(session);
    const wanted = session.gang.trainers + session.gang.simulators;
    say(count, session.ended ? '' : `${members.length} of ${wanted}`);
    scroll.hidden = members.length === 0;
    empty.hidden = members.length > 0;
    say(empty, session.ended ? 'Its instances went back to their pools.' : `None yet: ${wanted} are granted together or not at all.`);
    keyed(body, members, ({ id }) => id, () => {
      const row = element('tr');
      const word = element('td');
      word.append(element('span', 'badge'));
      row.append(element('td'), element('td', 'number'), word, element('td', 'number'), element('td', 'number'), element('td'), element('td'));
      return row;
    }, (row, one) => {
      const [name, env, word, fence, fps, node, gpu] = row.children;
      say(name, one.name);
      row.title = one.id;
      say(env, one.role === 'trainer' ? 'trainer' : String(one.env_index ?? ''));
      word.firstChild.dataset.tone = STATE_TONES[one.state] ?? '';
      say(word.firstChild, one.state);
      say(fence, String(one.fence));
      say(fps, one.pulse && one.role === 'simulator' ? figure(one.pulse.fps) : '–');
      say(node, one.node || '–');
      say(gpu, one.gpus.map(({ index, name: card }) => `${index} ${card}`).join(', ') || '–');
    });
  }
  return { part, draw };
}

export function demonstrationsView() {
  const { part, count } = section('Demonstrations', 'demos-title');
  const { scroll, body } = table([['When'], ['Who'], ['Steps', true], ['Reward', true], ['Files']], 'Demonstrations');
  const empty = element('p', 'empty');
  part.append(scroll, empty);
  let asked = '';
  let list = [];

  async function download(session, demonstration, file) {
    try {
      const response = await ask(`v1/sessions/${encodeURIComponent(session)}/demonstrations/${demonstration}/${file}`);
      if (!response.ok) throw new Error((await response.json().catch(() => null))?.detail ?? `The server answered ${response.status}.`);
      save(await response.blob(), `${short(demonstration)}-${file}`);
    } catch (error) {
      toast(error.message);
    }
  }

  async function fetchList(session) {
    const made = (store.state.log?.events ?? []).filter(({ type }) => type === 'demonstration').length;
    const key = `${session.id} ${made}`;
    if (key === asked) return;
    if (!asked.startsWith(`${session.id} `)) list = [];
    asked = key;
    try {
      const { demonstrations } = await call(`v1/sessions/${encodeURIComponent(session.id)}/demonstrations`);
      if (asked === key) { list = demonstrations; show(session); }
    } catch {
      asked = '';
    }
  }

  function show(session) {
    say(count, list.length > 0 ? String(list.length) : '');
    scroll.hidden = list.length === 0;
    empty.hidden = list.length > 0;
    say(empty, session.ended ? 'Nobody drove it.' : 'None yet: take over above, and what you do is recorded.');
    keyed(body, [...list].reverse(), ({ id }) => id, ({ id }) => {
      const row = element('tr');
      const files = element('td');
      for (const file of ['steps.jsonl', 'meta.json']) {
        const button = element('button', 'text', file);
        button.type = 'button';
        button.addEventListener('click', () => download(session.id, id, file));
        files.append(button, ' ');
      }
      row.append(element('td'), element('td'), element('td', 'number'), element('td', 'number'), files);
      return row;
    }, (row, one) => {
      const [when, user, steps, reward] = row.children;
      say(when, clock(one.started_at_ms));
      say(user, one.user);
      say(steps, one.steps.toLocaleString('en'));
      say(reward, figure(one.total_reward));
      row.title = one.uri;
    });
  }

  return { part, draw(session) { show(session); fetchList(session); } };
}
