// Asks before what cannot be taken back.

import { $, element } from '../dom.js';

/** `null` when the answer is no; else true, or the number that was asked for. */
export function confirm(question, sentence, yes, number = null) {
  const dialog = $('confirm-dialog');
  const form = element('form');
  form.method = 'dialog';
  const title = element('h2', '', question);
  title.id = 'confirm-title';
  const go = element('button', 'primary', yes);
  go.value = 'yes';
  const back = element('button', '', 'Cancel');
  back.value = 'no';
  back.formNoValidate = true;
  const row = element('div', 'actions');
  row.append(go, back);
  form.append(title, element('p', '', sentence));
  let input = null;
  if (number) {
    const label = element('label', 'field', number.label);
    input = element('input');
    input.type = 'number';
    input.min = '0';
    input.required = true;
    input.value = String(number.value);
    label.append(input);
    form.append(label);
  }
  form.append(row);
  dialog.replaceChildren(form);
  dialog.returnValue = '';
  dialog.showModal();
  (input ?? go).focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes' ? (input ? Number(input.value) : true) : null), { once: true });
  });
}
