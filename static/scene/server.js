// The server's REST side, for one session. Refusals come back as sentences.

import { call, post } from '../call.js';
import { store } from './store.js';

/** The path of an endpoint in the session on show; plain paths are those of the session `default`. */
export function sessionPath(path, session = store.state.session) {
  return session === 'default' ? `api/${path}` : `api/sessions/${encodeURIComponent(session)}/${path}`;
}

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
