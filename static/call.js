// Calls to this server whose refusals come back as sentences.

import { ask } from './credentials.js';

export class Refusal extends Error {
  constructor(message, status, answer = null) {
    super(message);
    this.status = status;
    this.answer = answer;
  }
}

function sentence(answer, status) {
  const detail = answer?.detail ?? answer?.error;
  if (Array.isArray(detail)) return detail.map((item) => `${item.loc?.at(-1) ?? 'request'}: ${item.msg}`).join('; ');
  return detail || `The server answered ${status}.`;
}

export async function call(path, options) {
  let response;
  try {
    response = await ask(path, options);
  } catch (error) {
    throw new Refusal(`The server did not answer: ${error.message}`, 0);
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new Refusal(sentence(answer, response.status), response.status, answer);
  return answer;
}

export const post = (path, body = {}) => call(path, {
  method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
});
