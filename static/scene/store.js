// What the playback page knows.

import { createStore } from '../store.js';

export const QUALITIES = {
  low: { scale: 0.15, quality: 60 },
  medium: { scale: 0.25, quality: 80 },
  high: { scale: 0.5, quality: 85 },
};

export const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10];

export const store = createStore({
  session: 'default',
  connection: 'connecting', // connecting, open, lost
  complaint: '',            // what went wrong last, in a sentence
  scene: null,              // GET /api/scene
  playback: null,           // the clock, as the server told it
  frame: null,              // header of the frame set on the screen
  wanted: null,             // instant asked for and not yet shown
  speed: 1,
  region: null,             // loop region { start_us, end_us }, also while the loop is off
  order: [],                // every camera, in the order of the grid
  cameras: [],              // those shown, in that order
  spans: {},                // camera -> how many columns its cell takes
  focus: null,              // camera shown large
  quality: 'medium',
  objects: true,
  overlay: false,
  selected: null,           // id of a track
  path: null,               // GET /api/track/{selected}
  classes: null,            // Set of classes listed; null for all
  heading: false,           // bird's-eye view turned with the vehicle
  follow: true,
  ruler: 'elapsed',         // elapsed, absolute, frame
});
