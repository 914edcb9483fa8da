// What is looked at, in the address: a link shows another person the same.

import { store } from './store.js';

const KEYS = { session: 'selected', phase: 'phase', mode: 'mode', q: 'text' };
const PLAIN = { selected: null, phase: 'active', mode: '', text: '', env: 0 };

function read() {
  const link = new URLSearchParams(location.hash.slice(1));
  const patch = { ...PLAIN };
  for (const [name, key] of Object.entries(KEYS)) if (link.has(name)) patch[key] = link.get(name);
  const env = Number(link.get('env') ?? 0);
  patch.env = Number.isInteger(env) && env >= 0 ? env : 0;
  store.set(patch);
}

function hashOf(state) {
  const link = new URLSearchParams();
  for (const [name, key] of Object.entries(KEYS)) if (state[key] !== PLAIN[key]) link.set(name, state[key]);
  if (state.env !== 0) link.set('env', state.env);
  return link.toString();
}

/** The address of a session, with the filters as they are. */
export const linkTo = (id) => `#${hashOf({ ...store.state, selected: id, env: 0 })}`;

export function startLink() {
  read();
  addEventListener('hashchange', read);
  store.on([...Object.values(KEYS), 'env'], (state) => {
    const hash = hashOf(state);
    if (location.hash.slice(1) === hash) return;
    history.replaceState(null, '', hash ? `#${hash}` : location.pathname + location.search);
  });
}
