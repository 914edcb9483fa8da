// What the policy page (static/index.html) must do: node policy.mjs BINARY

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assertAccessible } from './access.mjs';
import { ask, assertDrawn, sameDrawing } from './action.mjs';
import { ELSEWHERE, launch, open } from './browser.mjs';
import { check, eventually, total } from './checks.mjs';
import { ROOT, serve } from './server.mjs';

const OUT = fileURLToPath(new URL('out/', import.meta.url));

const BLUE = { text: 'take the blue cube', camera: 'static/samples/blue-cube.png' };
const YELLOW = { text: 'pick up the yellow ball', camera: 'static/samples/yellow-ball.png', touch: 'static/samples/yellow-ball-touch.png' };

const sample = (page, text) => page.locator('#samples button', { hasText: text });
const shot = (page, name) => page.screenshot({ path: `${OUT}${name}.png`, fullPage: true });

const RULES = ['label', 'image-alt', 'color-contrast'];

async function tabletop(browser, server) {
  const { page, errors, requests } = await open(browser, server.url);
  const drawn = (action) => eventually(() => assertDrawn(page, action));

  await check('the status says ready and which model', () => eventually(async () => {
    assert.match(await page.textContent('#status'), /^ready: tabletop on /);
  }));
  await check('the first sample leads to the action of POST /predict', async () => {
    await drawn(await ask(server.url, BLUE.camera, BLUE.text));
  });
  await check('a sample with touch changes the action, and the touch is sent', async () => {
    const felt = await ask(server.url, YELLOW.camera, YELLOW.text, YELLOW.touch);
    assert.ok(!sameDrawing(felt, await ask(server.url, YELLOW.camera, YELLOW.text)), 'this touch picture changes nothing');
    assert.ok(!sameDrawing(felt, await ask(server.url, BLUE.camera, BLUE.text)), 'the two samples have one action');
    await sample(page, YELLOW.text).click();
    await drawn(felt);
    assert.match(await page.textContent('#curl'), /tactile=@/);
  });
  await check('touch can be taken away again', async () => {
    await page.click('#touch-remove');
    await drawn(await ask(server.url, YELLOW.camera, YELLOW.text));
    assert.ok(await page.isHidden('#touch-remove'));
  });
  await check('Enter in the instruction predicts', async () => {
    const other = await ask(server.url, YELLOW.camera, BLUE.text);
    assert.ok(!sameDrawing(other, await ask(server.url, YELLOW.camera, YELLOW.text)), 'the instruction changes nothing');
    await page.fill('#instruction', BLUE.text);
    await page.press('#instruction', 'Enter');
    await drawn(other);
  });
  await check('every input counts with this model', async () => {
    assert.equal(await page.locator('#model .chip').count(), 3);
    assert.equal(await page.locator('#model .chip.off').count(), 0);
    assert.equal(await page.locator('#warnings li').count(), 0);
  });
  await check('the page made no console error', () => assert.deepEqual(errors, []));
  await check('the page asked no other host', () => {
    assert.ok(requests.some((url) => url === `${server.url}/predict`), 'no request was seen');
    const foreign = requests.filter((url) => !url.startsWith(`${server.url}/`) && !/^(blob|data):/.test(url));
    assert.deepEqual(foreign, []);
  });
  for (const scheme of ['light', 'dark']) {
    await check(`labels, alternative texts and contrast are in order (${scheme})`, async () => {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await sample(page, YELLOW.text).click();
      await drawn(await ask(server.url, YELLOW.camera, YELLOW.text, YELLOW.touch));
      await shot(page, scheme);
      await assertAccessible(page, RULES);
    });
  }
  await check('a phone 400 px wide scrolls only down', async () => {
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize({ width: 400, height: 800 });
    await shot(page, 'narrow');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400);
    await page.setViewportSize({ width: 1280, height: 900 });
  });
  await check('a broken picture gives a readable error', async () => {
    await page.setInputFiles('#camera', { name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('not a picture\n') });
    await page.waitForSelector('#error:visible');
    const said = await page.textContent('#error');
    assert.match(said, /cannot identify the image/);
    assert.doesNotMatch(said, /[{}]|undefined|object/);
    await shot(page, 'broken');
  });
  await check('the page goes on working after it', async () => {
    await sample(page, BLUE.text).click();
    await drawn(await ask(server.url, BLUE.camera, BLUE.text));
    assert.ok(await page.isHidden('#error'));
  });
  await check('a camera file of one\'s own is predicted from', async () => {
    const own = 'models/tabletop/golden/05.png';
    await page.setInputFiles('#camera', join(ROOT, own));
    await drawn(await ask(server.url, own, BLUE.text));
    assert.match(await page.textContent('#curl'), /image=@05\.png/);
  });
  await check('Copy fills the clipboard', async () => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url });
    await page.click('#copy');
    await eventually(async () => assert.equal(await page.textContent('#copy'), 'Copied'));
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.textContent('#curl'));
  });
  await check('where the browser has no clipboard, Copy selects the text', async () => {
    const away = await open(browser, server.url.replace('127.0.0.1', ELSEWHERE));
    assert.equal(await away.page.evaluate(() => isSecureContext), false);
    await eventually(async () => assert.match(await away.page.textContent('#curl'), /robot\.test/));
    await away.page.click('#copy');
    await eventually(async () => assert.match(await away.page.textContent('#copy'), /Ctrl\+C/));
    assert.equal(await away.page.evaluate(() => getSelection().toString()), await away.page.textContent('#curl'));
    assert.deepEqual(away.errors, []);
    await away.page.context().close();
  });
  await check('a lost server shows', async () => {
    await server.stop();
    await eventually(async () => assert.match(await page.textContent('#status'), /does not answer/));
    await page.click('#ask');
    await eventually(async () => assert.match(await page.textContent('#error'), /did not answer/));
    await sample(page, YELLOW.text).click();
    await eventually(async () => assert.match(await page.textContent('#error'), /could not be fetched/));
    assert.deepEqual(errors.filter((error) => error.startsWith('uncaught')), []);
    await shot(page, 'gone');
  });
}

async function tiny(browser, server) {
  const { page } = await open(browser, server.url);
  await check('a model that ignores the instruction warns', () => eventually(async () => {
    assert.match(await page.textContent('#warnings'), /the instruction cannot change it/);
  }));
  await check('its chips say that instruction and touch do not count', () => eventually(async () => {
    assert.match(await page.textContent('#status'), /^ready: tiny on /);
    const chips = await page.$$eval('#model .chip', (all) => all.map((chip) => [chip.firstChild.textContent, chip.classList.contains('off')]));
    assert.deepEqual(chips, [['image', false], ['instruction', true], ['touch', true]]);
  }));
  await check('the warning is in order too', async () => {
    await shot(page, 'tiny');
    await assertAccessible(page, RULES);
  });
}

await mkdir(OUT, { recursive: true });
const binary = process.argv[2];
const browser = await launch();
try {
  for (const [model, checks] of [['models/tabletop', tabletop], ['models/tiny', tiny]]) {
    const server = await serve(binary, model);
    try {
      await checks(browser, server);
    } finally {
      await server.stop();
    }
  }
} finally {
  await browser.close();
}
process.exitCode = total();
