//! One picture: backdrop, marks, shadows, objects. A first pass finds which face each pixel's centre shows; a second
//! colours, and looks eight times where neighbours differ. Rows are drawn in bands, each by itself, so that the picture
//! does not depend on how many threads there are.

use glam::{DVec2, DVec3};
use rayon::prelude::*;

use super::backdrop::{Row, paint};
use super::cancel::Cancel;
use super::palette::{Colour, EDGE, MARKING, PATH, haze};
use super::picture::Picture;
use super::rays::{RayTable, RayTables, TILE};
use super::ribbons::Marks;
use super::shade::shade;
use super::solid::{Candidate, Hit, SHADOW_M, Solid};
use super::sunlight::Sunlight;
use super::sweep::Sweep;
use super::view::{SceneView, Shadows};
use super::watermark::stamp;
use crate::render::{MAX_SIDE, RenderError, Shot};

/// The most pixels drawn: a picture of 3840x2160. Drawing takes some sixty bytes for each.
pub const MAX_PIXELS: u32 = 1 << 23;
/// Where a pixel at an edge is looked at, in pixels from its centre: one in each eighth, either way.
const SAMPLES: [[f64; 2]; 8] = [
    [-0.4375, -0.0625],
    [-0.3125, 0.3125],
    [-0.1875, -0.3125],
    [-0.0625, 0.0625],
    [0.0625, -0.4375],
    [0.1875, 0.4375],
    [0.3125, -0.1875],
    [0.4375, 0.1875],
];
/// How dark the middle of a shadow is.
const SHADOW: f64 = 0.5;

/// Draws a view as a shot asks.
///
/// # Errors
/// When the picture has no pixels or too many, and when it is not wanted any more.
pub fn draw(
    view: &SceneView<'_>,
    shot: &Shot,
    tables: &RayTables,
    cancel: &Cancel,
) -> Result<Picture, RenderError> {
    let [width, height] = shot.resolution;
    if [width, height, shot.camera.resolution[0], shot.camera.resolution[1]].contains(&0) {
        return Err(RenderError::Invalid(format!("a picture of {width}x{height} pixels has no pixels")));
    }
    if width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS {
        return Err(RenderError::Invalid(format!(
            "a picture of {width}x{height} pixels is too large: at most {MAX_SIDE} a side and {MAX_PIXELS} in all"
        )));
    }
    if shot.world_from_sensor.iter().any(|pose| !pose.translation_m.is_finite() || !pose.rotation.is_finite())
    {
        return Err(RenderError::Invalid("the sensor's pose is not finite".to_owned()));
    }
    let wanted = || if cancel.is_cancelled() { Err(RenderError::Superseded) } else { Ok(()) };
    wanted()?;
    let table = tables.get(&shot.camera, shot.resolution, cancel).ok_or(RenderError::Superseded)?;
    let moving = view.objects.iter().any(|object| object.world_from_object[0] != object.world_from_object[1]);
    let sweep = Sweep::new(&shot.camera, &shot.world_from_sensor, moving, shot.resolution);
    let canvas = Canvas::new(view, &table, &sweep);
    wanted()?;
    let faces = canvas.faces(cancel);
    wanted()?;
    let mut picture = Picture { width, height, rgb: canvas.colours(&faces, cancel) };
    wanted()?;
    stamp(&mut picture);
    Ok(picture)
}

/// Everything the rows need.
struct Canvas<'a> {
    view: &'a SceneView<'a>,
    table: &'a RayTable,
    sweep: &'a Sweep<'a>,
    marks: Marks,
    sunlight: Option<Sunlight>,
    solids: Vec<Solid>,
    /// Of each tile, which solids it may show, nearest first.
    candidates: Vec<Vec<Candidate>>,
}

/// What a pixel's centre shows of the objects: which, and where.
type Seen = Option<(u32, Hit)>;

impl<'a> Canvas<'a> {
    fn new(view: &'a SceneView<'a>, table: &'a RayTable, sweep: &'a Sweep<'a>) -> Self {
        let mut solids: Vec<Solid> =
            view.objects.iter().filter_map(|object| Solid::new(object, table, sweep)).collect();
        solids.sort_by(|a, b| a.near_m.total_cmp(&b.near_m));
        let candidates = table
            .tiles
            .iter()
            .map(|tile| {
                (0_u32..)
                    .zip(&solids)
                    .filter(|(_, s)| s.cone.meets(tile))
                    .map(|(i, s)| Candidate::new(s, i))
                    .collect()
            })
            .collect();
        let marks = Marks::draw(view, sweep, &table.whole, [table.width, table.height]);
        let sunlight = (view.shadows == Shadows::Sun).then(|| Sunlight::new(&view.objects, view.ground));
        Self { view, table, sweep, marks, sunlight, solids, candidates }
    }

    fn near(&self, x: usize, y: usize) -> &[Candidate] {
        let columns = self.table.width.div_ceil(TILE);
        self.candidates.get(y / TILE * columns + x / TILE).map_or(&[], Vec::as_slice)
    }

    /// The nearest hit of a ray among some solids.
    fn look(&self, candidates: &[Candidate], line: usize, ray: DVec3) -> Seen {
        let mut first: Seen = None;
        for candidate in candidates {
            if first.as_ref().is_some_and(|(_, hit)| f64::from(hit.distance_m) < candidate.near_m) {
                break;
            }
            if candidate.may_meet(ray)
                && let Some(solid) = self.solids.get(candidate.solid as usize)
                && let Some(hit) = solid.sight(line).and_then(|sight| solid.hit(sight, ray))
                && first.as_ref().is_none_or(|(_, before)| hit.distance_m < before.distance_m)
            {
                first = Some((candidate.solid, hit));
            }
        }
        first
    }

    /// The first pass.
    fn faces(&self, cancel: &Cancel) -> Vec<Seen> {
        let width = self.table.width;
        let mut seen = vec![None; width * self.table.height];
        if self.solids.is_empty() {
            return seen;
        }
        seen.par_chunks_mut(width).with_min_len(TILE).enumerate().for_each(|(y, row)| {
            if cancel.is_cancelled() {
                return;
            }
            for (x, seen) in row.iter_mut().enumerate() {
                let candidates = self.near(x, y);
                if !candidates.is_empty() {
                    let ray = self.table.ray(y * width + x);
                    *seen = self.look(candidates, self.sweep.index(x, y), ray);
                }
            }
        });
        seen
    }

    /// The second pass.
    fn colours(&self, faces: &[Seen], cancel: &Cancel) -> Vec<u8> {
        let width = self.table.width;
        let mut rgb = vec![0; width * self.table.height * 3];
        rgb.par_chunks_mut(width * 3 * TILE).enumerate().for_each(|(band, bytes)| {
            let mut row = Row::new(width);
            let mut coverage = vec![0.0; width];
            for (offset, bytes) in bytes.chunks_mut(width * 3).enumerate() {
                if cancel.is_cancelled() {
                    return;
                }
                let y = band * TILE + offset;
                paint(self.table, self.sweep, &self.view.ground, y, &mut row);
                for (mask, colour, strength) in [
                    (&self.marks.path, PATH, 0.42),
                    (&self.marks.edges, EDGE, 0.9),
                    (&self.marks.borders, MARKING, 0.95),
                ] {
                    if mask.row(y, &mut coverage) {
                        row.mix(colour, &coverage, strength);
                    }
                }
                if let Some(sunlight) = &self.sunlight {
                    self.sunlit(sunlight, y, &mut row);
                }
                if !self.solids.is_empty() {
                    self.objects(y, faces, &mut row);
                }
                let channels = row.red.iter().zip(&row.green).zip(&row.blue);
                for (pixel, ((red, green), blue)) in bytes.chunks_exact_mut(3).zip(channels) {
                    pixel.copy_from_slice(&[*red, *green, *blue].map(|value| (value + 0.5) as u8));
                }
            }
        });
        rgb
    }

    /// The sun's shadows on the ground of a row.
    fn sunlit(&self, sunlight: &Sunlight, y: usize, row: &mut Row) {
        let width = self.table.width;
        for x in 0..width {
            let line = self.sweep.at(x, y);
            let ray = line.rotation * self.table.ray(y * width + x);
            let pitch = self.table.pitch_rad.get(y * width + x).copied().map_or(0.0, f64::from);
            let light = sunlight.light(self.sweep.origin + line.position, ray, pitch);
            if light < 1.0 {
                row.set(x, row.get(x).map(|value| value * light));
            }
        }
    }

    /// Shadows and objects of a row, over what is there.
    fn objects(&self, y: usize, faces: &[Seen], row: &mut Row) {
        let width = self.table.width;
        for x in 0..width {
            let candidates = self.near(x, y);
            if candidates.is_empty() {
                continue;
            }
            let index = y * width + x;
            let ray = self.table.ray(index);
            if ray == DVec3::ZERO {
                continue;
            }
            let line = self.sweep.index(x, y);
            let here = faces[index];
            let even = [
                if x > 0 { faces[index - 1] } else { here },
                if x + 1 < width { faces[index + 1] } else { here },
                if y > 0 { faces[index - width] } else { here },
                faces.get(index + width).copied().unwrap_or(here),
            ]
            .iter()
            .all(|other| same_face(other, &here));
            let pitch = f64::from(self.table.pitch_rad[index]);
            let even = even && !(here.is_none() && self.may_hide_between(candidates, ray, pitch));
            let behind = |row: &Row| self.shadowed(row.get(x), candidates, line, ray);
            if even {
                match here {
                    Some(seen) => row.set(x, self.shaded(&seen, line, ray, pitch)),
                    None => row.set(x, behind(row)),
                }
                continue;
            }
            let behind = behind(row);
            let [across, down] = self.steps(x, y, ray);
            let mut sum = [0.0; 3];
            for [right, below] in SAMPLES {
                let ray = ray + across * right + down * below;
                let colour = self
                    .look(candidates, line, ray)
                    .map_or(behind, |seen| self.shaded(&seen, line, ray, pitch));
                for (sum, value) in sum.iter_mut().zip(colour) {
                    *sum += value / SAMPLES.len() as f32;
                }
            }
            row.set(x, sum);
        }
    }

    /// Whether something small is near a ray that hits nothing.
    fn may_hide_between(&self, candidates: &[Candidate], ray: DVec3, pitch: f64) -> bool {
        candidates.iter().filter_map(|near| self.solids.get(near.solid as usize)).any(|solid| {
            solid.small && ray.dot(solid.cone.axis) >= (solid.cone.half_angle_rad + pitch).min(3.1).cos()
        })
    }

    /// From the ray of a pixel to those of the next in its row and column.
    fn steps(&self, x: usize, y: usize, ray: DVec3) -> [DVec3; 2] {
        let (width, height) = (self.table.width, self.table.height);
        let towards = |next: Option<usize>, before: Option<usize>| {
            let ray_at = |index: usize| Some(self.table.ray(index)).filter(|other| *other != DVec3::ZERO);
            let ahead = next.and_then(ray_at).map(|other| other - ray);
            ahead.or_else(|| before.and_then(ray_at).map(|other| ray - other)).unwrap_or(DVec3::ZERO)
        };
        let index = y * width + x;
        [
            towards((x + 1 < width).then_some(index + 1), (x > 0).then(|| index - 1)),
            towards((y + 1 < height).then_some(index + width), (y > 0).then(|| index - width)),
        ]
    }

    fn shaded(&self, (index, hit): &(u32, Hit), line: usize, ray: DVec3, pitch: f64) -> Colour {
        let solid = self.solids.get(*index as usize);
        solid.and_then(|solid| Some(shade(solid, solid.sight(line)?, ray, hit, pitch))).unwrap_or_default()
    }

    /// A colour of the ground under the objects near it. Each shadow lies on the plane its object stands on, which on a
    /// hill is not that of the ego vehicle.
    fn shadowed(&self, colour: Colour, candidates: &[Candidate], line: usize, ray: DVec3) -> Colour {
        if self.view.shadows != Shadows::Contact {
            return colour;
        }
        let mut light = 1.0_f32;
        for candidate in candidates.iter().filter(|candidate| candidate.may_shade(ray)) {
            let Some(solid) = self.solids.get(candidate.solid as usize) else { continue };
            let Some(sight) = solid.sight(line) else { continue };
            let direction = sight.object_from_sensor * ray;
            let distance = (-solid.half_m.z - sight.sensor_m.z) / direction.z;
            if direction.z >= 0.0 || distance <= 0.0 {
                continue;
            }
            let point = sight.sensor_m + direction * distance;
            let beyond = point.abs().truncate() - solid.half_m.truncate();
            let outside = beyond.max(DVec2::ZERO).length() + beyond.max_element().min(0.0);
            let part = ((SHADOW_M - outside) / (1.6 * SHADOW_M)).clamp(0.0, 1.0);
            let depth = SHADOW * part * part * (3.0 - 2.0 * part);
            light = light.min(1.0 - depth as f32 * (1.0 - haze(distance as f32)));
        }
        colour.map(|value| value * light)
    }
}

fn same_face(a: &Seen, b: &Seen) -> bool {
    let face = |seen: &Seen| seen.map(|(solid, hit)| (solid, hit.body, hit.face));
    face(a) == face(b)
}
