// The bird's-eye view's window on the plane: metres to pixels and back, pan, zoom, turn.

const CLOSEST = 60;   // pixels a metre
const FARTHEST = 0.05;

export function createViewport() {
  const view = { x: 0, y: 0, scale: 6, turn: 0, width: 1, height: 1 };
  const clampScale = (scale) => Math.min(Math.max(scale, FARTHEST), CLOSEST);
  return {
    view,
    /** World metres to pixels of the canvas's own box. */
    toScreen(x, y) {
      const dx = x - view.x;
      const dy = y - view.y;
      const c = Math.cos(view.turn);
      const s = Math.sin(view.turn);
      return [view.width / 2 + (c * dx - s * dy) * view.scale, view.height / 2 - (s * dx + c * dy) * view.scale];
    },
    toWorld(px, py) {
      const u = (px - view.width / 2) / view.scale;
      const v = -(py - view.height / 2) / view.scale;
      const c = Math.cos(view.turn);
      const s = Math.sin(view.turn);
      return [view.x + c * u + s * v, view.y - s * u + c * v];
    },
    /** Sets the canvas's transformation so that paths may be given in metres. */
    apply(context, ratio) {
      const c = Math.cos(view.turn) * view.scale * ratio;
      const s = Math.sin(view.turn) * view.scale * ratio;
      context.setTransform(c, -s, -s, -c,
        (view.width / 2) * ratio - c * view.x + s * view.y,
        (view.height / 2) * ratio + s * view.x + c * view.y);
    },
    zoomAt(px, py, factor) {
      const before = this.toWorld(px, py);
      view.scale = clampScale(view.scale * factor);
      const after = this.toWorld(px, py);
      view.x += before[0] - after[0];
      view.y += before[1] - after[1];
    },
    zoom(factor) { view.scale = clampScale(view.scale * factor); },
    pan(dxPx, dyPx) {
      const [x, y] = this.toWorld(view.width / 2 - dxPx, view.height / 2 - dyPx);
      view.x = x;
      view.y = y;
    },
    fit(points) {
      if (points.length === 0) return;
      const xs = points.map(([, x]) => x);
      const ys = points.map(([, , y]) => y);
      const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      view.x = (left + right) / 2;
      view.y = (low + high) / 2;
      view.scale = clampScale(Math.min(view.width / (right - left + 30), view.height / (high - low + 30)));
    },
  };
}
