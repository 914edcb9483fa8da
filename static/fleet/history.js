// The phases a session went through, to scale and as a list.

import { element } from '../dom.js';
import { clock, duration, tone } from './format.js';
import { keyed, say } from './keyed.js';
import { store } from './store.js';

/** `[{ seq, phase, from, to, reason }]`: the last one goes on until now unless the session has ended. */
function stretches(log, session) {
  const changes = log.events.filter(({ type }) => type === 'phase');
  return changes.map((change, index) => {
    const end = changes[index + 1]?.at_ms ?? (session?.ended ? change.at_ms : store.state.now);
    return { seq: change.seq, phase: change.to, from: change.at_ms, ms: Math.max(0, end - change.at_ms), reason: change.reason, last: index === changes.length - 1 };
  });
}

export function historyView() {
  const part = element('section');
  const head = element('header', 'head');
  const title = element('h2', '', 'Phases');
  title.id = 'history-title';
  head.append(title);
  const bar = element('div', 'phases');
  bar.setAttribute('aria-hidden', 'true');
  const list = element('ol', 'steps');
  list.tabIndex = 0;
  list.setAttribute('aria-labelledby', 'history-title');
  part.append(head, bar, list);
  part.setAttribute('aria-labelledby', 'history-title');

  function draw(session) {
    const steps = store.state.log ? stretches(store.state.log, session) : [];
    const timed = steps.filter(({ ms }) => ms > 0);
    keyed(bar, timed, ({ seq }) => seq, () => element('i'), (piece, step) => {
      piece.dataset.tone = tone(step.phase);
      piece.style.flex = `${Math.sqrt(step.ms)} 1 0`;
      piece.title = `${step.phase}: ${duration(step.ms)}`;
    });
    bar.hidden = timed.length === 0;
    keyed(list, steps, ({ seq }) => seq, () => {
      const item = element('li');
      item.append(element('time'), element('span', 'badge'), element('span', 'for'), element('span'));
      return item;
    }, (item, step) => {
      const [when, phase, long, why] = item.children;
      say(when, clock(step.from));
      phase.dataset.tone = tone(step.phase);
      say(phase, step.phase);
      say(long, step.last && session?.ended ? '' : duration(step.ms));
      say(why, step.reason);
    });
  }
  return { part, draw };
}
