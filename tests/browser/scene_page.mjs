// The playback page as a test sees it: its times, its pictures and its address.

import assert from 'node:assert/strict';
import { eventually } from './checks.mjs';

/** Elapsed seconds the page shows. */
export async function shownTime(page) {
  const [minutes, seconds] = (await page.textContent('#time')).split(':');
  return Number(minutes) * 60 + Number(seconds);
}

/** A number that changes with what a camera's canvas shows; null while it shows nothing. */
export function pictureHash(page, index = 0) {
  return page.evaluate((place) => {
    const cell = document.querySelectorAll('#grid .cell')[place];
    if (!cell?.classList.contains('drawn')) return null;
    const canvas = cell.querySelector('.picture');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let hash = 0;
    for (let at = 0; at < data.length; at += 4) hash = (hash * 31 + data[at] * 7 + data[at + 1] * 3 + data[at + 2]) | 0;
    return hash;
  }, index);
}

export const pictureSize = (page, index = 0) => page.evaluate((place) => {
  const { width, height } = document.querySelectorAll('#grid .cell .picture')[place];
  return [width, height];
}, index);

/** Whether anything is drawn on a transparent canvas. */
export const inked = (page, selector) => page.evaluate((which) => {
  const canvas = document.querySelector(which);
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value, index) => index % 4 === 3 && value > 0);
}, selector);

/** The address's state, as a plain object. */
export function linkOf(page) {
  return Object.fromEntries(new URLSearchParams(new URL(page.url()).hash.slice(1)));
}

/** Waits until the page stands still at one instant, shown and drawn; that instant in seconds. */
export async function settled(page) {
  let last = null;
  await eventually(async () => {
    const now = JSON.stringify([await shownTime(page), await pictureHash(page)]);
    const same = now === last && !now.includes('null');
    last = now;
    await page.waitForTimeout(250);
    assert.ok(same, `still moving: ${now}`);
  });
  return shownTime(page);
}

export async function pause(page) {
  if (await page.getAttribute('#play', 'aria-label') === 'Pause') await page.click('#play');
  await eventually(async () => assert.equal(await page.getAttribute('#play', 'aria-label'), 'Play'));
  await page.evaluate(() => document.activeElement?.blur());
}

/** Clicks the timeline at a share of its length. */
export async function clickTimeline(page, share) {
  const box = await page.locator('#timeline').boundingBox();
  await page.mouse.click(box.x + box.width * share, box.y + box.height / 2);
  await page.mouse.move(box.x + 5, box.y - 200);
}
