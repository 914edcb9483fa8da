//! Marks on the ground, at their true width: every border of the map and the path ahead becomes quadrangles short
//! enough for the lens to bend them, projected exactly.

use glam::{DVec2, DVec3};

use super::mask::Mask;
use super::palette::haze;
use super::rays::Cone;
use super::sweep::Sweep;
use super::view::SceneView;
use crate::scene::MapLineKind;

/// Marks further than this are left out, in metres.
const REACH_M: f64 = 160.0;
/// The length of a quadrangle over its distance.
const STEP: f64 = 0.06;
/// The shortest one, in metres.
const SHORTEST_M: f64 = 0.1;
/// Length of dash and gap of a broken border, in metres.
const DASH_M: [f64; 2] = [3.0, 6.0];
/// Half the width of the path ahead, in metres.
const PATH_HALF_WIDTH_M: f64 = 0.9;
/// The path starts and is whole so far ahead of the rear axle, in metres.
const PATH_START_M: [f64; 2] = [3.0, 9.0];

/// What marks cover, by colour.
pub(super) struct Marks {
    pub borders: Mask,
    pub edges: Mask,
    pub path: Mask,
}

impl Marks {
    /// Draws the marks of a view.
    pub fn draw(view: &SceneView<'_>, sweep: &Sweep<'_>, seen: &Cone, [width, height]: [usize; 2]) -> Self {
        let mut marks = Self {
            borders: Mask::new(width, height),
            edges: Mask::new(width, height),
            path: Mask::new(width, height),
        };
        let brush = Brush { sweep, seen: in_world(sweep, seen) };
        let fade = |_: f64, distance: f64| {
            let end = ((REACH_M - distance) / (0.25 * REACH_M)).clamp(0.0, 1.0);
            (end * f64::from(1.0 - haze(distance as f32))) as f32
        };
        for line in view.map.iter().flat_map(|map| &map.lines) {
            let points: Vec<DVec3> = line.points_m.iter().map(|point| *point - sweep.origin).collect();
            let (mask, half_width, dash) = match line.kind {
                MapLineKind::RoadEdge => (&mut marks.edges, 0.1, None),
                MapLineKind::Solid => (&mut marks.borders, 0.075, None),
                MapLineKind::Broken => (&mut marks.borders, 0.075, Some(DASH_M)),
                MapLineKind::Other => (&mut marks.edges, 0.05, None),
            };
            brush.draw(mask, &points, half_width, dash, &fade);
        }
        let path: Vec<DVec3> = view.path_m.iter().map(|point| *point - sweep.origin).collect();
        let length: f64 = path.windows(2).map(|pair| pair[0].distance(pair[1])).sum();
        brush.draw(&mut marks.path, &path, PATH_HALF_WIDTH_M, None, &|along, distance| {
            let [start, whole] = PATH_START_M;
            let begin = ((along - start) / (whole - start)).clamp(0.0, 1.0);
            let end = ((length - along) / 20.0).clamp(0.0, 1.0);
            (begin * end) as f32 * fade(along, distance)
        });
        marks
    }
}

fn in_world(sweep: &Sweep<'_>, seen: &Cone) -> Cone {
    let axis = sweep.lines.first().map_or(seen.axis, |line| line.rotation * seen.axis);
    Cone { axis, half_angle_rad: seen.half_angle_rad + 0.25 }
}

struct Brush<'a> {
    sweep: &'a Sweep<'a>,
    /// Directions worth projecting, in world coordinates.
    seen: Cone,
}

/// The picture points of the two sides of a ribbon, where both are seen.
type Section = Option<[DVec2; 2]>;

impl Brush<'_> {
    /// Draws a ribbon around points relative to the sweep's origin. `weight` is asked with the length so far and the
    /// distance from the camera, in metres.
    fn draw(
        &self,
        mask: &mut Mask,
        points: &[DVec3],
        half_width: f64,
        dash: Option<[f64; 2]>,
        weight: &dyn Fn(f64, f64) -> f32,
    ) {
        let period = dash.map(|[on, off]| (on, on + off));
        let mut along = 0.0;
        for (index, pair) in points.windows(2).enumerate() {
            let [from, to] = [pair[0], pair[1]];
            let length = from.distance(to);
            if length > 0.0 && distance_to_segment(from, to) < REACH_M {
                let sides = [
                    side(index.checked_sub(1).and_then(|i| points.get(i)).copied(), from, Some(to)),
                    side(Some(from), to, points.get(index + 2).copied()),
                ];
                let segment = Segment { from, to, sides: sides.map(|side| side * half_width), length, along };
                self.segment(mask, &segment, period, weight);
            }
            along += length;
        }
    }

    fn segment(
        &self,
        mask: &mut Mask,
        segment: &Segment,
        period: Option<(f64, f64)>,
        weight: &dyn Fn(f64, f64) -> f32,
    ) {
        let mut at = 0.0;
        let mut before: Section = None;
        while at < segment.length {
            let centre = segment.from.lerp(segment.to, at / segment.length);
            let distance = centre.length();
            let mut next = (at + (distance * STEP).max(SHORTEST_M)).min(segment.length);
            let mut drawn = true;
            if let Some((on, period)) = period {
                let phase = (segment.along + at).rem_euclid(period);
                let rest = if phase < on - 1e-6 { on - phase } else { period - phase };
                drawn = phase < on - 1e-6;
                let change = (at + rest.max(1e-3)).min(segment.length);
                next = if drawn { next.min(change) } else { change };
            }
            let strength = if drawn { weight(segment.along + at, distance) } else { 0.0 };
            if strength > 0.004 {
                let start = before.or_else(|| self.section(segment, at));
                let end = self.section(segment, next);
                if let (Some([left, right]), Some([next_left, next_right])) = (start, end) {
                    mask.add(&[left, next_left, next_right, right], strength);
                }
                before = end;
            } else {
                before = None;
            }
            at = next;
        }
    }

    fn section(&self, segment: &Segment, at: f64) -> Section {
        let part = at / segment.length;
        let centre = segment.from.lerp(segment.to, part);
        let side = segment.sides[0].lerp(segment.sides[1], part);
        let distance = centre.length();
        if distance > 2.0
            && centre.dot(self.seen.axis)
                < distance * self.seen.half_angle_rad.min(std::f64::consts::PI).cos()
        {
            return None;
        }
        Some([self.sweep.project(centre + side)?, self.sweep.project(centre - side)?])
    }
}

struct Segment {
    from: DVec3,
    to: DVec3,
    /// Half across the ribbon, at both ends.
    sides: [DVec3; 2],
    length: f64,
    /// From the start of the line.
    along: f64,
}

/// To the left of a line at one of its points, horizontally, so long that mitred joints keep the width.
fn side(before: Option<DVec3>, here: DVec3, after: Option<DVec3>) -> DVec3 {
    let direction = |from: Option<DVec3>, to: Option<DVec3>| {
        let along = to.zip(from).map_or(DVec3::ZERO, |(to, from)| to - from);
        DVec3::new(along.x, along.y, 0.0).normalize_or_zero()
    };
    let (inward, outward) = (direction(before, Some(here)), direction(Some(here), after));
    let mean = (inward + outward).try_normalize().unwrap_or(outward);
    let stretch =
        if inward == DVec3::ZERO || outward == DVec3::ZERO { 1.0 } else { 1.0 / mean.dot(outward).max(0.5) };
    DVec3::Z.cross(mean) * stretch
}

/// From the origin.
fn distance_to_segment(from: DVec3, to: DVec3) -> f64 {
    let along = to - from;
    let part = (-from.dot(along) / along.length_squared()).clamp(0.0, 1.0);
    (from + along * part).length()
}
