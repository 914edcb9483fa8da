//! What is beside the traffic: parked cars at the kerbs, people on the sidewalks and on the crossings.

use glam::{DMat4, DVec3};

use super::random::Random;
use super::town::{BOX_M, EAST, LANE_M, NORTH, PARKING_M, SIDEWALK_M, SOUTH, Town, WEST};

/// Where the sidewalk begins, in metres from the reference line.
const KERB_M: f64 = LANE_M + PARKING_M;

/// Something that stands or walks at constant speed along a line beside a road or across it.
#[derive(Debug, Clone)]
pub(super) struct Prop {
    pub(super) class: &'static str,
    pub(super) dimensions_m: DVec3,
    path: Path,
}

#[derive(Debug, Clone)]
enum Path {
    /// Street, s, t, facing backwards.
    Parked(usize, f64, f64, bool),
    /// Street, s at time zero, t, speed along s.
    Along(usize, f64, f64, f64),
    /// From, to (map coordinates), when it sets out, speed.
    Across(DVec3, DVec3, f64, f64),
}

impl Prop {
    /// Whether it never moves.
    pub(super) fn is_static(&self) -> bool {
        matches!(self.path, Path::Parked(..))
    }

    /// `map_from_object` on the ground below its middle; none where its walk has not begun or has ended.
    pub(super) fn pose(&self, town: &Town, time_s: f64) -> Option<DMat4> {
        match self.path {
            Path::Parked(street, s_m, t_m, backwards) => Some(town.pose(street, s_m, t_m, backwards)),
            Path::Along(street, s_m, t_m, speed) => {
                let s_m = s_m + speed * time_s;
                let inside = (1.0..town.length_m(street) - 1.0).contains(&s_m);
                inside.then(|| town.pose(street, s_m, t_m, speed < 0.0))
            }
            Path::Across(from, to, sets_out_s, speed) => {
                let walked_m = ((time_s - sets_out_s) * speed).clamp(0.0, from.distance(to));
                let way = to - from;
                let place = from + way * (walked_m / from.distance(to));
                Some(DMat4::from_translation(place) * DMat4::from_rotation_z(way.y.atan2(way.x)))
            }
        }
    }
}

/// Cars parked along every street, in random order: as many as there is room for.
pub(super) fn parked(random: &mut Random) -> Vec<Prop> {
    let mut props = Vec::new();
    for (street, from_m, to_m) in
        [(WEST, 20.0, 127.0), (EAST, 18.0, 240.0), (SOUTH, 10.0, 77.0), (NORTH, 18.0, 88.0)]
    {
        for side in [-1.0, 1.0] {
            let mut s_m = from_m + random.between(0.0, 4.0);
            while s_m < to_m {
                let length_m = random.between(3.8, 4.9);
                let t_m = side * (LANE_M + PARKING_M / 2.0 + random.between(0.0, 0.1));
                if random.chance(0.72) {
                    props.push(Prop {
                        class: "automobile",
                        dimensions_m: DVec3::new(
                            length_m,
                            random.between(1.7, 1.9),
                            random.between(1.42, 1.75),
                        ),
                        path: Path::Parked(street, s_m, t_m, side > 0.0),
                    });
                }
                s_m += 6.0 + random.between(0.0, 1.6);
            }
        }
    }
    random.shuffle(&mut props);
    props
}

/// People: first those who cross, then those who walk. Everyone in one row of a sidewalk walks the same way at the same
/// speed, so nobody walks through anybody.
pub(super) fn people(count: usize, random: &mut Random) -> Vec<Prop> {
    let mut props = Vec::new();
    let body = |random: &mut Random| {
        DVec3::new(random.between(0.45, 0.65), random.between(0.5, 0.62), random.between(1.55, 1.9))
    };
    let (off_m, half_m) = (BOX_M + 3.0, KERB_M + 0.9);
    let crossings = [
        // Over the main street while it waits, then over the side street while that waits.
        (DVec3::new(-off_m - 0.9, -half_m, 0.0), DVec3::new(-off_m - 0.9, half_m, 0.0), 0.4, 1.45),
        (DVec3::new(-off_m + 0.9, half_m, 0.0), DVec3::new(-off_m + 0.9, -half_m, 0.0), 0.9, 1.5),
        (DVec3::new(-half_m, -off_m - 0.9, 0.0), DVec3::new(half_m, -off_m - 0.9, 0.0), 12.5, 1.3),
        (DVec3::new(half_m, -off_m + 0.9, 0.0), DVec3::new(-half_m, -off_m + 0.9, 0.0), 13.5, 1.2),
    ];
    for (from, to, sets_out_s, speed) in crossings {
        let path = Path::Across(from, to, sets_out_s, speed);
        props.push(Prop { class: "person", dimensions_m: body(random), path });
    }
    let mut walkers = Vec::new();
    for (street, from_m, to_m) in [(WEST, 4.0, 122.0), (EAST, 12.0, 190.0)] {
        for side in [-1.0, 1.0] {
            for row in 0..4 {
                let t_m = side * (KERB_M + 0.5 + f64::from(row) * (SIDEWALK_M - 1.0) / 3.0);
                let ahead = random.chance(0.5);
                let speed = random.between(0.9, 1.6);
                // Nobody reaches the crossings' waiting places within a minute's half.
                let (low_m, high_m) = match (street, ahead) {
                    (WEST, true) => (from_m, to_m - 48.0),
                    (EAST, false) => (from_m + 48.0, to_m),
                    _ => (from_m, to_m),
                };
                let mut s_m = low_m + random.between(0.0, 12.0);
                while s_m < high_m {
                    let path = Path::Along(street, s_m, t_m, if ahead { speed } else { -speed });
                    walkers.push(Prop { class: "person", dimensions_m: body(random), path });
                    s_m += random.between(6.0, 26.0);
                }
            }
        }
    }
    random.shuffle(&mut walkers);
    props.extend(walkers);
    props.truncate(count);
    props
}
