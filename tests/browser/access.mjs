// What axe finds on a page.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Throws if axe finds a fault, or did not look at one of `rules`. */
export async function assertAccessible(page, rules) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
  const found = violations.map(({ id, nodes }) => `${id} at ${nodes.map((node) => node.target.join(' ')).join(', ')}`);
  assert.deepEqual(found, []);
  const looked = passes.map(({ id }) => id);
  for (const rule of rules) assert.ok(looked.includes(rule), `${rule} was not looked at`);
}
