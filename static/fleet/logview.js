// The log as lines: newest last, following the end unless somebody scrolled up.

import { element } from '../dom.js';
import { clock, figure, short, tone } from './format.js';
import { keyed, say } from './keyed.js';
import { store } from './store.js';

const SHOWN = 400;
const WORDS = { open: 'live', lost: 'connection lost, trying again', ended: 'complete', connecting: 'connecting', unknown: 'no such session' };
const INSTANCE_TONES = { lost: 'bad', granted: 'good', replaced: 'good' };

const nameOf = (id) => store.state.instances.get(id)?.name ?? short(id);

function describe(event) {
  switch (event.type) {
    case 'phase': return [tone(event.to), `${event.from === 'unknown' ? '' : `${event.from} → `}${event.to}${event.reason ? `: ${event.reason}` : ''}`];
    case 'progress': return ['', `episode ${event.episode}${event.total_episodes ? ` of ${event.total_episodes}` : ''}, ${event.steps.toLocaleString('en')} steps, average reward ${figure(event.average_reward)}`];
    case 'control': return [event.to === 'human' ? 'wait' : '', event.to === 'human' ? `${event.user || 'somebody'} took over (fence ${event.fence})` : `control goes from ${event.from} to ${event.to}`];
    case 'instance': return [INSTANCE_TONES[event.event] ?? '', `${nameOf(event.instance_id)} ${event.event}${event.replaced_by ? ` by ${nameOf(event.replaced_by)}` : ''}`];
    case 'gap': return ['', `entries up to ${event.upto} are no longer kept`];
    case 'demonstration': return ['good', `demonstration by ${event.user}: ${event.steps} steps, reward ${figure(event.total_reward)}`];
    case 'training_end': return [event.success ? 'good' : 'bad', event.success ? `training ended: reward ${figure(event.final_reward)} after ${figure(event.seconds)} s` : `training failed: ${event.error}`];
    default: return ['', event.type];
  }
}

export function logView() {
  const part = element('section');
  const head = element('header', 'head');
  const title = element('h2', '', 'Log');
  title.id = 'log-title';
  const link = element('span', 'link');
  const check = element('label', 'check');
  const box = element('input');
  box.type = 'checkbox';
  check.append(box, ' training progress');
  head.append(title, link, check);
  const list = element('ol', 'log');
  list.tabIndex = 0;
  list.setAttribute('aria-labelledby', 'log-title');
  const empty = element('p', 'empty', 'Nothing happened yet.');
  part.append(head, list, empty);
  part.setAttribute('aria-labelledby', 'log-title');

  function draw() {
    const { log } = store.state;
    link.dataset.state = log?.state ?? '';
    say(link, WORDS[log?.state] ?? '');
    const events = (log?.events ?? []).filter(({ type }) => box.checked || type !== 'progress').slice(-SHOWN);
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
    keyed(list, events, (event) => `${event.type}-${event.seq}`, (event) => {
      const line = element('li');
      const [mood, sentence] = describe(event);
      line.dataset.tone = mood;
      const when = element('time', '', clock(event.at_ms));
      when.dateTime = new Date(event.at_ms).toISOString();
      line.append(element('span', 'seq', String(event.seq)), when, element('span', 'said', sentence));
      return line;
    }, () => {});
    list.hidden = events.length === 0;
    empty.hidden = events.length > 0;
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
  box.addEventListener('change', draw);
  return { part, draw };
}
