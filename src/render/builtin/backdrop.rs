//! Sky and ground: what a pixel shows where nothing stands. Everything follows from the pixel's ray, without branches,
//! so that the compiler can do several pixels at once.

use glam::DVec3;

use super::ground::Ground;
use super::palette::{GRID, GROUND, HAZE, OUTSIDE, ZENITH, haze};
use super::rays::RayTable;
use super::sweep::{Line, Order, Sweep};

/// A camera lower than this over the ground, in metres, is drawn as if it were so high.
const LOWEST_M: f64 = 0.2;
/// Half the width of a line of the grid, in metres: each metre, each ten metres.
const HALF_WIDTH_M: [f32; 2] = [0.012, 0.035];
/// How far lines of the grid go from the ground's colour to theirs.
const STRENGTH: [f32; 2] = [0.45, 0.8];

/// One row of colours, each channel by itself.
pub(super) struct Row {
    pub red: Vec<f32>,
    pub green: Vec<f32>,
    pub blue: Vec<f32>,
}

impl Row {
    pub fn new(width: usize) -> Self {
        Self { red: vec![0.0; width], green: vec![0.0; width], blue: vec![0.0; width] }
    }

    /// Mixes a colour in, by a part for each pixel.
    pub fn mix(&mut self, colour: [f32; 3], parts: &[f32], strength: f32) {
        for (channel, colour) in [&mut self.red, &mut self.green, &mut self.blue].into_iter().zip(colour) {
            for (value, part) in channel.iter_mut().zip(parts) {
                *value += (colour - *value) * part * strength;
            }
        }
    }

    /// The colour of a pixel.
    pub fn get(&self, x: usize) -> [f32; 3] {
        [self.red[x], self.green[x], self.blue[x]]
    }

    /// Replaces the colour of a pixel.
    pub fn set(&mut self, x: usize, [red, green, blue]: [f32; 3]) {
        (self.red[x], self.green[x], self.blue[x]) = (red, green, blue);
    }
}

/// Paints sky and ground of row `y`.
pub(super) fn paint(table: &RayTable, sweep: &Sweep<'_>, ground: &Ground, y: usize, row: &mut Row) {
    let spans = if sweep.order == Order::Columns { table.width } else { 1 };
    let length = table.width / spans.max(1);
    for span in 0..spans {
        let start = span * length;
        let line = sweep.at(start, y);
        let plane = Plane::new(line, sweep.origin, ground);
        plane.paint(table, y * table.width + start, row, start, length);
    }
}

/// The ground as one line of the picture sees it, in numbers ready for the loop.
struct Plane {
    /// World from sensor, by rows: first two.
    to_x: [f32; 3],
    to_y: [f32; 3],
    /// From the sensor straight up from the ground.
    up: [f32; 3],
    height: f32,
    /// The sensor in the grid, in metres from a crossing of its wider lines.
    over: [f32; 2],
}

impl Plane {
    fn new(line: &Line, origin: DVec3, ground: &Ground) -> Self {
        let world = origin + line.position;
        let rows = line.rotation.transpose();
        let single = |vector: DVec3| vector.to_array().map(|value| value as f32);
        Self {
            to_x: single(rows.x_axis),
            to_y: single(rows.y_axis),
            up: single(rows * ground.normal),
            height: ground.height_m(world).max(LOWEST_M) as f32,
            over: [world.x.rem_euclid(10.0) as f32, world.y.rem_euclid(10.0) as f32],
        }
    }

    fn paint(&self, table: &RayTable, first: usize, row: &mut Row, start: usize, length: usize) {
        let part = |values: &'_ [f32]| -> std::ops::Range<usize> {
            let from = first.min(values.len());
            from..(first + length).min(values.len())
        };
        let (x, y) = (&table.x[part(&table.x)], &table.y[part(&table.y)]);
        let (z, pitch) = (&table.z[part(&table.z)], &table.pitch_rad[part(&table.pitch_rad)]);
        let red = &mut row.red[start..start + length];
        let green = &mut row.green[start..start + length];
        let blue = &mut row.blue[start..start + length];
        let rays = x.iter().zip(y).zip(z).zip(pitch);
        for (((((x, y), z), pitch), red), (green, blue)) in
            rays.zip(red.iter_mut()).zip(green.iter_mut().zip(blue.iter_mut()))
        {
            let [r, g, b] = self.colour([*x, *y, *z], *pitch);
            (*red, *green, *blue) = (r, g, b);
        }
    }

    #[inline(always)]
    fn colour(&self, ray: [f32; 3], pitch: f32) -> [f32; 3] {
        let dot = |a: &[f32; 3]| a[0] * ray[0] + a[1] * ray[1] + a[2] * ray[2];
        let up = dot(&self.up);
        let (east, north) = (dot(&self.to_x), dot(&self.to_y));

        let below_zenith = 1.0 - up.clamp(0.0, 1.0);
        let sky = 1.0 - below_zenith * below_zenith * below_zenith;

        let down = (-up).max(1e-4);
        let distance = self.height / down;
        let flat = 1.0 / (east * east + north * north).sqrt().max(1e-6);
        let (cosine, sine) = ((east * flat).abs(), (north * flat).abs());
        let across = pitch * distance;
        let along = across / down;
        let footprint = [sine * across + cosine * along + 1e-6, cosine * across + sine * along + 1e-6];
        let metres = [self.over[0] + distance * east, self.over[1] + distance * north];
        let fine = lines(metres, footprint, HALF_WIDTH_M[0]) * STRENGTH[0];
        let coarse =
            lines(metres.map(|m| m * 0.1), footprint.map(|f| f * 0.1), HALF_WIDTH_M[1] * 0.1) * STRENGTH[1];
        let grid = fine.max(coarse);
        let far = haze(distance);

        let is_ground = if up < 0.0 { 1.0 } else { 0.0 };
        let nothing = if ray[0] == 0.0 && ray[1] == 0.0 && ray[2] == 0.0 { 1.0 } else { 0.0 };
        let mut colour = [0.0; 3];
        for channel in 0..3 {
            let lit = GROUND[channel] + (GRID[channel] - GROUND[channel]) * grid;
            let ground = lit + (HAZE[channel] - lit) * far;
            let sky = HAZE[channel] + (ZENITH[channel] - HAZE[channel]) * sky;
            let seen = sky + (ground - sky) * is_ground;
            colour[channel] = seen + (OUTSIDE[channel] - seen) * nothing;
        }
        colour
    }
}

/// How much of a pixel lines at whole numbers cover, in either direction; footprints wider than the gaps see none.
#[inline(always)]
fn lines(at: [f32; 2], footprint: [f32; 2], half_width: f32) -> f32 {
    let mut most = 0.0_f32;
    for axis in 0..2 {
        let from_line = (at[axis] - nearest_whole(at[axis])).abs();
        let half = 0.5 * footprint[axis];
        let shared = (from_line + half).min(half_width) - (from_line - half).max(-half_width);
        let covered = shared.max(0.0) / footprint[axis];
        most = most.max(covered * (1.4 - 2.0 * footprint[axis]).clamp(0.0, 1.0));
    }
    most
}

/// Rounds, for magnitudes below two million, without the call that rounding is without SSE4.
#[inline(always)]
fn nearest_whole(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT) - SHIFT
}
