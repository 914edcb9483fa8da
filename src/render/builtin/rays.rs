//! The ray of every pixel of a picture, in sensor coordinates. Inverting a lens costs a hundred times what the rest of
//! a pixel costs, and a camera's lens never changes: tables are kept.

use std::sync::{Arc, Mutex, PoisonError};

use glam::{DVec2, DVec3};
use rayon::prelude::*;

use super::cancel::Cancel;
use crate::scene::camera::CameraModel;

/// Pixels along the side of a tile.
pub(super) const TILE: usize = 16;
/// Tables are forgotten, oldest use first, beyond this many bytes together.
const BUDGET_BYTES: usize = 256 << 20;

/// Unit rays, one a pixel.
#[derive(Debug)]
pub(super) struct RayTable {
    pub width: usize,
    pub height: usize,
    /// x, y, z of the rays, row by row; all zero where the lens shows nothing.
    pub x: Vec<f32>,
    pub y: Vec<f32>,
    pub z: Vec<f32>,
    /// Angle from a pixel to the next, in radians.
    pub pitch_rad: Vec<f32>,
    /// Cones around the rays of each tile, row by row.
    pub tiles: Vec<Cone>,
    /// The cone around all rays.
    pub whole: Cone,
}

/// Directions within an angle of an axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cone {
    pub axis: DVec3,
    /// Below zero: no directions at all.
    pub half_angle_rad: f64,
}

impl Cone {
    /// Around all of some unit vectors, zeros among them left out.
    fn around(rays: impl Iterator<Item = DVec3> + Clone) -> Self {
        let Some(axis) = rays.clone().sum::<DVec3>().try_normalize() else {
            return Self { axis: DVec3::Z, half_angle_rad: -1.0 };
        };
        let cosine = rays.filter(|ray| *ray != DVec3::ZERO).map(|ray| ray.dot(axis)).fold(1.0, f64::min);
        Self { axis, half_angle_rad: cosine.clamp(-1.0, 1.0).acos() + 1e-6 }
    }

    /// Whether the cones have directions in common.
    pub fn meets(&self, other: &Self) -> bool {
        let reach = self.half_angle_rad + other.half_angle_rad;
        self.half_angle_rad >= 0.0
            && other.half_angle_rad >= 0.0
            && (reach >= std::f64::consts::PI || self.axis.dot(other.axis) >= reach.cos())
    }
}

impl RayTable {
    /// Inverts the lens for each pixel of a picture of this resolution. `None` when it is not wanted any more.
    fn new(camera: &CameraModel, resolution: [u32; 2], cancel: &Cancel) -> Option<Self> {
        let [width, height] = resolution.map(|side| side as usize);
        let scale = camera.scale_to(resolution);
        let blank = || vec![0.0; width * height];
        let cone = Cone { axis: DVec3::Z, half_angle_rad: -1.0 };
        let (x, y, z, pitch_rad) = (blank(), blank(), blank(), blank());
        let mut table = Self { width, height, x, y, z, pitch_rad, tiles: Vec::new(), whole: cone };
        let rows = table.x.par_chunks_mut(width).zip(table.y.par_chunks_mut(width));
        rows.zip(table.z.par_chunks_mut(width)).enumerate().for_each(|(row, ((xs, ys), zs))| {
            if cancel.is_cancelled() {
                return;
            }
            for (column, ((x, y), z)) in xs.iter_mut().zip(ys).zip(zs).enumerate() {
                let pixel = DVec2::new(column as f64 + 0.5, row as f64 + 0.5) / scale;
                let ray = camera.unproject(pixel).unwrap_or(DVec3::ZERO);
                (*x, *y, *z) = (ray.x as f32, ray.y as f32, ray.z as f32);
            }
        });
        let mut pitch = std::mem::take(&mut table.pitch_rad);
        pitch.par_chunks_mut(width).enumerate().for_each(|(row, pitches)| {
            for (column, pitch) in pitches.iter_mut().enumerate() {
                *pitch = table.pitch(column, row) as f32;
            }
        });
        table.pitch_rad = pitch;
        let corners =
            (0..height).step_by(TILE).flat_map(|top| (0..width).step_by(TILE).map(move |left| (left, top)));
        table.tiles = corners.map(|(left, top)| table.tile(left, top)).collect();
        table.whole = Cone::around((0..width * height).map(|index| table.ray(index)));
        (!cancel.is_cancelled()).then_some(table)
    }

    /// The cone of a tile, with room for the pixels' own size.
    fn tile(&self, left: usize, top: usize) -> Cone {
        let (right, bottom) = ((left + TILE).min(self.width), (top + TILE).min(self.height));
        let inside = (top..bottom).flat_map(|y| (left..right).map(move |x| y * self.width + x));
        let mut cone = Cone::around(inside.map(|index| self.ray(index)));
        cone.half_angle_rad += self.pitch(left, top);
        cone
    }

    /// The mean angle to the neighbours of a pixel that have a ray.
    fn pitch(&self, x: usize, y: usize) -> f64 {
        let at = |x: usize, y: usize| self.ray(y * self.width + x);
        let here = at(x, y);
        let across = at(if x + 1 < self.width { x + 1 } else { x.saturating_sub(1) }, y);
        let along = at(x, if y + 1 < self.height { y + 1 } else { y.saturating_sub(1) });
        let angle = |there: DVec3| if there == DVec3::ZERO { 0.0 } else { there.distance(here) };
        let (across, along) = (angle(across), angle(along));
        if across > 0.0 && along > 0.0 { 0.5 * (across + along) } else { across.max(along).max(1e-5) }
    }

    /// The ray of a pixel.
    pub fn ray(&self, index: usize) -> DVec3 {
        let part = |values: &[f32]| values.get(index).copied().map_or(0.0, f64::from);
        DVec3::new(part(&self.x), part(&self.y), part(&self.z))
    }

    fn bytes(&self) -> usize {
        self.x.len() * 16
    }
}

/// A table and what it is for.
#[derive(Debug)]
struct Kept {
    camera: CameraModel,
    resolution: [u32; 2],
    table: Arc<RayTable>,
}

/// The tables of the cameras drawn last.
#[derive(Debug, Default)]
pub struct RayTables {
    /// Latest use last.
    kept: Mutex<Vec<Kept>>,
}

impl RayTables {
    /// The table of a camera, made if need be. `None` when it is not wanted any more.
    pub(super) fn get(
        &self,
        camera: &CameraModel,
        resolution: [u32; 2],
        cancel: &Cancel,
    ) -> Option<Arc<RayTable>> {
        if let Some(table) = self.find(camera, resolution) {
            return Some(table);
        }
        let table = Arc::new(RayTable::new(camera, resolution, cancel)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(Kept { camera: camera.clone(), resolution, table: Arc::clone(&table) });
        let mut bytes: usize = kept.iter().map(|kept| kept.table.bytes()).sum();
        while bytes > BUDGET_BYTES && kept.len() > 1 {
            bytes -= kept.remove(0).table.bytes();
        }
        Some(table)
    }

    fn find(&self, camera: &CameraModel, resolution: [u32; 2]) -> Option<Arc<RayTable>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let index = kept.iter().position(|kept| kept.resolution == resolution && kept.camera == *camera)?;
        let found = kept.remove(index);
        let table = Arc::clone(&found.table);
        kept.push(found);
        Some(table)
    }
}
