// Lists that change in place, so that focus and scroll stay where they are.

/** Makes the children of `parent` those of `items`, in order: made once by key, updated every time. */
export function keyed(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = old.get(key);
    if (child) old.delete(key);
    else {
      child = make(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of old.values()) child.remove();
}

/** Writes text only where it changed. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
