// An action as the server answers it and as the page draws it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from './server.mjs';

const NAMES = ['dx', 'dy', 'dz', 'droll', 'dpitch', 'dyaw', 'gripper'];

/** Units the page prints per unit on the wire (metres, radians, 0 to 1), and half of its last printed digit. */
const PRINTED = NAMES.map((name) => (name === 'gripper' ? { scale: 1, half: 0.0005 } : { scale: 1000, half: 0.005 }));

/** Asks `POST /predict` past the page; `camera` and `touch` are files under the root. */
export async function ask(url, camera, instruction, touch) {
  const picture = async (file) => new Blob([await readFile(join(ROOT, file))], { type: 'image/png' });
  const body = new FormData();
  body.append('image', await picture(camera), 'camera.png');
  body.append('instruction', instruction);
  if (touch) {
    body.append('tactile', await picture(touch), 'touch.png');
    body.append('use_dummy_tactile', 'false');
  }
  const answer = await (await fetch(`${url}/predict`, { method: 'POST', body })).json();
  assert.equal(answer.success, true, `POST /predict: ${JSON.stringify(answer)}`);
  assert.equal(answer.action.length, NAMES.length);
  return answer.action;
}

/** The rows of the page's action panel: `[name, text]`. */
export function rows(page) {
  return page.$$eval('#action .row', (all) => all.map((row) => [...row.querySelectorAll('.name, .value')].map((cell) => cell.textContent)));
}

/** Throws unless the page draws `action`, to the digits it prints. */
export async function assertDrawn(page, action) {
  const drawn = await rows(page);
  assert.deepEqual(drawn.map(([name]) => name), NAMES);
  action.forEach((value, index) => {
    const [name, text] = drawn[index];
    const { scale, half } = PRINTED[index];
    assert.ok(Math.abs(Number.parseFloat(text) - value * scale) <= half * 1.001, `${name} is drawn as ${text}, the server said ${value}`);
  });
}

/** Whether the page would draw the two alike. */
export function sameDrawing(left, right) {
  return left.every((value, index) => Math.abs(value - right[index]) * PRINTED[index].scale <= 2 * PRINTED[index].half);
}
