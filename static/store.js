// What a page knows, in one place: parts write with `set`, and are told of the keys they watch.

export function createStore(initial) {
  const state = { ...initial };
  const watchers = [];
  return {
    state,
    set(patch) {
      const changed = Object.keys(patch).filter((key) => state[key] !== patch[key]);
      if (changed.length === 0) return;
      Object.assign(state, patch);
      for (const { keys, tell } of watchers) {
        if (keys.some((key) => changed.includes(key))) tell(state);
      }
    },
    on(keys, tell) { watchers.push({ keys, tell }); },
  };
}
