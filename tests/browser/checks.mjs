// Named checks that go on after one fails.

import { stripVTControlCharacters } from 'node:util';

let passed = 0;
let failed = 0;

export async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}: ${stripVTControlCharacters(error.message).replaceAll(/\s+/g, ' ')}`);
  }
}

/** Tries `body` until it no longer throws; its last error after `limitMs`. */
export async function eventually(body, limitMs = 20_000) {
  const end = Date.now() + limitMs;
  for (;;) {
    try {
      return await body();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((resume) => { setTimeout(resume, 50); });
  }
}

/** Prints the closing line; the exit status. */
export function total() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}
