// Choosing a scene. With none loaded the list takes the place of the pictures; with one it is a dialog.

import { $, element } from '../dom.js';
import { baseName } from './format.js';
import { server } from './server.js';
import { store } from './store.js';

const { state } = store;
const dialog = $('picker');
let loading = '';
let choose = async () => {};

function describe(files) {
  if (files.length === 0) {
    return element('p', 'note', 'No scene was found. Put .usdz files into the folder given by --scenes (by default scenes), then look again.');
  }
  const list = element('ul', 'files');
  const names = files.map(baseName);
  files.forEach((file, index) => {
    const item = element('li');
    const button = element('button', 'file');
    button.type = 'button';
    button.dataset.file = file;
    button.disabled = Boolean(loading);
    const twice = names.filter((name) => name === names[index]).length > 1;
    button.append(element('b', '', names[index]), element('small', '', twice || file.split('/').length > 2 ? file.slice(0, -names[index].length - 1) : ''));
    if (file === loading) button.append(element('span', 'busy', 'loading …'));
    else if (file === state.scene?.file) button.append(element('span', 'busy', 'playing'));
    button.addEventListener('click', () => load(file));
    item.append(button);
    list.append(item);
  });
  return list;
}

let files = [];
let problem = '';

function draw() {
  const title = element('h2', '', state.scene ? 'Choose a scene' : 'No scene is loaded');
  title.id = 'picker-title';
  const words = element('p', 'note', state.scene
    ? 'Everyone watching this session will see the new scene.'
    : 'Choose one to play. It opens at its first instant with all its cameras.');
  const failed = element('p', 'error', problem);
  failed.setAttribute('role', 'alert');
  failed.hidden = !problem;
  const row = element('div', 'actions');
  const again = element('button', '', 'Look again');
  again.type = 'button';
  again.addEventListener('click', () => look());
  row.append(again);
  if (state.scene) {
    const close = element('button', '', 'Close');
    close.type = 'button';
    close.addEventListener('click', () => dialog.close());
    row.append(close);
  }
  dialog.replaceChildren(title, words, failed, describe(files), row);
}

async function look() {
  try {
    files = await server.files();
    problem = '';
  } catch (error) {
    problem = error.message;
  }
  draw();
}

async function load(file) {
  if (loading) return;
  loading = file;
  problem = '';
  draw();
  try {
    const { session } = state;
    await server.load(file);
    loading = '';
    if (session === state.session) await choose(file);
  } catch (error) {
    problem = `${baseName(file)} could not be loaded. ${error.message}`;
  } finally {
    loading = '';
    draw();
  }
}

/** Loads the file a link names, by whole path or by name; false when the server has no such file. */
export async function loadNamed(name) {
  await look();
  const file = files.find((path) => path === name) ?? files.find((path) => baseName(path) === name);
  if (file) await load(file);
  return Boolean(file);
}

export function openPicker() {
  if (dialog.open) return;
  draw();
  if (state.scene) dialog.showModal();
  else dialog.show();
  look();
}

export function closePicker() {
  if (dialog.open) dialog.close();
}

/** `chosen` is called once a file is loaded. */
export function startPicker(chosen) {
  choose = chosen;
  $('scene-name').addEventListener('click', openPicker);
  store.on(['scene'], () => { if (dialog.open && !loading) draw(); });
}
