//! The ray of every pixel of a picture, in sensor coordinates. Inverting a lens costs a hundred times what the rest of
//! a pixel costs, and a camera's lens never changes: tables are kept.

use std::sync::{Arc, Mutex, PoisonError};

use glam::{DVec2, DVec3};
use rayon::prelude::*;

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
    /// Inverts the lens for each pixel of a picture of this resolution.
    fn new(camera: &CameraModel, resolution: [u32; 2]) -> Self {
        let [width, height] = resolution.map(|side| side as usize);
        let scale = camera.scale_to(resolution);
        let rays: Vec<DVec3> = (0..width * height)
            .into_par_iter()
            .with_min_len(1024)
            .map(|index| {
                let pixel = DVec2::new((index % width) as f64 + 0.5, (index / width) as f64 + 0.5) / scale;
                camera.unproject(pixel).unwrap_or(DVec3::ZERO)
            })
            .collect();
        let at = |x: usize, y: usize| rays.get(y * width + x).copied().unwrap_or(DVec3::ZERO);
        let tiles = (0..height.div_ceil(TILE))
            .flat_map(|row| (0..width.div_ceil(TILE)).map(move |column| (column * TILE, row * TILE)))
            .map(|(left, top)| {
                let (right, bottom) = ((left + TILE).min(width), (top + TILE).min(height));
                let inside = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
                let mut cone = Cone::around(inside.map(|(x, y)| at(x, y)));
                cone.half_angle_rad += pitch(&at, left, top, width, height);
                cone
            })
            .collect();
        let pitch_rad = (0..width * height)
            .map(|index| pitch(&at, index % width, index / width, width, height) as f32)
            .collect();
        let part = |pick: fn(&DVec3) -> f64| rays.iter().map(|ray| pick(ray) as f32).collect();
        Self {
            width,
            height,
            x: part(|ray| ray.x),
            y: part(|ray| ray.y),
            z: part(|ray| ray.z),
            pitch_rad,
            tiles,
            whole: Cone::around(rays.iter().copied()),
        }
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

/// The mean angle to the neighbours of a pixel that have a ray.
fn pitch(at: &impl Fn(usize, usize) -> DVec3, x: usize, y: usize, width: usize, height: usize) -> f64 {
    let here = at(x, y);
    let across = at(if x + 1 < width { x + 1 } else { x.saturating_sub(1) }, y);
    let along = at(x, if y + 1 < height { y + 1 } else { y.saturating_sub(1) });
    let angle = |there: DVec3| if there == DVec3::ZERO { 0.0 } else { there.distance(here) };
    let (across, along) = (angle(across), angle(along));
    if across > 0.0 && along > 0.0 { 0.5 * (across + along) } else { across.max(along).max(1e-5) }
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
    /// The table of a camera, made if need be.
    pub(super) fn get(&self, camera: &CameraModel, resolution: [u32; 2]) -> Arc<RayTable> {
        if let Some(table) = self.find(camera, resolution) {
            return table;
        }
        let table = Arc::new(RayTable::new(camera, resolution));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(Kept { camera: camera.clone(), resolution, table: Arc::clone(&table) });
        let mut bytes: usize = kept.iter().map(|kept| kept.table.bytes()).sum();
        while bytes > BUDGET_BYTES && kept.len() > 1 {
            bytes -= kept.remove(0).table.bytes();
        }
        table
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
