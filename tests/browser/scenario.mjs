// What the playback page (static/scenario.html) must do: node scenario.mjs BINARY

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assertAccessible } from './access.mjs';
import { launch, open } from './browser.mjs';
import { check, eventually, total } from './checks.mjs';
import { clickTimeline, inked, linkOf, pause, pictureHash, pictureSize, settled, shownTime } from './scene_page.mjs';
import { ROOT, freePort, serve, startRenderer } from './server.mjs';

const OUT = fileURLToPath(new URL('out/', import.meta.url));
const SCENES = process.env.SCENES ?? 'scenes';
const MODEL = 'models/tiny';
const RULES = ['color-contrast', 'button-name', 'select-name', 'role-img-alt', 'aria-required-attr'];
const DESK = { width: 1440, height: 900 };

const shot = (page, name) => page.screenshot({ path: `${OUT}scenario-${name}.png` });
const scene = async (server) => (await fetch(`${server.url}/api/scene`)).json();
const playback = async (server) => (await fetch(`${server.url}/api/playback`)).json();
const at = (page, seconds, text) => eventually(async () => {
  const now = await shownTime(page);
  assert.ok(Math.abs(now - seconds) <= 0.002, `${text ?? 'the page'} stands at ${now}, not at ${seconds}`);
});

async function loads(page, server) {
  await check('without a scene the page offers those of the server', async () => {
    await page.waitForSelector('#picker .file');
    assert.match(await page.textContent('#picker-title'), /No scene is loaded/);
    const { files } = await (await fetch(`${server.url}/api/usdz-files`)).json();
    assert.equal(await page.locator('#picker .file').count(), files.length);
    await assertAccessible(page, ['color-contrast']);
    await shot(page, 'empty');
  });
  await check('a scene loads with a click, and every camera gets a picture', async () => {
    await page.locator('#picker .file').first().click();
    await page.waitForSelector('#picker', { state: 'hidden' });
    const { cameras, file } = await scene(server);
    await eventually(async () => assert.equal(await page.locator('#grid .cell.drawn').count(), Math.min(cameras.length, 6)));
    assert.equal(await page.textContent('#scene-name'), file.split('/').at(-1));
    assert.equal(await shownTime(page), 0);
  });
  await check('the scene panel says what the scene has', async () => {
    const { cameras, sequence_id: sequence } = await scene(server);
    await page.click('#tab-facts');
    const text = await page.textContent('#panel-facts');
    assert.ok(text.includes(sequence) && text.includes(cameras[0].resolution.join(' × ')), text);
    await page.click('#tab-tracks');
    await page.evaluate(() => document.activeElement.blur());
  });
}

async function plays(page, server) {
  await check('Space plays: time and pictures advance, at more than one frame a second', async () => {
    const before = await pictureHash(page);
    await page.keyboard.press('Space');
    await eventually(async () => assert.ok(await shownTime(page) > 0.5, 'time stands still'));
    assert.notEqual(await pictureHash(page), before, 'the picture stands still');
    await eventually(async () => assert.ok(Number(await page.textContent('#fps')) > 1, `${await page.textContent('#fps')} fps`));
    assert.match(await page.textContent('#latency'), /^\d+ \/ \d+$/);
    assert.equal((await playback(server)).is_playing, true);
  });
  await check('Space pauses, and the page stands at the clock of the server', async () => {
    await page.keyboard.press('Space');
    const now = await settled(page);
    const { is_playing: playing, seconds_since_start: seconds } = await playback(server);
    assert.equal(playing, false);
    assert.ok(Math.abs(seconds - now) <= 0.002, `${seconds} on the server, ${now} on the page`);
  });
  await check('a click on the timeline seeks, and seeking back shows the same picture again', async () => {
    const { start_us: start, end_us: end } = await scene(server);
    const length = (end - start) / 1e6;
    await clickTimeline(page, 0.5);
    const middle = await settled(page);
    assert.ok(Math.abs(middle - length / 2) < length * 0.02, `${middle} of ${length}`);
    await page.keyboard.press('Home');
    await at(page, 0);
    await settled(page);
    const first = await pictureHash(page);
    await page.keyboard.press('End');
    await at(page, Math.floor(length * 1000) / 1000);
    await settled(page);
    assert.notEqual(await pictureHash(page), first);
    await page.keyboard.press('Home');
    await at(page, 0);
    await settled(page);
    assert.equal(await pictureHash(page), first);
  });
  await check('a drag over the timeline scrubs and ends where the pointer was let go', async () => {
    const box = await page.locator('#timeline').boundingBox();
    const { start_us: start, end_us: end } = await scene(server);
    await page.mouse.move(box.x + box.width * 0.1, box.y + 40);
    await page.mouse.down();
    for (let percent = 10; percent <= 70; percent += 5) await page.mouse.move(box.x + (box.width * percent) / 100, box.y + 40);
    await page.mouse.up();
    const now = await settled(page);
    assert.ok(Math.abs(now - 0.7 * ((end - start) / 1e6)) < 0.3 + (end - start) / 5e7, `${now}`);
    await page.mouse.move(box.x, box.y - 200);
  });
  await check('keys step by frame, by 100 ms and by 1 s, forward and back', async () => {
    const { frame_timestamps_us: frames, start_us: start } = await scene(server);
    const step = async (key, seconds) => { await page.keyboard.press(key); await at(page, seconds, key); };
    const floor = (us) => Math.floor(us / 1000) / 1000;
    await step('Home', 0);
    await step('Shift+ArrowRight', 1);
    await step('ArrowRight', 1.1);
    await step('ArrowLeft', 1);
    const next = frames.find((us) => us - start > 1e6);
    if (next !== undefined) {
      const before = frames.findLast((us) => us - start < 1e6);
      await step('.', floor(next - start));
      await step(',', floor((frames[frames.indexOf(next) - 1] ?? before) - start));
    }
    await step('Home', 0);
    await step('Shift+ArrowLeft', 0);
  });
  await check('speed goes up and down by key and reaches the server', async () => {
    await page.keyboard.press('+');
    assert.equal(await page.inputValue('#speed'), '1.5');
    await page.keyboard.press('Space');
    await eventually(async () => assert.equal((await playback(server)).speed, 1.5));
    await page.keyboard.press('-');
    await eventually(async () => assert.equal((await playback(server)).speed, 1));
    await pause(page);
  });
}

async function loops(page, server) {
  await check('[ and ] make a loop that playing does not leave', async () => {
    await page.keyboard.press('Home');
    await at(page, 0);
    await page.keyboard.press('Shift+ArrowRight');
    await at(page, 1);
    await page.keyboard.press('[');
    await page.keyboard.press('Shift+ArrowRight');
    await at(page, 2);
    await page.keyboard.press(']');
    const { start_us: start } = await scene(server);
    await eventually(async () => assert.deepEqual((await playback(server)).loop, { start_us: start + 1e6, end_us: start + 2e6 }));
    await page.keyboard.press('Space');
    const seen = [];
    const end = Date.now() + 3000;
    while (Date.now() < end) { seen.push(await shownTime(page)); await page.waitForTimeout(60); }
    await pause(page);
    assert.ok(seen.every((now) => now >= 0.99 && now <= 2.01), `left the loop: ${Math.min(...seen)} to ${Math.max(...seen)}`);
    assert.ok(seen.some((now, index) => now < seen[index - 1]), 'never came round');
  });
  await check('L turns it off and on again', async () => {
    await page.keyboard.press('l');
    await eventually(async () => assert.equal((await playback(server)).loop, null));
    await page.waitForSelector('#loop[aria-pressed=false]');
    await page.keyboard.press('l');
    await eventually(async () => assert.notEqual((await playback(server)).loop, null));
    await page.waitForSelector('#loop[aria-pressed=true]');
  });
}

async function selects(page, server) {
  await check('a click in the list selects a track, with its size and its path', async () => {
    const row = page.locator('#tracks li').first();
    const id = await row.getAttribute('data-track');
    await row.locator('button').click();
    const { tracks } = await scene(server);
    const { class: kind, dimensions_m: [length] } = tracks.find((track) => track.id === id);
    await page.waitForSelector('#details:visible');
    const said = await page.textContent('#details');
    assert.ok(said.includes(kind.replaceAll('_', ' ')) && said.includes(`${length.toFixed(1)} ×`), said);
    await eventually(() => assert.equal(linkOf(page).sel, id));
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('Escape');
    assert.ok(await page.isHidden('#details'));
  });
  await check('a click on the map selects the track under the pointer', async () => {
    // Following a track puts it in the middle of the map: there it can be found, deselected and hit again.
    await page.keyboard.press('n');
    await page.waitForSelector('#details:visible');
    await eventually(() => assert.ok(linkOf(page).sel));
    const { sel } = linkOf(page);
    await page.click('#bev-follow');
    assert.equal(await page.getAttribute('#bev-follow', 'aria-pressed'), 'false');
    const middle = await page.locator('#bev').boundingBox();
    const click = () => page.mouse.click(middle.x + middle.width / 2, middle.y + middle.height / 2);
    await click();
    await page.waitForSelector('#details', { state: 'hidden' });
    await click();
    await eventually(() => assert.equal(linkOf(page).sel, sel));
    await page.keyboard.press('f');
  });
  await check('the chosen class alone is listed', async () => {
    const chip = page.locator('#classes .chip').nth(1);
    if (await chip.count() === 0) return;
    await chip.click();
    const kind = (await chip.innerText()).replace(/\s*\d+$/, '').trim();
    await eventually(async () => {
      const kinds = await page.$$eval('#tracks .kind', (all) => all.map((one) => one.textContent));
      assert.ok(kinds.every((one) => one === kind), `${kinds} with ${kind} chosen`);
    });
    await chip.click();
    await page.evaluate(() => document.activeElement.blur());
  });
}

async function views(page, server) {
  await check('O asks for cuboids, and lines appear over a picture', async () => {
    await page.keyboard.press('Escape');
    await page.keyboard.press('o');
    await eventually(async () => {
      const counts = await page.$$eval('#grid .cell', (cells) => cells.map((cell) => Number(cell.dataset.cuboids)));
      const busy = counts.findIndex((count) => count > 0);
      assert.ok(busy >= 0, `cuboids: ${counts}`);
      assert.ok(await inked(page, `#grid .cell:nth-child(${busy + 1}) .lines`), 'nothing is drawn');
    });
  });
  await check('B takes the moving objects out of the pictures', async () => {
    await settled(page);
    const hashes = async () => Promise.all((await page.locator('#grid .cell').all()).map((_, index) => pictureHash(page, index)));
    const before = await hashes();
    await page.keyboard.press('b');
    await eventually(async () => assert.notDeepEqual(await hashes(), before));
    await page.keyboard.press('b');
    await eventually(async () => assert.deepEqual(await hashes(), before));
  });
  await check('quality changes the size of the pictures', async () => {
    const { cameras: [{ resolution }] } = await scene(server);
    for (const [quality, scale] of [['high', 0.5], ['low', 0.15], ['medium', 0.25]]) {
      await page.selectOption('#quality', quality);
      await eventually(async () => {
        const [width] = await pictureSize(page);
        assert.ok(Math.abs(width - resolution[0] * scale) <= 1, `${width} px wide at ${quality}`);
      });
    }
    await page.evaluate(() => document.activeElement.blur());
  });
  await check('a number makes a camera large, 0 makes all alike; a chip takes one away', async () => {
    await page.keyboard.press('2');
    assert.ok(await page.locator('#grid .cell').nth(1).evaluate((cell) => cell.classList.contains('focused')));
    await page.keyboard.press('0');
    assert.equal(await page.locator('#grid .cell.focused').count(), 0);
    const count = await page.locator('#grid .cell').count();
    await page.locator('#camera-chips .chip').last().click();
    assert.equal(await page.locator('#grid .cell').count(), count - 1);
    await page.locator('#camera-chips .chip').last().click();
    await eventually(async () => assert.equal(await page.locator('#grid .cell.drawn').count(), count));
    await page.evaluate(() => document.activeElement.blur());
  });
  await check('? shows every key, and Escape closes it', async () => {
    await page.keyboard.press('?');
    await page.waitForSelector('#help-dialog[open]');
    const text = await page.textContent('#help-dialog');
    for (const key of ['Space', 'Shift ←', 'Home', '1 … 9', 'copy a link']) assert.ok(text.includes(key), key);
    await assertAccessible(page, ['color-contrast']);
    await page.keyboard.press('Escape');
    await page.waitForSelector('#help-dialog', { state: 'hidden' });
  });
}

async function takesAlong(browser, page, server) {
  await check('the address alone restores the view in another page', async () => {
    await page.keyboard.press('n');
    await page.keyboard.press('h');
    await page.keyboard.press('1');
    await page.keyboard.press('ArrowRight');
    await settled(page);
    await page.waitForTimeout(600);
    const link = linkOf(page);
    for (const key of ['f', 't', 'cams', 'focus', 'loop', 'sel', 'boxes', 'view']) assert.ok(link[key], `${key} is not in ${page.url()}`);
    // Elsewhere meanwhile, so that the link has something to do.
    await fetch(`${server.url}/api/playback/seek`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"seconds":0}' });
    const other = await open(browser, page.url(), { viewport: DESK });
    await eventually(async () => assert.ok(Math.abs(await shownTime(other.page) - Number(link.t)) < 0.002, `${await shownTime(other.page)} for ${link.t}`));
    await settled(other.page);
    await other.page.waitForTimeout(600);
    assert.deepEqual(linkOf(other.page), link);
    assert.ok(await other.page.isVisible('#details'));
    assert.equal(await other.page.getAttribute('#overlay', 'aria-pressed'), 'true');
    assert.deepEqual(other.errors, []);
    await other.page.context().close();
    await page.keyboard.press('0');
    await page.keyboard.press('h');
  });
  await check('Link and Frame fill the clipboard', async () => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url });
    await page.keyboard.press('c');
    await eventually(async () => assert.equal(await page.evaluate(() => navigator.clipboard.readText()), page.url()));
    await page.keyboard.press('p');
    await eventually(async () => assert.deepEqual(await page.evaluate(async () => (await navigator.clipboard.read())[0].types), ['image/png']));
  });
  await check('the export dialog leads to a download of the loop', async () => {
    await page.keyboard.press('e');
    await page.waitForSelector('#export-dialog[open]');
    await assertAccessible(page, ['color-contrast', 'label']);
    await page.check('#export-dialog input[value=csv]');
    const href = new URL(await page.getAttribute('#export-download', 'href'));
    const { start_us: start } = await scene(server);
    assert.equal(href.pathname, '/api/export');
    assert.equal(href.searchParams.get('format'), 'csv');
    assert.equal(Number(href.searchParams.get('start_us')), start + 1e6);
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#export-download')]);
    assert.ok(await download.path(), await download.failure());
    await page.keyboard.press('Escape');
  });
}

async function sessions(page, server) {
  await check('a new session has a clock and a scene of its own', async () => {
    await page.keyboard.press('Escape');
    const before = await playback(server);
    await page.selectOption('#session', '+');
    await page.waitForSelector('#picker .file');
    await eventually(() => assert.ok(linkOf(page).s, page.url()));
    const { s: name } = linkOf(page);
    await page.locator('#picker .file').first().click();
    await page.waitForSelector('#grid .cell.drawn');
    await at(page, 0);
    await page.keyboard.press('Shift+ArrowRight');
    await at(page, 1);
    const own = await (await fetch(`${server.url}/api/sessions/${name}/playback`)).json();
    assert.equal(own.seconds_since_start, 1);
    assert.deepEqual(await playback(server), before);
    await page.selectOption('#session', 'default');
    await page.waitForSelector('#grid .cell.drawn');
    await at(page, Math.floor(before.seconds_since_start * 1000) / 1000);
    await eventually(() => assert.equal(linkOf(page).s, undefined));
  });
}

async function looks(page) {
  await check('labels, names and contrast are in order: dark, light, narrow', async () => {
    await page.keyboard.press('Escape');
    for (const scheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await settled(page);
      await shot(page, scheme);
      await assertAccessible(page, RULES);
    }
    await page.setViewportSize({ width: 400, height: 800 });
    await settled(page);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400);
    await page.screenshot({ path: `${OUT}scenario-narrow.png`, fullPage: true });
    await assertAccessible(page, RULES);
    await page.setViewportSize(DESK);
    await settled(page);
  });
}

async function picture(page) {
  await check('docs/scenario.png is taken', async () => {
    await page.click('#loop');
    await clickTimeline(page, 0.45);
    await settled(page);
    await page.keyboard.press('n');
    await page.click('#play');
    await page.waitForTimeout(2500);
    await pause(page);
    await settled(page);
    await page.screenshot({ path: join(ROOT, 'docs/scenario.png') });
  });
}

async function embedded(browser, server) {
  const { page, errors, requests } = await open(browser, `${server.url}/scenario`, { viewport: DESK, colorScheme: 'dark' });
  await loads(page, server);
  await plays(page, server);
  await loops(page, server);
  await selects(page, server);
  await views(page, server);
  await takesAlong(browser, page, server);
  await sessions(page, server);
  await looks(page);
  await picture(page);
  await check('the two pages lead to each other', async () => {
    await page.click('text=Policy');
    await page.waitForURL(`${server.url}/`);
    await page.click('text=Playback');
    await page.waitForURL(/\/scenario/);
    await page.waitForSelector('#grid .cell.drawn');
  });
  await check('the page made no console error and asked no other host', () => {
    assert.deepEqual(errors, []);
    assert.deepEqual(requests.filter((url) => !url.startsWith(`${server.url}/`) && !/^(blob|data):/.test(url)), []);
  });
  await check('a lost server shows, and the page says that it tries again', async () => {
    await server.stop();
    await eventually(async () => assert.match(await page.textContent('#banner'), /Connection lost/));
    assert.match(await page.textContent('#status'), /trying again/);
  });
}

async function away(browser, binary, port, server) {
  const { page } = await open(browser, `${server.url}/scenario`, { viewport: DESK, colorScheme: 'dark' });
  await check('a renderer that is away is named, with what to check, and the map goes on', async () => {
    await page.locator('#picker .file').first().click();
    await eventually(async () => assert.match(await page.textContent('#banner'), /The renderer is away/), 60_000);
    assert.match(await page.textContent('#banner'), new RegExp(String(port)));
    assert.ok(await page.locator('#grid .problem:visible').count() > 0);
    // At the very first instant nobody may be there yet.
    await page.keyboard.press('Shift+ArrowRight');
    await eventually(async () => assert.ok(await page.locator('#tracks li').count() > 0, 'no track is listed'));
    await shot(page, 'away');
    await assertAccessible(page, ['color-contrast']);
  });
  let renderer = await startRenderer(binary, port, SCENES);
  try {
    await check('pictures come by themselves once it listens', async () => {
      await page.waitForSelector('#grid .cell.drawn:not(.failed)', { timeout: 60_000 });
      await page.waitForSelector('#banner', { state: 'hidden' });
    });
    await check('killed while playing it is missed, and found again when it is back', async () => {
      await page.keyboard.press('l');
      await page.keyboard.press('Space');
      await renderer.stop();
      await eventually(async () => assert.match(await page.textContent('#banner'), /The renderer is away/), 60_000);
      renderer = await startRenderer(binary, port, SCENES);
      await page.waitForSelector('#banner', { state: 'hidden', timeout: 60_000 });
      await eventually(async () => assert.equal(await page.locator('#grid .cell.failed').count(), 0));
    });
  } finally {
    await renderer.stop();
  }
}

await mkdir(OUT, { recursive: true });
const binary = process.argv[2];
const browser = await launch();
try {
  const server = await serve(binary, MODEL, ['--scenes', SCENES]);
  try {
    await embedded(browser, server);
  } finally {
    await server.stop();
  }
  const port = await freePort();
  const blind = await serve(binary, MODEL, ['--scenes', SCENES, '--renderer', 'external', '--nurec', `127.0.0.1:${port}`]);
  try {
    await away(browser, binary, port, blind);
  } finally {
    await blind.stop();
  }
} finally {
  await browser.close();
}
process.exitCode = total();
