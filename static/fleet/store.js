// What the fleet page knows.

import { createStore } from '../store.js';

export const store = createStore({
  connection: 'connecting', // connecting, open, lost
  told: false,              // whether the fleet has told all of itself once
  fleet: {},                // health and version
  sessions: new Map(),      // id -> session; a new Map with every change
  pools: new Map(),
  instances: new Map(),
  gpus: null,               // GET /v1/gpus
  selected: null,           // id of a session
  env: 0,                   // environment of it that is shown
  phase: 'active',          // filters of the list
  mode: '',
  text: '',
  log: null,                // the selected session's log: { id, events, points, state }
  drive: null,              // a lease that this page holds, or is about to
  now: Date.now(),          // the second, for ages
});

export const chosen = () => store.state.sessions.get(store.state.selected) ?? null;

/** Members of a session: its trainer first, then its simulators by environment. */
export function membersOf(session) {
  const members = (session.members ?? []).map((id) => store.state.instances.get(id)).filter(Boolean);
  return members.sort((a, b) => (a.role === b.role ? (a.env_index ?? 0) - (b.env_index ?? 0) : a.role === 'trainer' ? -1 : 1));
}
