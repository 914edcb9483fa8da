//! Where the sensor is while its lines are exposed, relative to where it is at first: small numbers, fit for f32.

use glam::{DMat3, DVec2, DVec3};

use crate::geometry::Pose;
use crate::scene::camera::{CameraModel, Shutter, pose_during_shutter};

/// Rows look up their instant again at most so often when a point is projected.
const ITERATIONS: usize = 6;

/// The sensor at the exposure of one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// 0 at shutter start, 1 at its end.
    pub fraction: f64,
    /// World from sensor.
    pub rotation: DMat3,
    /// In metres from [`Sweep::origin`].
    pub position: DVec3,
}

/// A camera during its shutter.
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    camera: &'a CameraModel,
    /// Picture pixels from native pixels.
    scale: DVec2,
    /// What positions are relative to, in world coordinates.
    pub origin: DVec3,
    /// One, or one a row, or one a column of the picture.
    pub lines: Vec<Line>,
    /// What lines are.
    pub order: Order,
}

/// Which pixels are exposed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// All.
    Whole,
    /// Those of a row.
    Rows,
    /// Those of a column.
    Columns,
}

impl<'a> Sweep<'a> {
    pub fn new(
        camera: &'a CameraModel,
        world_from_sensor: &[Pose; 2],
        moving: bool,
        resolution: [u32; 2],
    ) -> Self {
        let order = match camera.shutter {
            _ if !moving && world_from_sensor[0] == world_from_sensor[1] => Order::Whole,
            Shutter::Unknown | Shutter::Global => Order::Whole,
            Shutter::RollingTopToBottom | Shutter::RollingBottomToTop => Order::Rows,
            Shutter::RollingLeftToRight | Shutter::RollingRightToLeft => Order::Columns,
        };
        let [width, height] = resolution;
        let count = match order {
            Order::Whole => 1,
            Order::Rows => height,
            Order::Columns => width,
        };
        let scale = camera.scale_to(resolution);
        let origin = world_from_sensor[0].translation_m;
        let line = |index: u32| {
            let pixel = DVec2::splat(f64::from(index) + 0.5) / scale;
            let fraction = if order == Order::Whole { 0.0 } else { camera.shutter_fraction(pixel) };
            let pose = pose_during_shutter(world_from_sensor, fraction);
            Line { fraction, rotation: pose.rotation_matrix(), position: pose.translation_m - origin }
        };
        Self { camera, scale, origin, lines: (0..count).map(line).collect(), order }
    }

    /// Which line a pixel belongs to.
    pub fn index(&self, x: usize, y: usize) -> usize {
        match self.order {
            Order::Whole => 0,
            Order::Rows => y.min(self.lines.len() - 1),
            Order::Columns => x.min(self.lines.len() - 1),
        }
    }

    /// The sensor when a pixel is exposed.
    pub fn at(&self, x: usize, y: usize) -> &Line {
        &self.lines[self.index(x, y)]
    }

    /// Where a still point, relative to the origin, is seen: in pixels of the picture.
    pub fn project(&self, point: DVec3) -> Option<DVec2> {
        let from = |line: &Line| {
            let in_sensor = line.rotation.transpose() * (point - line.position);
            self.camera.project(in_sensor).map(|pixel| pixel * self.scale)
        };
        let mut index = 0;
        let mut pixel = from(self.lines.first()?);
        if self.lines.len() == 1 {
            return pixel;
        }
        if pixel.is_none() {
            index = self.lines.len() - 1;
            pixel = from(self.lines.last()?);
        }
        let mut pixel = pixel?;
        for _ in 0..ITERATIONS {
            let next = self.index(pixel.x.max(0.0) as usize, pixel.y.max(0.0) as usize);
            if next == index {
                break;
            }
            index = next;
            pixel = from(&self.lines[index])?;
        }
        Some(pixel)
    }
}
