// The policy page: show the model, send an observation, draw the action. No build step, no library.

import { ask } from './credentials.js';
import { $, element, wait } from './dom.js';

const AXES = [
  { name: 'dx', unit: 'mm', scale: 1000, full: 0.03 },
  { name: 'dy', unit: 'mm', scale: 1000, full: 0.03 },
  { name: 'dz', unit: 'mm', scale: 1000, full: 0.03 },
  { name: 'droll', unit: 'mrad', scale: 1000, full: 0.1 },
  { name: 'dpitch', unit: 'mrad', scale: 1000, full: 0.1 },
  { name: 'dyaw', unit: 'mrad', scale: 1000, full: 0.1 },
];

const STAGES = [
  ['decode', '#64748b'], ['resize', '#0891b2'], ['queue', '#a16207'],
  ['tactile', '#be185d'], ['vision', '#1d4ed8'], ['decoder', '#6d28d9'],
];

const SAMPLES = [
  { text: 'take the blue cube', camera: 'static/samples/blue-cube.png' },
  { text: 'lift the red ball', camera: 'static/samples/red-ball.png' },
  { text: 'pick up the yellow ball', camera: 'static/samples/yellow-ball.png', touch: 'static/samples/yellow-ball-touch.png' },
];

const chosen = { camera: null, touch: null };
const names = { camera: 'camera.png', touch: 'touch.png' };
let asked = 0;

function show(kind, blob, name = `${kind}.png`) {
  const view = $(`${kind}-view`);
  if (view.src) URL.revokeObjectURL(view.src);
  chosen[kind] = blob;
  names[kind] = name;
  if (blob) view.src = URL.createObjectURL(blob);
  else view.removeAttribute('src');
  $(`${kind}-drop`).classList.remove('unshown');
  if (kind === 'touch') $('touch-remove').hidden = !blob;
  drawCurl();
}

function watchDrop(kind) {
  const area = $(`${kind}-drop`);
  const take = (file) => { if (file) { show(kind, file, file.name); predict(); } };
  $(kind).addEventListener('change', (event) => {
    take(event.target.files[0]);
    event.target.value = '';
  });
  // The server reads formats that some browsers do not (TIFF), so a picture that cannot be shown may still be sent.
  $(`${kind}-view`).addEventListener('error', () => area.classList.add('unshown'));
  area.addEventListener('dragover', (event) => { event.preventDefault(); area.classList.add('over'); });
  area.addEventListener('dragleave', () => area.classList.remove('over'));
  area.addEventListener('drop', (event) => {
    event.preventDefault();
    area.classList.remove('over');
    take(event.dataTransfer.files[0]);
  });
}

async function useSample(sample) {
  const fetchBlob = async (url) => (url ? (await fetch(url)).blob() : null);
  try {
    const [camera, touch] = await Promise.all([fetchBlob(sample.camera), fetchBlob(sample.touch)]);
    $('instruction').value = sample.text;
    show('camera', camera);
    show('touch', touch);
  } catch (error) {
    fail(`The sample could not be fetched: ${error.message}`);
    return;
  }
  await predict();
}

function drawSamples() {
  for (const sample of SAMPLES) {
    const button = document.createElement('button');
    button.type = 'button';
    const picture = document.createElement('img');
    picture.src = sample.camera;
    picture.alt = '';
    button.append(picture, sample.text);
    button.addEventListener('click', () => useSample(sample));
    $('samples').append(button);
  }
}

function row(name, value, from, width, minus, unit) {
  const line = element('div', 'row');
  const bar = element('div', unit ? 'bar unit' : 'bar');
  const fill = element('i', minus ? 'minus' : '');
  fill.style.left = `${from}%`;
  fill.style.width = `${width}%`;
  bar.append(fill);
  line.append(element('span', 'name', name), bar, element('span', 'value', value));
  return line;
}

/** One arrow in a plane of the tool's own frame: across and up, in metres. */
function arrow(title, [acrossName, across], [upName, up]) {
  const space = 'http://www.w3.org/2000/svg';
  const shape = (tag, attributes, text) => {
    const made = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text) made.textContent = text;
    return made;
  };
  const figure = element('figure');
  const svg = shape('svg', { viewBox: '-100 -60 200 120', role: 'img', 'aria-label': `${title}: ${acrossName} ${(across * 1000).toFixed(1)} mm, ${upName} ${(up * 1000).toFixed(1)} mm` });
  const [x, y] = [across, -up].map((value) => Math.max(-1, Math.min(1, value / AXES[0].full)) * 52);
  svg.append(
    shape('path', { class: 'axis', d: 'M-92 0H92M0 -56V56' }),
    shape('text', { x: 80, y: -5 }, acrossName),
    shape('text', { x: 5, y: -48 }, upName),
    shape('path', { class: 'arrow', d: `M0 0L${x} ${y}` }),
  );
  const angle = (Math.atan2(y, x) * 180) / Math.PI;
  if (Math.hypot(x, y) > 1) svg.append(shape('path', { class: 'head', d: 'M6 0L-5 -5.5V5.5Z', transform: `translate(${x} ${y}) rotate(${angle})` }));
  figure.append(svg, element('figcaption', '', title));
  return figure;
}

function drawAction(action) {
  const rows = AXES.map((axis, index) => {
    const value = action[index];
    const share = Math.min(Math.abs(value) / axis.full, 1) * 50;
    const text = `${(value * axis.scale).toFixed(2).replace(/^-(0\.00)$/, '$1')} ${axis.unit}`;
    return row(axis.name, text, value < 0 ? 50 - share : 50, share, value < 0, false);
  });
  const grip = action[6];
  const share = Math.min(Math.max(grip, 0), 1) * 100;
  rows.push(row('gripper', `${grip.toFixed(3)} ${grip > 0.5 ? 'closed' : 'open'}`, 0, share, false, true));
  const arrows = element('div', 'arrows');
  arrows.append(
    arrow('in the plane x, y', ['dx', action[0]], ['dy', action[1]]),
    arrow('in the plane x, z', ['dx', action[0]], ['dz', action[2]]),
  );
  $('action').replaceChildren(arrows, ...rows);
  $('act').classList.remove('stale');
}

function drawTimings(timings, cached, roundTripMs) {
  const parts = STAGES.filter(([stage]) => timings[stage] > 0);
  $('timings').replaceChildren(...parts.map(([stage, colour]) => {
    const part = element('i');
    part.style.flex = `${timings[stage]} 0 0`;
    part.style.background = colour;
    return part;
  }));
  $('timing-keys').replaceChildren(...parts.map(([stage, colour]) => {
    const key = element('li', '', `${stage} ${timings[stage].toFixed(2)} ms`);
    key.style.setProperty('--key', colour);
    return key;
  }));
  const total = (timings.total ?? 0).toFixed(2);
  $('timing-note').textContent = cached
    ? `Remembered from the same picture. Server ${total} ms, round trip ${roundTripMs.toFixed(1)} ms.`
    : `Server ${total} ms, round trip ${roundTripMs.toFixed(1)} ms.`;
}

function drawWarnings(warnings) {
  $('warnings').replaceChildren(...warnings.map((warning) => element('li', '', warning.message)));
}

function fail(message) {
  $('error').textContent = message;
  $('error').hidden = !message;
  if (!message) return;
  $('act').classList.add('stale');
  drawWarnings([]);
}

/** What a refusal says: our own `error`, or a `detail` that is a sentence or a list of fields. */
function complaint(answer, status) {
  const { error, detail } = answer;
  if (error) return error;
  if (Array.isArray(detail)) return detail.map((item) => `${item.loc?.at(-1) ?? 'request'}: ${item.msg}`).join('; ');
  return detail ?? `The server answered ${status}.`;
}

async function predict() {
  if (!chosen.camera) { fail('Choose a camera picture first.'); return false; }
  asked += 1;
  const turn = asked;
  const body = new FormData();
  body.append('image', chosen.camera, names.camera);
  body.append('instruction', $('instruction').value);
  if (chosen.touch) {
    body.append('tactile', chosen.touch, names.touch);
    body.append('use_dummy_tactile', 'false');
  }
  const start = performance.now();
  try {
    const response = await ask('predict', { method: 'POST', body });
    const answer = await response.json();
    if (turn !== asked) return true;
    if (!answer.success) { fail(complaint(answer, response.status)); return false; }
    fail('');
    drawAction(answer.action);
    drawWarnings(answer.warnings ?? []);
    drawTimings(answer.metadata.timings_ms ?? {}, answer.metadata.cached, performance.now() - start);
    return true;
  } catch (error) {
    if (turn === asked) fail(`The server did not answer: ${error.message}`);
    return false;
  }
}

async function repeat() {
  while ($('repeat').checked) {
    if (!await predict()) $('repeat').checked = false;
    await wait(100);
  }
}

function drawCurl() {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const instruction = $('instruction').value || 'take the blue cube';
  const touch = chosen.touch ? ` \\\n  -F ${quoted(`tactile=@${names.touch}`)} \\\n  -F use_dummy_tactile=false` : '';
  const url = new URL('predict', location.href);
  $('curl').textContent = `curl ${url} \\\n  -F ${quoted(`image=@${names.camera}`)} \\\n  -F ${quoted(`instruction=${instruction}`)}${touch}`;
}

function drawModel(root) {
  const { description: model, inputs, stats } = root;
  const list = [];
  const add = (term, ...content) => {
    const detail = element('dd');
    detail.append(...content);
    list.push(element('dt', '', term), detail);
  };
  const chips = [['image', inputs.image], ['instruction', inputs.instruction], ['touch', inputs.tactile]].map(([input, counts]) => {
    const chip = element('span', counts ? 'chip' : 'chip off', input);
    chip.title = counts ? 'changes the action' : 'cannot change the action of this model';
    if (!counts) chip.append(element('span', 'spoken', ` ${chip.title}`));
    return chip;
  });
  add('name', root.model);
  add('inputs that count', ...chips);
  add('sequence', `${model.sequence.join(', ')}; read at the ${model.readout.replace('_', ' ')}`);
  add('picture', `${model.image_size} x ${model.image_size} px, touch ${model.tactile_size} x ${model.tactile_size} px`);
  add('statistics', `${stats.id} (${stats.sha256})`);
  add('runs on', `${root.device}, ${root.dtype}, ${model.kernels}, ${model.threads} threads`);
  add('parameters', `${model.parameters.toLocaleString('en')}, ${model.parameters_used.toLocaleString('en')} in use`);
  add('golden cases', `${model.golden_cases} passed at load`);
  $('model').replaceChildren(...list);
  $('instruction').placeholder = model.default_instruction;
}

/** Browsers offer the clipboard on https and this machine only; elsewhere the text is left selected. */
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return false;
  }
}

async function watch() {
  const status = $('status');
  // Written only when it changes: a screen reader speaks every write.
  const say = (state, text) => {
    status.dataset.state = state;
    if (status.textContent !== text) status.textContent = text;
  };
  let drawn = '';
  for (;;) {
    try {
      const health = await (await ask('health')).json();
      const root = await (await ask('./', { headers: { accept: 'application/json' } })).json();
      say(health.state, root.model ? `${health.state}: ${root.model} on ${root.device}` : health.state);
      const key = JSON.stringify(root);
      if (root.description && key !== drawn) { drawn = key; drawModel(root); }
    } catch {
      say('gone', 'the server does not answer');
    }
    await wait(3000);
  }
}

watchDrop('camera');
watchDrop('touch');
drawSamples();
drawCurl();
$('instruction').addEventListener('input', drawCurl);
$('form').addEventListener('submit', (event) => { event.preventDefault(); predict(); });
$('repeat').addEventListener('change', repeat);
$('touch-remove').addEventListener('click', () => { show('touch', null); predict(); });
$('copy').addEventListener('click', async () => {
  $('copy').textContent = await copy($('curl')) ? 'Copied' : 'Selected: press Ctrl+C';
  setTimeout(() => { $('copy').textContent = 'Copy'; }, 2500);
});
watch();
useSample(SAMPLES[0]);
