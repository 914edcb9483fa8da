// Times and names as people read them.

export function clockText(us, digits = 3) {
  const total = Math.max(0, us) / 1e6;
  const minutes = Math.floor(total / 60);
  const seconds = total - minutes * 60;
  return `${minutes}:${(Math.floor(seconds * 10 ** digits) / 10 ** digits).toFixed(digits).padStart(digits ? digits + 3 : 2, '0')}`;
}

/** Coordinated universal time of an instant; scenes count microseconds since 1970. */
export function absoluteText(us, digits = 3) {
  const date = new Date(Math.floor(us / 1000));
  if (Number.isNaN(date.getTime())) return `${us} us`;
  return date.toISOString().slice(11, digits ? 20 + digits : 19).replace('Z', '');
}

/** Index of the last of `sorted` at or before `value`; -1 when there is none. */
export function lastAt(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export function instantText(us, scene, ruler, digits = 3) {
  if (ruler === 'absolute') return absoluteText(us, digits);
  if (ruler === 'frame' && scene.frame_timestamps_us.length > 0) {
    return `${Math.max(0, lastAt(scene.frame_timestamps_us, us))}`;
  }
  return clockText(us - scene.start_us, digits);
}

export function lengthText(scene, ruler) {
  if (ruler === 'absolute') return new Date(Math.floor(scene.start_us / 1000)).toISOString().slice(0, 10);
  if (ruler === 'frame') return `of ${scene.frame_timestamps_us.length} frames`;
  return `/ ${clockText(scene.end_us - scene.start_us)}`;
}

/** `camera_front_wide_120fov` is `front wide 120°`. */
export function cameraText(name) {
  return name.replace(/^camera[_-]/, '').replace(/(\d+)fov\b/, '$1°').replaceAll('_', ' ');
}

export const classText = (name) => name.replaceAll('_', ' ');

/** Ids may be long; their end tells them apart. */
export const idText = (id) => (id.length > 10 ? `…${id.slice(-8)}` : id);

export const baseName = (path) => path.split('/').at(-1);

export const metres = (value) => (value < 10 ? value.toFixed(1) : value.toFixed(0));
