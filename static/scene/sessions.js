// Sessions: each has a clock and a scene of its own, shared by everyone who watches it.

import { $ } from '../dom.js';
import { server } from './server.js';
import { store } from './store.js';

const NEW = '+';
const { state } = store;
const select = $('session');

async function list() {
  let sessions = [];
  try {
    sessions = await server.sessions();
  } catch { /* the name on show is enough */ }
  if (!sessions.some(({ name }) => name === state.session)) sessions.push({ name: state.session, viewers: 1 });
  select.replaceChildren(...sessions.map(({ name, viewers }) => new Option(viewers > 1 ? `${name} (${viewers} watch)` : name, name)), new Option('new session …', NEW));
  select.value = state.session;
}

/** `change` is called with the name of the session chosen. */
export function startSessions(change) {
  select.addEventListener('focus', list);
  select.addEventListener('change', async () => {
    let name = select.value;
    try {
      if (name === NEW) name = (await server.addSession()).name;
      await change(name);
    } catch (error) {
      store.set({ complaint: error.message });
    }
    list();
  });
  store.on(['session'], list);
  list();
}
