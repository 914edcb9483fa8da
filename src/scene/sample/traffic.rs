//! Vehicles that follow their lane, the one before them and the traffic light: the intelligent driver model (Treiber,
//! Hennecke, Helbing 2000), so that nobody drives through anybody.

use glam::{DMat4, DVec3};

use super::random::Random;
use super::town::{ACROSS_EAST, ACROSS_NORTH, EAST, LANE_M, NORTH, SOUTH, Town, WEST};

/// Between simulated instants, in seconds.
pub(super) const STEP_S: f64 = 0.02;
/// The side streets have green from the start to here, the main street from the second on, in seconds.
const SIDE_GREEN_UNTIL_S: f64 = 7.0;
const MAIN_GREEN_FROM_S: f64 = 11.0;
/// From a street's end to its stop line, in metres.
const STOP_LINE_M: f64 = 5.5;
/// Comfortable acceleration and braking in m/s^2, time headway in s, distance kept when standing in m.
const ACCELERATION: f64 = 1.6;
const BRAKING: f64 = 2.4;
const HEADWAY_S: f64 = 1.3;
const STANDING_M: f64 = 2.5;

/// Part of a lane: a road, which way, and how far to the left of its reference line.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Leg {
    street: usize,
    backwards: bool,
}

/// A vehicle and where it was at every step.
#[derive(Debug, Clone)]
pub(super) struct Vehicle {
    pub(super) class: &'static str,
    pub(super) dimensions_m: DVec3,
    route: &'static [(usize, bool)],
    /// To the right of the lane's middle, in metres.
    aside_m: f64,
    wished_speed: f64,
    speed: f64,
    /// Of its middle along its route, in metres.
    travelled_m: f64,
    pub(super) history_m: Vec<f64>,
}

type Route = &'static [(usize, bool)];
const EASTBOUND: Route = &[(WEST, false), (ACROSS_EAST, false), (EAST, false)];
const WESTBOUND: Route = &[(EAST, true), (ACROSS_EAST, true), (WEST, true)];
const NORTHBOUND: Route = &[(SOUTH, false), (ACROSS_NORTH, false), (NORTH, false)];
const SOUTHBOUND: Route = &[(NORTH, true), (ACROSS_NORTH, true), (SOUTH, true)];

/// Everyone but the ego, in the order in which they are taken: route, where on it in metres, class.
const CAST: [(Route, f64, &str); 26] = [
    (EASTBOUND, 112.0, "automobile"),
    (WESTBOUND, 205.0, "automobile"),
    (NORTHBOUND, 62.0, "automobile"),
    (SOUTHBOUND, 55.0, "automobile"),
    (WESTBOUND, 222.0, "rider"),
    (EASTBOUND, 54.0, "bus"),
    (WESTBOUND, 180.0, "heavy_truck"),
    (NORTHBOUND, 44.0, "automobile"),
    (EASTBOUND, 215.0, "automobile"),
    (SOUTHBOUND, 30.0, "automobile"),
    (WESTBOUND, 155.0, "automobile"),
    (EASTBOUND, 32.0, "automobile"),
    (NORTHBOUND, 20.0, "motorcycle"),
    (WESTBOUND, 130.0, "automobile"),
    (SOUTHBOUND, 10.0, "automobile"),
    (EASTBOUND, 250.0, "automobile"),
    (WESTBOUND, 290.0, "automobile"),
    (EASTBOUND, 10.0, "automobile"),
    (WESTBOUND, 105.0, "automobile"),
    (EASTBOUND, 285.0, "heavy_truck"),
    (NORTHBOUND, 150.0, "automobile"),
    (SOUTHBOUND, 150.0, "automobile"),
    (WESTBOUND, 75.0, "automobile"),
    (EASTBOUND, 315.0, "automobile"),
    (WESTBOUND, 330.0, "automobile"),
    (WESTBOUND, 45.0, "automobile"),
];

/// Length, width, height in metres and speed wished for in m/s.
fn build(class: &str, random: &mut Random) -> (DVec3, f64) {
    let (length, width, height, speed) = match class {
        "bus" => (12.0, 2.55, 3.1, 8.0),
        "heavy_truck" => (8.6, 2.5, 3.4, 8.0),
        "rider" => (1.8, 0.7, 1.75, 5.0),
        "motorcycle" => (2.2, 0.85, 1.6, 9.0),
        _ => (4.5, 1.85, 1.52, 9.5),
    };
    let factor = random.between(0.94, 1.06);
    let wished = speed * random.between(0.92, 1.08);
    (DVec3::new(length * factor, width, height * random.between(0.96, 1.06)), wished)
}

impl Vehicle {
    fn new(class: &'static str, route: Route, travelled_m: f64, random: &mut Random) -> Self {
        let (dimensions_m, wished_speed) = build(class, random);
        Self {
            class,
            dimensions_m,
            route,
            aside_m: if class == "rider" { 0.9 } else { random.between(-0.15, 0.15) },
            wished_speed,
            speed: 0.85 * wished_speed,
            travelled_m,
            history_m: Vec::new(),
        }
    }

    /// The vehicle that carries the cameras: its box in the rig as given.
    pub(super) fn ego(dimensions_m: DVec3) -> Self {
        Self {
            class: "ego",
            dimensions_m,
            route: EASTBOUND,
            aside_m: 0.0,
            wished_speed: 9.0,
            speed: 8.0,
            travelled_m: 84.0,
            history_m: Vec::new(),
        }
    }

    fn leg(&self, town: &Town, travelled_m: f64) -> Option<(Leg, f64)> {
        let mut rest_m = travelled_m;
        for (index, (street, backwards)) in self.route.iter().enumerate() {
            let length_m = town.length_m(*street);
            if rest_m <= length_m || index + 1 == self.route.len() {
                return Some((Leg { street: *street, backwards: *backwards }, rest_m));
            }
            rest_m -= length_m;
        }
        None
    }

    fn route_length_m(&self, town: &Town) -> f64 {
        self.route.iter().map(|(street, _)| town.length_m(*street)).sum()
    }

    /// `map_from_vehicle` on the ground below its middle shifted by `ahead_m`, at a time; none after it left its route.
    pub(super) fn pose(&self, town: &Town, time_s: f64, ahead_m: f64) -> Option<DMat4> {
        let step = (time_s / STEP_S).max(0.0);
        let (before, share) = (step.floor() as usize, step.fract());
        let a = *self.history_m.get(before)?;
        let b = self.history_m.get(before + 1).copied().unwrap_or(a);
        let travelled_m = a + share * (b - a) + ahead_m;
        let (leg, along_m) = self.leg(town, travelled_m)?;
        if along_m > town.length_m(leg.street) {
            return None;
        }
        let t_m = -(LANE_M / 2.0 + self.aside_m);
        Some(if leg.backwards {
            town.pose(leg.street, town.length_m(leg.street) - along_m, -t_m, true)
        } else {
            town.pose(leg.street, along_m, t_m, false)
        })
    }

    /// How far, bumper to bumper, and how fast the one before is, light and end of the street included.
    fn obstacle(&self, town: &Town, others: &[(Route, f64, f64, f64)], time_s: f64) -> (f64, f64) {
        let front_m = self.travelled_m + self.dimensions_m.x / 2.0;
        let mut nearest = (f64::INFINITY, 0.0);
        for (route, travelled_m, length_m, speed) in others {
            if *route == self.route && *travelled_m > self.travelled_m {
                let gap_m = travelled_m - length_m / 2.0 - front_m;
                if gap_m < nearest.0 {
                    nearest = (gap_m, *speed);
                }
            }
        }
        let main = self.route == EASTBOUND || self.route == WESTBOUND;
        let green = if main { time_s > MAIN_GREEN_FROM_S } else { time_s < SIDE_GREEN_UNTIL_S };
        let first_m = self.route.first().map_or(0.0, |(street, _)| town.length_m(*street));
        let line_m = first_m - STOP_LINE_M - front_m;
        let can_stop = line_m > self.speed * self.speed / (2.0 * 5.0) - 1.0 && line_m > -1.0;
        if !green && can_stop && line_m + STANDING_M < nearest.0 {
            nearest = (line_m + STANDING_M - 0.5, 0.0);
        }
        if self.class == "ego" {
            let end_m = self.route_length_m(town) - front_m - 10.0;
            if end_m < nearest.0 {
                nearest = (end_m, 0.0);
            }
        }
        nearest
    }

    fn drive(&mut self, (gap_m, leader_speed): (f64, f64)) {
        let closing = self.speed - leader_speed;
        let wanted_m = STANDING_M
            + (self.speed * HEADWAY_S + self.speed * closing / (2.0 * (ACCELERATION * BRAKING).sqrt()))
                .max(0.0);
        let free = 1.0 - (self.speed / self.wished_speed).powi(4);
        let change = ACCELERATION * (free - (wanted_m / gap_m.max(0.1)).powi(2));
        self.speed = (self.speed + change.clamp(-8.0, ACCELERATION) * STEP_S).max(0.0);
        self.travelled_m += self.speed * STEP_S;
    }
}

/// The ego first, then up to `count` others, driven for `duration_s`.
pub(super) fn drive(
    town: &Town,
    ego: Vehicle,
    count: usize,
    duration_s: f64,
    random: &mut Random,
) -> Vec<Vehicle> {
    let mut vehicles = vec![ego];
    for (route, at_m, class) in CAST.into_iter().take(count) {
        let moved_m = random.between(-2.0, 2.0);
        vehicles.push(Vehicle::new(class, route, at_m + moved_m, random));
    }
    for step in 0..=(duration_s / STEP_S).ceil() as usize {
        for vehicle in &mut vehicles {
            vehicle.history_m.push(vehicle.travelled_m);
        }
        let seen: Vec<_> =
            vehicles.iter().map(|v| (v.route, v.travelled_m, v.dimensions_m.x, v.speed)).collect();
        for vehicle in &mut vehicles {
            let obstacle = vehicle.obstacle(town, &seen, step as f64 * STEP_S);
            vehicle.drive(obstacle);
        }
    }
    vehicles
}
