// The real `neuro serve` on a free loopback port.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const STARTUP_MS = 120_000;

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** Starts a server of `model` (a folder under the root) and waits until it is ready: `{ url, stop() }`. */
export async function serve(binary, model) {
  // Settings of the caller's own server must not reach this one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('NEURO_')));
  const child = spawn(binary, ['serve', '--host', '127.0.0.1', '--port', '0', '--model', model], {
    cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const ended = new Promise((resolve) => { child.once('close', resolve); });
  ended.then(() => running.delete(child));
  const stop = async () => { child.kill('SIGTERM'); await ended; };

  let said = '';
  child.stderr.on('data', (bytes) => { said = (said + bytes).slice(-4000); });
  const url = await new Promise((resolve, reject) => {
    let listening;
    const timer = setTimeout(() => reject(new Error(`${model} was not ready after ${STARTUP_MS} ms: ${said}`)), STARTUP_MS);
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(`${binary} ended with ${code} before it was ready: ${said}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      listening ??= line.match(/^neuro listening on (http:\S+)/)?.[1];
      if (listening && line.startsWith('neuro ready')) { clearTimeout(timer); resolve(listening); }
    });
  }).catch((error) => { child.kill('SIGKILL'); throw error; });
  return { url, stop };
}
