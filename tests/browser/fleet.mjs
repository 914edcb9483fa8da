// What the fleet page (static/fleet.html) must do: node fleet.mjs BINARY

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assertAccessible } from './access.mjs';
import { launch, open } from './browser.mjs';
import { check, eventually, total } from './checks.mjs';
import { endInstances, freePort, orchestrate } from './server.mjs';

const OUT = fileURLToPath(new URL('out/', import.meta.url));
const RULES = ['button-name', 'color-contrast', 'label'];
/** Training and starting instances take their time on a busy machine. */
const LONG_MS = 120_000;
const POOLS = `
[[pool]]
name = "simulators"
role = "simulator"
backend = "process"
warm = 2
max = 3
[[pool]]
name = "trainers"
role = "trainer"
backend = "process"
warm = 1
max = 1
`;

// For people to look at. A starved browser that draws a live picture may not come to it: that is no fault of the page.
const shot = (page, name) => page.screenshot({ path: `${OUT}fleet-${name}.png`, timeout: 10_000 })
  .catch((error) => console.log(`      no picture ${name}: ${error.message.split('\n')[0]}`));
const text = (page, selector) => page.textContent(selector);
const json = async (url, options) => (await fetch(url, options)).json();

const phase = (page, wanted, limitMs = LONG_MS) => eventually(async () => assert.equal(await text(page, '.title .badge'), wanted), limitMs);

/** A number that changes with what the live picture shows; null while it shows nothing. */
const picture = (page) => page.evaluate(() => {
  const canvas = document.querySelector('.screen canvas');
  if (!canvas || canvas.width < 2) return null;
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let hash = 0;
  for (let at = 0; at < data.length; at += 4) hash = (hash * 31 + data[at] * 7 + data[at + 1] * 3 + data[at + 2]) | 0;
  return data.some((value, index) => index % 4 !== 3 && value > 0) ? hash : null;
});

async function create(page, mode, more = async () => {}) {
  await page.click('#create');
  await page.check(`#create-dialog input[value=${mode}]`, { force: true });
  await more();
  await page.click('#create-dialog button[type=submit]');
  await page.waitForSelector('#create-dialog', { state: 'hidden' });
  return new URLSearchParams(new URL(page.url()).hash.slice(1)).get('session');
}

async function empty(page) {
  await check('an empty fleet says what to do next', async () => {
    await eventually(async () => assert.match(await text(page, '#status'), /^orchestrator \d/));
    assert.match(await text(page, '#sessions-empty'), /No session yet/);
    assert.match(await text(page, '#detail'), /neuro fleet watch/);
  });
  await check('pools fill with warm instances', () => eventually(async () => {
    assert.ok(await page.locator('.tile[data-state=idle]').count() >= 3);
  }, LONG_MS));
}

async function driven(page, server) {
  let id = '';
  await check('a session made on the page runs by itself', async () => {
    id = await create(page, 'manual');
    assert.match(id, /^[0-9a-f-]{36}$/);
    await phase(page, 'running');
    assert.equal((await json(`${server.url}/v1/sessions/${id}`)).phase, 'running');
  });
  await check('its picture is live', async () => {
    await eventually(async () => assert.notEqual(await picture(page), null));
  });
  await check('taking over is unmistakable', async () => {
    await page.click('.who .human');
    await eventually(async () => assert.match(await text(page, '.sign'), /You are driving/));
    await eventually(async () => assert.match(await text(page, '.sign small'), /WASD/));
    assert.equal((await json(`${server.url}/v1/sessions/${id}`)).controller, 'human');
  });
  await check('a held key moves the robot, and letting go stops it', async () => {
    const before = await picture(page);
    await page.keyboard.down('d');
    assert.equal(await page.getAttribute('[data-press=d]', 'data-on'), 'true');
    await eventually(async () => assert.notEqual(await picture(page), before));
    await page.waitForTimeout(600);
    await shot(page, 'driving');
    await page.keyboard.up('d');
    await eventually(async () => assert.ok((await json(`${server.url}/v1/sessions/${id}`)).last_command_ms > 0));
  });
  await check('the lease is renewed while somebody drives', async () => {
    await page.waitForTimeout(11_000);
    assert.match(await text(page, '.sign'), /You are driving/);
    assert.equal((await json(`${server.url}/v1/sessions/${id}`)).controller, 'human');
  });
  await check('Escape gives it back, and what was done is recorded', async () => {
    await page.keyboard.press('Escape');
    await page.waitForSelector('.sign', { state: 'hidden' });
    await eventually(async () => assert.notEqual((await json(`${server.url}/v1/sessions/${id}`)).controller, 'human'));
    await eventually(async () => assert.equal((await json(`${server.url}/v1/sessions/${id}/demonstrations`)).demonstrations.length, 1));
    await eventually(async () => assert.match(await text(page, '#detail'), /steps\.jsonl/));
  });
  await check('pause and go on', async () => {
    await page.click('.toolbar button:has-text("Pause")');
    await phase(page, 'paused');
    await page.click('.toolbar button:has-text("Go on")');
    await phase(page, 'running');
  });
  await check('a snapshot is kept', async () => {
    await page.click('.toolbar button:has-text("Snapshot")');
    await eventually(async () => assert.match(await text(page, '#toast'), /^Snapshot /));
  });
  await check('stop asks first, then gives the instance back', async () => {
    await page.click('.toolbar button:has-text("Stop")');
    await page.click('#confirm-dialog button[value=no]');
    assert.equal((await json(`${server.url}/v1/sessions/${id}`)).ended, false);
    await page.click('.toolbar button:has-text("Stop")');
    await page.click('#confirm-dialog button[value=yes]');
    await phase(page, 'stopped');
  });
}

async function trained(page, server, again) {
  let id = '';
  const points = () => page.evaluate(() => document.querySelector('.plot path')?.getAttribute('d')?.split('L').length ?? 0);
  const steps = () => page.evaluate(() => Number((document.querySelector('.axis span:last-child')?.textContent ?? '').replace(/[^0-9]/g, '')));
  await check('a training session shows its progress', async () => {
    id = await create(page, 'hybrid', async () => {
      await page.locator('#create-dialog input[type=number]').nth(0).fill('2');
      // Longer than this test.
      await page.locator('#create-dialog input[type=number]').nth(1).fill('100000');
    });
    await phase(page, 'running');
    await eventually(async () => assert.ok(await points() >= 3), LONG_MS);
    // At the pace of the clock from here on: at full speed it would take the processors from the browser.
    const paced = await fetch(`${server.url}/v1/sessions/${id}/start`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"real_time": true}',
    });
    assert.equal(paced.status, 200, await paced.text());
    assert.equal(await page.locator('.detail .table tbody tr').first().locator('td').nth(1).textContent(), 'trainer');
  });
  await check('a second one waits in the queue and says for what', async () => {
    const first = id;
    await create(page, 'training');
    await phase(page, 'queued');
    assert.match(await text(page, '.reason'), /Number 1 in the queue; waits for/);
    assert.equal(await page.locator('#queue li').count(), 1);
    await page.goto(`${server.url}/#session=${first}`);
    await phase(page, 'running');
  });
  for (const scheme of ['light', 'dark']) {
    await check(`names, labels and contrast are in order (${scheme})`, async () => {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await page.waitForTimeout(300);
      await shot(page, scheme);
      await assertAccessible(page, RULES);
    });
  }
  await check('a phone 400 px wide scrolls only down, the chosen session first', async () => {
    await page.setViewportSize({ width: 400, height: 800 });
    await shot(page, 'narrow');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400);
    assert.ok(await page.evaluate(() => document.querySelector('#detail').offsetTop < document.querySelector('.lists').offsetTop));
    await assertAccessible(page, RULES);
    await page.setViewportSize({ width: 1280, height: 900 });
  });
  await check('a killed orchestrator shows, and the page picks up where it was', async () => {
    const before = Number(await page.locator('.log .seq').last().textContent());
    const had = await steps();
    await server.kill();
    await eventually(async () => assert.match(await text(page, '#banner'), /Connection lost/));
    await shot(page, 'away');
    Object.assign(server, await again());
    await eventually(async () => assert.ok(await page.isHidden('#banner')), LONG_MS);
    await eventually(async () => assert.ok(['running', 'completed'].includes(await text(page, '.title .badge'))), LONG_MS);
    const seqs = await page.$$eval('.log .seq', (all) => all.map((one) => Number(one.textContent)));
    assert.ok(seqs.at(-1) >= before && seqs.every((seq, index) => index === 0 || seq > seqs[index - 1]), `${seqs}`);
    await eventually(async () => assert.ok(await steps() > had, `${await steps()} steps after ${had}`), LONG_MS);
  });
}

await mkdir(OUT, { recursive: true });
const binary = process.argv[2];
const folder = await mkdtemp(join(tmpdir(), 'neuro-fleet-'));
await writeFile(join(folder, 'fleet.toml'), POOLS);
const ports = { grpc: await freePort(), http: await freePort() };
const again = () => orchestrate(binary, folder, ports);
const server = await again();
const browser = await launch();
try {
  const { page, errors, requests } = await open(browser, `${server.url}/`);
  await empty(page);
  await driven(page, server);
  await check('the page made no console error', () => assert.deepEqual(errors, []));
  await trained(page, server, again);
  await check('nothing was uncaught', () => assert.deepEqual(errors.filter((error) => error.startsWith('uncaught')), []));
  await check('the page asked no other host', () => {
    const foreign = requests.filter((url) => !url.startsWith(`${server.url}/`) && !/^(blob|data):/.test(url));
    assert.deepEqual(foreign, []);
  });
} finally {
  await browser.close();
  await server.stop();
  await endInstances(folder);
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}
process.exit(total());
