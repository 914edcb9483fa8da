// Numbers, times and names as people read them.

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The first part of a UUID; other names as they are. */
export const short = (id) => (UUID.test(id) ? id.slice(0, 8) : id);

export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** About three digits that mean something. */
export function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  if (Number.isInteger(value)) return value.toLocaleString('en');
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  if (size >= 0.1) return value.toFixed(2);
  return value.toPrecision(2);
}

const TONES = {
  queued: 'wait', allocating: 'wait', starting: 'wait', recovering: 'wait', paused: 'wait', stopping: 'wait', preempted: 'wait',
  ready: 'good', completed: 'good', running: 'busy', failed: 'bad', stopped: '',
};

/** How a phase looks: good, busy, wait, bad, or plain. */
export const tone = (phase) => TONES[phase] ?? '';
