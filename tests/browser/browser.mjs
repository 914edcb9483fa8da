// Debian's Chromium, and a page that remembers what went wrong on it.

import { chromium } from 'playwright-core';

// Without the last four, Chromium talks to hosts of its maker's at every start.
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** A name that leads to loopback without being loopback to the browser, as a robot's address in the lab. */
export const ELSEWHERE = 'robot.test';

export function launch() {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: [...FLAGS, `--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`],
  });
}

/** Opens `url`; `errors` and `requests` gather what the console said and which addresses were asked. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const errors = [];
  const requests = [];
  page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
  page.on('pageerror', (error) => errors.push(`uncaught: ${error.message}`));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(url);
  return { page, errors, requests };
}
