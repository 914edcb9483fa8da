// Who asks: an optional token, kept for this tab only, sent with every request to this server.

const KEY = 'neuro-token';

/** The folder the server answers under, also behind a proxy that adds a prefix. */
export const BASE = new URL('..', import.meta.url);

export const token = () => sessionStorage.getItem(KEY) ?? '';

export function keepToken(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
  dispatchEvent(new Event('neuro-token'));
}

/** `fetch` with the token, if there is one. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token()) headers.set('authorization', `Bearer ${token()}`);
  const response = await fetch(new URL(path, BASE), { ...options, headers });
  if (response.status === 401) dispatchEvent(new Event('neuro-unauthorized'));
  return response;
}

/** A websocket cannot carry a header from a page: the token travels as the second of two offered subprotocols. */
export function openSocket(path) {
  const url = new URL(path, BASE);
  url.protocol = url.protocol.replace('http', 'ws');
  const offered = token() ? ['neuro.live', `bearer.${encodeURIComponent(token())}`] : [];
  return new WebSocket(url, offered);
}
