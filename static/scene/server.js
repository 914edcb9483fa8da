// The server's REST side, for one session. Refusals come back as sentences.

import { ask } from '../credentials.js';
import { store } from './store.js';

export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

function sentence(answer, status) {
  const detail = answer?.detail ?? answer?.error;
  if (Array.isArray(detail)) return detail.map((item) => `${item.loc?.at(-1) ?? 'request'}: ${item.msg}`).join('; ');
  return detail || `The server answered ${status}.`;
}

async function call(path, options) {
  let response;
  try {
    response = await ask(path, options);
  } catch (error) {
    throw new Refusal(`The server did not answer: ${error.message}`, 0);
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new Refusal(sentence(answer, response.status), response.status);
  return answer;
}

/** The path of an endpoint in the session on show; plain paths are those of the session `default`. */
export function sessionPath(path, session = store.state.session) {
  return session === 'default' ? `api/${path}` : `api/sessions/${encodeURIComponent(session)}/${path}`;
}

const post = (path, body = {}) => call(path, {
  method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
});

export const server = {
  files: async () => (await call('api/usdz-files')).files,
  sessions: async () => (await call('api/sessions')).sessions,
  addSession: (name) => post('api/sessions', name ? { name } : {}),
  // A container has one scene at a time; other renderers take any, and one that is away may come back.
  async load(file) {
    const { renderer } = await call(sessionPath('health'));
    if (renderer === 'docker') await post(sessionPath('nurec/restart'), { usdz_path: file });
    return post(sessionPath('load'), { usdz_path: file, require_renderer: false });
  },
  scene: () => call(sessionPath('scene')),
  track: (id) => call(sessionPath(`track/${encodeURIComponent(id)}`)),
  playback: (command, body) => post(sessionPath(`playback/${command}`), body),
};
