// Taking a stretch of time elsewhere: a link to `GET /api/export`, made up in a dialog.

import { $, element, save } from '../dom.js';
import { BASE, ask, token } from '../credentials.js';
import { cameraText, clockText } from './format.js';
import { sessionPath } from './server.js';
import { store } from './store.js';

const FORMATS = {
  mcap: ['MCAP', 'pictures, calibrations, transforms, cuboids and path; opens in Foxglove and Rerun'],
  png: ['PNG pictures', 'a zip with one file a camera and instant'],
  csv: ['CSV poses', 'the vehicle and the tracks as a table'],
};
const SCALES = [0.15, 0.25, 0.5, 1];
const { state } = store;

function radio(name, value, text, note, checked) {
  const label = element('label', 'choice');
  const input = element('input');
  input.type = 'radio';
  input.name = name;
  input.value = value;
  input.checked = checked;
  const words = element('span');
  words.append(element('b', '', text), element('small', '', note));
  label.append(input, words);
  return label;
}

function group(title, ...content) {
  const set = element('fieldset');
  set.append(element('legend', '', title), ...content);
  return set;
}

/** Address of the export the form describes. */
function address(form) {
  const data = new FormData(form);
  const url = new URL(sessionPath('export'), BASE);
  const whole = data.get('range') !== 'loop';
  const { start_us, end_us } = whole ? state.scene : state.region;
  const format = data.get('format');
  url.searchParams.set('format', format);
  url.searchParams.set('start_us', start_us);
  url.searchParams.set('end_us', end_us);
  url.searchParams.set('rate_hz', data.get('rate'));
  if (format !== 'csv') {
    url.searchParams.set('cameras', data.getAll('camera').join(','));
    url.searchParams.set('scale', data.get('scale'));
  }
  const instants = Math.max(1, Math.floor(((end_us - start_us) / 1e6) * Number(data.get('rate'))) + 1);
  return { url, format, instants, cameras: data.getAll('camera').length };
}

function field(text, control) {
  const label = element('label', 'field', text);
  label.append(control);
  return label;
}

function buildForm(shown) {
  const form = element('form');
  form.method = 'dialog';
  const { region, scene } = state;
  const span = ({ start_us, end_us }) => `${clockText(start_us - scene.start_us, 1)} to ${clockText(end_us - scene.start_us, 1)}`;
  const formats = Object.entries(FORMATS).map(([value, [text, note]], index) => radio('format', value, text, note, index === 0));
  const ranges = [radio('range', 'whole', 'Whole scene', span(scene), !region)];
  if (region) ranges.push(radio('range', 'loop', 'Loop region', span(region), true));
  const cameras = scene.cameras.map(({ name }) => {
    const label = element('label', 'pick');
    const input = element('input');
    input.type = 'checkbox';
    input.name = 'camera';
    input.value = name;
    input.checked = state.cameras.includes(name);
    label.append(input, cameraText(name));
    return label;
  });
  const rate = element('input');
  Object.assign(rate, { type: 'number', name: 'rate', min: '0.1', max: '100', step: 'any', value: '10', required: true });
  const scale = element('select');
  scale.name = 'scale';
  for (const value of SCALES) scale.append(new Option(`${value * 100} %`, String(value), value === 0.25, value === 0.25));
  const numbers = element('div', 'pair');
  numbers.append(field('Instants a second', rate), field('Size of the pictures', scale));
  const picks = group('Cameras', ...cameras);
  picks.classList.add('picks');
  form.append(group('Format', ...formats), group('Range', ...ranges), picks, numbers, shown);
  return { form, picks, scale };
}

async function fetchAndSave(url, format, say) {
  say('fetching …');
  try {
    const response = await ask(url);
    if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail ?? `the server answered ${response.status}`);
    const name = response.headers.get('content-disposition')?.match(/filename="?([^";]+)/)?.[1] ?? `export.${format === 'png' ? 'zip' : format}`;
    save(await response.blob(), name);
    say('saved');
  } catch (error) {
    say(`Export failed: ${error.message}`);
  }
}

export function openExport() {
  if (!state.scene) return;
  const dialog = $('export-dialog');
  const title = element('h2', '', 'Export');
  title.id = 'export-title';
  const shown = element('p', 'note');
  shown.setAttribute('role', 'status');
  const { form, picks, scale } = buildForm(shown);
  const download = element('a', 'primary', 'Download');
  download.id = 'export-download';
  download.download = '';
  const cancel = element('button', '', 'Close');
  cancel.value = 'cancel';
  const row = element('div', 'actions');
  row.append(download, cancel);
  form.append(row);
  const update = () => {
    const made = address(form);
    const table = made.format === 'csv';
    picks.disabled = table;
    scale.disabled = table;
    const empty = !table && made.cameras === 0;
    if (empty || !form.checkValidity()) download.removeAttribute('href');
    else download.href = made.url;
    download.classList.toggle('off', !download.hasAttribute('href'));
    shown.textContent = empty ? 'Choose at least one camera.' : table ? `${made.instants} instants.` : `${made.instants} instants, ${made.instants * made.cameras} pictures.`;
  };
  form.addEventListener('input', update);
  // A plain link streams to disk but cannot carry a token.
  download.addEventListener('click', (event) => {
    if (!download.hasAttribute('href') || !token()) return;
    event.preventDefault();
    fetchAndSave(download.href, new FormData(form).get('format'), (text) => { shown.textContent = text; });
  });
  dialog.replaceChildren(title, form);
  update();
  dialog.showModal();
}
