// The real `neuro serve` on a free loopback port.

import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const STARTUP_MS = 120_000;

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

function start(binary, args) {
  // Settings of the caller's own server must not reach this one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('NEURO_')));
  const child = spawn(binary, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const ended = new Promise((resolve) => { child.once('close', resolve); });
  ended.then(() => running.delete(child));
  return { child, stop: async () => { child.kill('SIGTERM'); await ended; } };
}

/** A loopback port nothing listens on just now. */
export async function freePort() {
  const holder = createServer();
  await new Promise((resolve) => { holder.listen(0, '127.0.0.1', resolve); });
  const { port } = holder.address();
  await new Promise((resolve) => { holder.close(resolve); });
  return port;
}

/** Starts `neuro render` on `port` and waits until it can be connected to: `{ stop() }`. */
export async function startRenderer(binary, port, scenes) {
  const { child, stop } = start(binary, ['render', '--host', '127.0.0.1', '--port', String(port), '--scenes', scenes]);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => { said = (said + bytes).slice(-4000); });
  const end = Date.now() + STARTUP_MS;
  for (;;) {
    const open = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
      socket.once('error', () => resolve(false));
    });
    if (open) return { stop };
    if (child.exitCode !== null || Date.now() > end) throw new Error(`neuro render did not listen on ${port}: ${said}`);
    await new Promise((resume) => { setTimeout(resume, 100); });
  }
}

/** Starts a server of `model` (a folder under the root) and waits until it is ready: `{ url, stop() }`. */
export async function serve(binary, model, more = []) {
  const { child, stop } = start(binary, ['serve', '--host', '127.0.0.1', '--port', '0', '--model', model, ...more]);

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

/** Starts `neuro orchestrate` over `folder`, which has its `fleet.toml`: `{ url, grpc, pid, stop(), kill() }`. */
export async function orchestrate(binary, folder, { grpc, http }) {
  const { child, stop } = start(binary, ['orchestrate', '--data', join(folder, 'data'), '--config', join(folder, 'fleet.toml'), '--listen', `127.0.0.1:${grpc}`, '--http', `127.0.0.1:${http}`]);
  let said = '';
  child.stderr.on('data', (bytes) => { said = (said + bytes).slice(-4000); });
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`neuro orchestrate was not up after ${STARTUP_MS} ms: ${said}`)), STARTUP_MS);
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(`neuro orchestrate ended with ${code}: ${said}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('neuro orchestrate listening')) { clearTimeout(timer); resolve(); }
    });
  });
  const kill = async () => { const ended = new Promise((resolve) => { child.once('close', resolve); }); child.kill('SIGKILL'); await ended; };
  return { url: `http://127.0.0.1:${http}`, stop, kill };
}

/** Ends the instances that an orchestrator left running, by their process ids: they outlive it by design. */
export async function endInstances(folder) {
  const marks = join(folder, 'data', 'processes');
  for (const name of await readdir(marks).catch(() => [])) {
    const { pid } = JSON.parse(await readFile(join(marks, name), 'utf8'));
    const alive = () => { try { process.kill(pid, 0); return true; } catch { return false; } };
    if (alive()) process.kill(pid, 'SIGKILL');
    for (const end = Date.now() + 10_000; alive() && Date.now() < end;) await new Promise((resume) => { setTimeout(resume, 50); });
  }
}
