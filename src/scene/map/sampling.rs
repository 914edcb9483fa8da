//! Lane borders as polylines: two metres between points where the road is straight, less where it bends.

use glam::{DMat4, DVec2, DVec3};

use super::cubic::value;
use super::ground::Near;
use super::lanes::{Lane, Mark, Paint, Road, Section};
use super::{MapError, MapLineKind};

/// Between points on a straight, in metres.
const MAX_STEP_M: f64 = 2.0;
/// Between points in the tightest bend, in metres.
const MIN_STEP_M: f64 = 0.25;
/// How far a chord may be from its arc, in metres.
const SAGITTA_M: f64 = 0.02;
/// Lanes narrower than this, in metres, are not there.
const NO_WIDTH_M: f64 = 0.01;

/// A border along a section: its distance from the lane reference line at each sample, and which side it is on.
struct Border<'a> {
    offsets_m: Vec<f64>,
    sign: f64,
    marks: &'a [Mark],
    inner: Option<&'a Lane>,
    outer: Option<&'a Lane>,
}

/// Hands every line of a road to `emit`, in map coordinates.
pub(super) fn lines(
    road: &Road,
    max_points: usize,
    emit: &mut dyn FnMut(MapLineKind, &[DVec3]),
) -> Result<(), MapError> {
    let mut left_points = max_points;
    for (index, section) in road.sections.iter().enumerate() {
        let end_m =
            road.sections.get(index + 1).map_or(road.length_m, |next| next.start_m.min(road.length_m));
        if end_m - section.start_m < 1e-6 {
            continue;
        }
        let samples = samples(road, section, end_m);
        for border in borders(section, &samples) {
            let Some(rest) = left_points.checked_sub(samples.len()) else {
                return Err(MapError::TooManyPoints { road: road.id.clone() });
            };
            left_points = rest;
            draw(road, &border, &samples, emit)?;
        }
    }
    Ok(())
}

impl Road {
    /// Whether any of it is within reach of the ego.
    pub(super) fn comes_near(&self, near: &Near, world_from_map: &DMat4) -> bool {
        let pieces = (self.length_m / 50.0).ceil().max(1.0);
        (0..=pieces as usize).any(|piece| {
            let station = self.station(self.length_m * piece as f64 / pieces);
            station.is_none_or(|station| {
                near.reaches(world_from_map.transform_point3(station.position_m.extend(0.0)))
            })
        })
    }

    fn point(&self, s_m: f64, offset_m: f64) -> Option<DVec3> {
        let station = self.station(s_m)?;
        let t = value(&self.lane_offset, s_m) + offset_m;
        let across = DVec2::from_angle(station.heading_rad).perp() * t;
        let height_m =
            value(&self.elevation, s_m) + t * value(&self.superelevation, s_m).clamp(-1.0, 1.0).tan();
        Some((station.position_m + across).extend(height_m))
    }
}

/// Every s at which a section is sampled: close enough for its bends, and wherever a mark or a geometry begins.
fn samples(road: &Road, section: &Section, end_m: f64) -> Vec<f64> {
    let inside = |s: &f64| *s > section.start_m + 1e-6 && *s < end_m - 1e-6;
    let lanes = section.left.iter().chain(&section.right);
    let marks = lanes.flat_map(|lane| &lane.marks).chain(&section.centre_marks).map(|mark| mark.start_m);
    let first = road.plan.partition_point(|piece| piece.start_m <= section.start_m);
    let pieces =
        road.plan.iter().skip(first).map(|piece| piece.start_m).take_while(|start_m| *start_m < end_m);
    let mut breaks: Vec<f64> = pieces.chain(marks).filter(inside).collect();
    breaks.push(end_m);
    breaks.sort_by(f64::total_cmp);
    breaks.dedup_by(|a, b| *a - *b < 1e-6);
    let mut samples = vec![section.start_m];
    let mut s = section.start_m;
    for stop in breaks {
        while s < stop {
            let bend = road.station(s + 1e-6).map_or(0.0, |station| station.curvature.abs());
            let step = (8.0 * SAGITTA_M / bend.max(1e-9)).sqrt().clamp(MIN_STEP_M, MAX_STEP_M);
            s = if s + 1.2 * step >= stop { stop } else { s + step };
            samples.push(s);
        }
    }
    samples
}

fn borders<'a>(section: &'a Section, samples: &[f64]) -> Vec<Border<'a>> {
    let mut borders = vec![Border {
        offsets_m: vec![0.0; samples.len()],
        sign: 1.0,
        marks: &section.centre_marks,
        inner: section.left.first(),
        outer: section.right.first(),
    }];
    for (side, sign) in [(&section.left, 1.0), (&section.right, -1.0)] {
        let mut inner_m = vec![0.0; samples.len()];
        for (index, lane) in side.iter().enumerate() {
            let outer_m: Vec<f64> =
                inner_m.iter().zip(samples).map(|(inner, s)| lane.outer_m(*inner, *s)).collect();
            let has_width = inner_m.iter().zip(&outer_m).any(|(inner, outer)| outer - inner > NO_WIDTH_M);
            inner_m.clone_from(&outer_m);
            if has_width {
                borders.push(Border {
                    offsets_m: outer_m,
                    sign,
                    marks: &lane.marks,
                    inner: Some(lane),
                    outer: side.get(index + 1),
                });
            }
        }
    }
    borders
}

fn draw(
    road: &Road,
    border: &Border<'_>,
    samples: &[f64],
    emit: &mut dyn FnMut(MapLineKind, &[DVec3]),
) -> Result<(), MapError> {
    let paint_at = |s: f64| -> Option<Paint> {
        let after = border.marks.partition_point(|mark| mark.start_m <= s);
        after.checked_sub(1).and_then(|index| border.marks.get(index)).map(|mark| mark.paint)
    };
    let mut line: Vec<DVec3> = Vec::new();
    let mut kind = None;
    for (s, offset_m) in samples.iter().zip(&border.offsets_m) {
        let point = road.point(*s, border.sign * offset_m).filter(|point| point.is_finite());
        let point = point.ok_or_else(|| MapError::Road {
            road: road.id.clone(),
            s_m: *s,
            problem: "its numbers lead nowhere".to_owned(),
        })?;
        line.push(point);
        let next = road.kind(paint_at(*s + 1e-6), border.inner, border.outer);
        if next != kind {
            finish(kind, &line, emit);
            line.clear();
            line.push(point);
            kind = next;
        }
    }
    finish(kind, &line, emit);
    Ok(())
}

fn finish(kind: Option<MapLineKind>, line: &[DVec3], emit: &mut dyn FnMut(MapLineKind, &[DVec3])) {
    if let Some(kind) = kind
        && line.len() > 1
    {
        emit(kind, line);
    }
}
