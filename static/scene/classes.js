// One colour a class, the same in the pictures, on the map, in the list and on the timeline.

const HUES = {
  automobile: ['#2563eb', '#6ea3ff'],
  heavy_truck: ['#c2410c', '#fb923c'],
  bus: ['#a16207', '#facc15'],
  trailer: ['#92400e', '#d6a26a'],
  train_or_tram_car: ['#7e22ce', '#c084fc'],
  other_vehicle: ['#0e7490', '#67d3e8'],
  person: ['#be123c', '#fb7185'],
  rider: ['#0f766e', '#2dd4bf'],
  stroller: ['#be185d', '#f472b6'],
  animal: ['#4d7c0f', '#a3e635'],
  bicycle: ['#15803d', '#4ade80'],
  motorcycle: ['#047857', '#34d399'],
  protruding_object: ['#57606e', '#a8b3c2'],
};
const OTHER = ['#57606e', '#a8b3c2'];

const probe = document.createElement('i');
let kept = null;
addEventListener('neuro-theme', () => { kept = null; });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  kept = null;
  dispatchEvent(new Event('neuro-theme'));
});

/** The page's colours as a canvas takes them: custom properties with `light-dark()` do not resolve by themselves. */
export function colours() {
  if (kept) return kept;
  probe.hidden = true;
  if (!probe.isConnected) document.body.append(probe);
  const resolve = (value) => { probe.style.color = value; return getComputedStyle(probe).color; };
  const names = ['paper', 'card', 'raised', 'ink', 'soft', 'line', 'edge', 'accent', 'accent-wash', 'good', 'bad', 'warn'];
  kept = Object.fromEntries(names.map((name) => [name, resolve(`var(--${name})`)]));
  kept.classes = Object.fromEntries(Object.entries(HUES).map(([name, [light, dark]]) => [name, resolve(`light-dark(${light}, ${dark})`)]));
  kept.other = resolve(`light-dark(${OTHER[0]}, ${OTHER[1]})`);
  return kept;
}

export const classColour = (name) => colours().classes[name] ?? colours().other;

/** Over pictures, which are neither dark nor light, the brighter one. */
export const brightColour = (name) => (HUES[name] ?? OTHER)[1];
