// Where the camera cells go: the number of columns that makes the pictures largest.

/** Rows needed when cells of `spans` columns (and as many rows) are laid densely over `columns`. */
export function rowsOf(spans, columns) {
  const taken = new Set();
  let rows = 0;
  for (const wanted of spans) {
    const span = Math.min(wanted, columns);
    const free = (row, column) => {
      for (let y = row; y < row + span; y += 1) {
        for (let x = column; x < column + span; x += 1) if (taken.has(y * columns + x)) return false;
      }
      return true;
    };
    let placed = false;
    for (let row = 0; !placed; row += 1) {
      for (let column = 0; column + span <= columns && !placed; column += 1) {
        if (!free(row, column)) continue;
        for (let y = row; y < row + span; y += 1) for (let x = column; x < column + span; x += 1) taken.add(y * columns + x);
        rows = Math.max(rows, row + span);
        placed = true;
      }
    }
  }
  return rows;
}

/** `{ columns, width }` of one cell in a box; without a height (a page that scrolls) two columns, or one when narrow. */
export function tile(spans, box, aspect, gap) {
  if (!box.height) {
    const columns = box.width < 420 ? 1 : 2;
    return { columns, width: Math.floor((box.width - gap * (columns - 1)) / columns) };
  }
  const most = spans.reduce((sum, span) => sum + span, 0);
  let best = { columns: 1, width: 0 };
  for (let columns = Math.max(1, ...spans); columns <= Math.max(most, 1); columns += 1) {
    const rows = rowsOf(spans, columns);
    const wide = (box.width - gap * (columns - 1)) / columns;
    const high = ((box.height - gap * (rows - 1)) / rows) * aspect;
    const width = Math.floor(Math.min(wide, high));
    if (width > best.width) best = { columns, width };
  }
  return best;
}

/** One cell large, the others in a strip below: `{ columns, strip }`, the strip's height in pixels. */
export function spotlight(count, box, aspect, gap) {
  const columns = Math.max(Math.min(count - 1, 8), 4);
  const width = (box.width - gap * (columns - 1)) / columns;
  return { columns, strip: Math.floor(Math.min(width / aspect, box.height ? box.height * 0.22 : 90)) };
}
