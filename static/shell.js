// What stands at the right of every page's header: the token, and light or dark.

import { $, element, icon } from './dom.js';
import { keepToken, token } from './credentials.js';

const THEMES = ['system', 'light', 'dark'];
const KEY = 'neuro-theme';

function theme() {
  try {
    const kept = localStorage.getItem(KEY);
    return THEMES.includes(kept) ? kept : 'system';
  } catch {
    return 'system';
  }
}

function wear(name) {
  if (name === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  dispatchEvent(new Event('neuro-theme'));
}

function themeButton() {
  const button = element('button', 'tool');
  button.type = 'button';
  const show = () => {
    button.replaceChildren(icon(theme()));
    button.title = `Colours: ${theme()}`;
    button.setAttribute('aria-label', `Colours: ${theme()}. Change`);
  };
  button.addEventListener('click', () => {
    const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
    try { localStorage.setItem(KEY, next); } catch { /* private windows may refuse */ }
    wear(next);
    show();
  });
  show();
  return button;
}

function tokenDialog() {
  const dialog = element('dialog', 'small');
  dialog.setAttribute('aria-labelledby', 'token-title');
  const form = element('form');
  form.method = 'dialog';
  const title = element('h2', '', 'Token');
  title.id = 'token-title';
  const label = element('label', 'field', 'Bearer token of this server');
  const input = element('input');
  input.type = 'password';
  input.autocomplete = 'off';
  label.append(input);
  const note = element('p', 'note', 'Kept until this tab is closed. Leave it empty when the server asks for none.');
  const use = element('button', 'primary', 'Use');
  use.value = 'use';
  const cancel = element('button', '', 'Cancel');
  cancel.value = 'cancel';
  const row = element('div', 'actions');
  row.append(use, cancel);
  form.append(title, label, note, row);
  dialog.append(form);
  dialog.addEventListener('close', () => { if (dialog.returnValue === 'use') keepToken(input.value.trim()); });
  return { dialog, open: () => { if (dialog.open) return; input.value = token(); dialog.returnValue = ''; dialog.showModal(); input.focus(); } };
}

function tokenButton({ open }) {
  const button = element('button', 'tool');
  button.type = 'button';
  button.append(icon('key'));
  const show = () => {
    button.classList.toggle('on', token() !== '');
    button.title = token() ? 'Token in use' : 'Token';
    button.setAttribute('aria-label', button.title);
  };
  button.addEventListener('click', open);
  addEventListener('neuro-token', show);
  show();
  return button;
}

wear(theme());
const asked = tokenDialog();
document.body.append(asked.dialog);
$('shell').append(tokenButton(asked), themeButton());
addEventListener('neuro-unauthorized', asked.open);
