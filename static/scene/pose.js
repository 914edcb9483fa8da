// Where things are in the plane.

export function yawOf([x, y, z, w]) {
  return Math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z));
}

/** Position and heading on a path of `[timestamp_us, x, y, z, yaw_rad]` at an instant, held at its ends; null when empty. */
export function poseAt(path, us, indexAt) {
  if (!path?.length) return null;
  const index = Math.min(Math.max(indexAt, 0), path.length - 1);
  const a = path[index];
  const b = path[Math.min(index + 1, path.length - 1)];
  const f = b[0] > a[0] ? Math.min(Math.max((us - a[0]) / (b[0] - a[0]), 0), 1) : 0;
  const turn = Math.atan2(Math.sin(b[4] - a[4]), Math.cos(b[4] - a[4]));
  const seconds = (b[0] - a[0]) / 1e6;
  return {
    position: [1, 2, 3].map((axis) => a[axis] + (b[axis] - a[axis]) * f),
    yaw: a[4] + turn * f,
    speed_mps: seconds > 0 ? Math.hypot(b[1] - a[1], b[2] - a[2]) / seconds : 0,
  };
}

/** Index of the last pose of a path at or before an instant. */
export function indexOn(path, us) {
  let low = 0;
  let high = path.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (path[middle][0] <= us) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
