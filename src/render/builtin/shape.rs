//! What objects look like: a few convex bodies inside the cuboid of the track, so that a car reads as a car and where it
//! points is plain. Nothing reaches out of the cuboid.

use glam::DVec3;

/// How a face is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Material {
    /// The class's colour.
    Paint,
    /// The side of a vehicle, with wheels.
    Side,
    /// The side of something with windows along it.
    Windows,
    /// The front of a vehicle, with lamps.
    Front,
    /// The front of something tall, with lamps and a windscreen.
    TallFront,
    /// The rear of a vehicle, with lamps.
    Rear,
    /// A top with an arrow to the front.
    Arrow,
    /// Window.
    Glass,
    /// Head and hands.
    Skin,
    /// Wheels, frames.
    Dark,
    /// The side of something round, along z.
    Tube,
    /// A ball.
    Ball,
}

/// A side of a body: `normal . p <= offset` inside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Face {
    pub normal: DVec3,
    pub offset: f64,
    pub material: Material,
    /// Light on it, 1 for plain daylight; set when the object is placed.
    pub light: f32,
}

/// A convex body, in metres around the centre of the cuboid.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub faces: Vec<Face>,
    form: Form,
}

/// What bounds a body.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Its faces.
    Flat,
    /// A tube along z with these halves of its sides: its faces are the side, the top, the bottom.
    Tube(DVec3),
    /// A ball stretched to these halves: one face.
    Ball(DVec3),
}

impl Body {
    /// A box from corner to corner, its faces in the order front, rear, left, right, top, bottom.
    fn cuboid(low: DVec3, high: DVec3, materials: [Material; 6]) -> Self {
        let normals = [DVec3::X, DVec3::NEG_X, DVec3::Y, DVec3::NEG_Y, DVec3::Z, DVec3::NEG_Z];
        let offsets = [high.x, -low.x, high.y, -low.y, high.z, -low.z];
        let faces = normals
            .into_iter()
            .zip(offsets)
            .zip(materials)
            .map(|((normal, offset), material)| Face { normal, offset, material, light: 1.0 });
        Self { faces: faces.collect(), form: Form::Flat }
    }

    /// Round along z, in a cuboid of these halves.
    fn tube(half: DVec3) -> Self {
        let face = |normal: DVec3, offset: f64, material| Face { normal, offset, material, light: 1.0 };
        let ends = [DVec3::Z, DVec3::NEG_Z].map(|normal| face(normal, half.z, Material::Paint));
        let side = face(DVec3::X, half.x, Material::Tube);
        Self { faces: std::iter::once(side).chain(ends).collect(), form: Form::Tube(half) }
    }

    /// A ball in a cuboid of these halves.
    fn ball(half: DVec3) -> Self {
        let face = Face { normal: DVec3::Z, offset: half.z, material: Material::Ball, light: 1.0 };
        Self { faces: vec![face], form: Form::Ball(half) }
    }

    /// Cuts along a plane through a point: what lies towards `outward` goes.
    fn cut(mut self, through: DVec3, outward: DVec3, material: Material) -> Self {
        if let Some(normal) = outward.try_normalize() {
            self.faces.push(Face { normal, offset: normal.dot(through), material, light: 1.0 });
        }
        self
    }

    /// Where a ray enters: how far along it, and which face. `None` if it misses or starts inside.
    pub fn enter(&self, origin: DVec3, direction: DVec3) -> Option<(f64, usize)> {
        match self.form {
            Form::Flat => self.enter_flat(origin, direction),
            Form::Tube(half) => enter_tube(origin / half, direction / half),
            Form::Ball(half) => {
                let [enter, _] = roots(origin / half, direction / half)?;
                (enter > 0.0).then_some((enter, 0))
            }
        }
    }

    fn enter_flat(&self, origin: DVec3, direction: DVec3) -> Option<(f64, usize)> {
        let (mut enter, mut leave, mut face) = (0.0, f64::INFINITY, None);
        for (index, side) in self.faces.iter().enumerate() {
            let towards = side.normal.dot(direction);
            let room = side.offset - side.normal.dot(origin);
            if towards < 0.0 {
                let at = room / towards;
                if at > enter {
                    (enter, face) = (at, Some(index));
                }
            } else if towards > 0.0 {
                leave = f64::min(leave, room / towards);
            } else if room < 0.0 {
                return None;
            }
            if enter >= leave {
                return None;
            }
        }
        face.filter(|_| enter < leave).map(|face| (enter, face))
    }

    /// How far a point of a face is from the nearest edge of the face.
    pub fn edge_distance(&self, face: usize, point: DVec3) -> f64 {
        match self.form {
            Form::Flat => self.edge_distance_flat(face, point),
            Form::Tube(half) if face == 0 => half.z - point.z.abs(),
            Form::Tube(half) => half.x.min(half.y) * (1.0 - (point / half).truncate().length()),
            Form::Ball(_) => f64::INFINITY,
        }
    }

    fn edge_distance_flat(&self, face: usize, point: DVec3) -> f64 {
        let Some(own) = self.faces.get(face) else { return f64::INFINITY };
        let mut nearest = f64::INFINITY;
        for (index, side) in self.faces.iter().enumerate() {
            let cosine = side.normal.dot(own.normal);
            let sine = (1.0 - cosine * cosine).sqrt();
            if index != face && sine > 1e-6 {
                nearest = nearest.min((side.offset - side.normal.dot(point)) / sine);
            }
        }
        nearest
    }
}

/// The bodies of an object of a class, of these dimensions in metres.
pub(super) fn bodies(class: &str, dimensions: DVec3) -> Vec<Body> {
    let half = 0.5 * dimensions;
    // A place in the cuboid: 1 is front, left, top; -1 is rear, right, bottom.
    let at = |x: f64, y: f64, z: f64| half * DVec3::new(x, y, z);
    match class {
        "automobile" => car(at),
        "heavy_truck" => truck(at),
        "bus" | "train_or_tram_car" => coach(at),
        "person" | "stroller" => person(at),
        "rider" | "bicycle" | "motorcycle" => cycle(at),
        "robot_link" | "robot_joint" | "pole" | "target_stem" | "obstacle_cylinder" => vec![Body::tube(half)],
        "pole_weight" | "target" | "obstacle_sphere" => vec![Body::ball(half)],
        "robot_base" | "robot_hand" | "robot_finger" | "rail" | "rail_end" | "obstacle_box" => block(at),
        _ => plain(at),
    }
}

fn block(at: impl Fn(f64, f64, f64) -> DVec3) -> Vec<Body> {
    vec![Body::cuboid(at(-1.0, -1.0, -1.0), at(1.0, 1.0, 1.0), [Material::Paint; 6])]
}

/// Where a line meets the unit ball.
fn roots(origin: DVec3, direction: DVec3) -> Option<[f64; 2]> {
    quadratic(direction.length_squared(), origin.dot(direction), origin.length_squared() - 1.0)
}

/// The roots of `a t^2 + 2 b t + c`, the lesser first.
fn quadratic(a: f64, b: f64, c: f64) -> Option<[f64; 2]> {
    let inside = b * b - a * c;
    (a > 0.0 && inside > 0.0).then(|| [(-b - inside.sqrt()) / a, (-b + inside.sqrt()) / a])
}

/// Where a ray enters the tube of radius 1 from z -1 to 1: the side is face 0, the top 1, the bottom 2.
fn enter_tube(origin: DVec3, direction: DVec3) -> Option<(f64, usize)> {
    let (flat, across) = (origin.truncate(), direction.truncate());
    let around = quadratic(across.length_squared(), flat.dot(across), flat.length_squared() - 1.0);
    let [mut enter, mut leave] = match around {
        Some(around) => around,
        // Along the axis.
        None if across.length_squared() < 1e-18 && flat.length_squared() < 1.0 => {
            [f64::NEG_INFINITY, f64::INFINITY]
        }
        None => return None,
    };
    let mut face = 0;
    if direction.z.abs() > 1e-12 {
        let (a, b) = ((-1.0 - origin.z) / direction.z, (1.0 - origin.z) / direction.z);
        if a.min(b) > enter {
            (enter, face) = (a.min(b), if direction.z < 0.0 { 1 } else { 2 });
        }
        leave = leave.min(a.max(b));
    } else if origin.z.abs() > 1.0 {
        return None;
    }
    (enter > 0.0 && enter < leave).then_some((enter, face))
}

fn plain(at: impl Fn(f64, f64, f64) -> DVec3) -> Vec<Body> {
    use Material::{Arrow, Paint};
    vec![Body::cuboid(at(-1.0, -1.0, -1.0), at(1.0, 1.0, 1.0), [Paint, Paint, Paint, Paint, Arrow, Paint])]
}

fn car(at: impl Fn(f64, f64, f64) -> DVec3) -> Vec<Body> {
    use Material::{Dark, Front, Glass, Paint, Rear, Side};
    let lower = Body::cuboid(at(-1.0, -1.0, -1.0), at(1.0, 1.0, 0.2), [Front, Rear, Side, Side, Paint, Dark])
        .cut(at(1.0, 0.0, -0.05), slope(at(1.0, 0.0, -0.05), at(0.4, 0.0, 0.2)), Paint)
        .cut(at(-1.0, 0.0, 0.05), slope_back(at(-1.0, 0.0, 0.05), at(-0.85, 0.0, 0.2)), Paint);
    let cabin =
        Body::cuboid(at(-0.95, -1.0, 0.15), at(0.6, 1.0, 1.0), [Glass, Glass, Glass, Glass, Paint, Dark])
            .cut(at(0.42, 0.0, 0.2), slope(at(0.42, 0.0, 0.2), at(0.08, 0.0, 1.0)), Glass)
            .cut(at(-0.86, 0.0, 0.2), slope_back(at(-0.86, 0.0, 0.2), at(-0.58, 0.0, 1.0)), Glass)
            .cut(at(0.0, 0.94, 0.2), lean(at(0.0, 0.94, 0.2), at(0.0, 0.76, 1.0)), Glass)
            .cut(at(0.0, -0.94, 0.2), -lean(at(0.0, -0.94, 0.2), at(0.0, -0.76, 1.0)), Glass);
    vec![lower, cabin]
}

fn truck(at: impl Fn(f64, f64, f64) -> DVec3) -> Vec<Body> {
    use Material::{Dark, Paint, Side, TallFront};
    let cab =
        Body::cuboid(at(0.58, -0.94, -1.0), at(1.0, 0.94, 0.72), [TallFront, Dark, Side, Side, Paint, Dark]);
    let cargo =
        Body::cuboid(at(-1.0, -1.0, -0.7), at(0.54, 1.0, 1.0), [Paint, Paint, Paint, Paint, Paint, Dark]);
    let chassis =
        Body::cuboid(at(-0.98, -0.9, -1.0), at(0.56, 0.9, -0.7), [Dark, Dark, Side, Side, Dark, Dark]);
    vec![cab, cargo, chassis]
}

fn coach(at: impl Fn(f64, f64, f64) -> DVec3) -> Vec<Body> {
    use Material::{Dark, Paint, Rear, TallFront, Windows};
    vec![Body::cuboid(
        at(-1.0, -1.0, -1.0),
        at(1.0, 1.0, 1.0),
        [TallFront, Rear, Windows, Windows, Paint, Dark],
    )]
}

fn person(at: impl Fn(f64, f64, f64) -> DVec3) -> Vec<Body> {
    use Material::{Dark, Paint, Skin};
    let legs = Body::cuboid(at(-0.45, -0.45, -1.0), at(0.45, 0.45, -0.1), [Dark; 6]);
    let torso = Body::cuboid(at(-0.6, -0.9, -0.2), at(0.6, 0.9, 0.66), [Paint; 6]);
    let head = Body::cuboid(at(-0.4, -0.38, 0.7), at(0.45, 0.38, 1.0), [Skin; 6]);
    vec![legs, torso, head]
}

fn cycle(at: impl Fn(f64, f64, f64) -> DVec3) -> Vec<Body> {
    use Material::{Dark, Paint, Skin};
    let frame = Body::cuboid(at(-1.0, -0.16, -1.0), at(1.0, 0.16, -0.25), [Dark; 6])
        .cut(at(1.0, 0.0, -0.6), slope(at(1.0, 0.0, -0.6), at(0.6, 0.0, -0.25)), Dark)
        .cut(at(-1.0, 0.0, -0.6), slope_back(at(-1.0, 0.0, -0.6), at(-0.6, 0.0, -0.25)), Dark);
    let torso = Body::cuboid(at(-0.4, -0.75, -0.3), at(0.3, 0.75, 0.66), [Paint; 6]).cut(
        at(-0.4, 0.0, -0.3),
        slope_back(at(-0.4, 0.0, -0.3), at(-0.15, 0.0, 0.66)),
        Paint,
    );
    let head = Body::cuboid(at(-0.1, -0.4, 0.68), at(0.3, 0.4, 1.0), [Skin; 6]);
    vec![frame, torso, head]
}

/// Out of a front that leans back from a lower to a higher point.
fn slope(low: DVec3, high: DVec3) -> DVec3 {
    DVec3::new(high.z - low.z, 0.0, low.x - high.x)
}

/// Out of a rear that leans forward from a lower to a higher point.
fn slope_back(low: DVec3, high: DVec3) -> DVec3 {
    DVec3::new(low.z - high.z, 0.0, high.x - low.x)
}

/// Out of a left side that leans in from a lower to a higher point; negated, of a right side.
fn lean(low: DVec3, high: DVec3) -> DVec3 {
    DVec3::new(0.0, high.z - low.z, low.y - high.y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ball_is_met_where_it_is_and_missed_where_it_is_not() {
        let ball = Body::ball(DVec3::new(1.0, 2.0, 3.0));
        let at = |origin, direction| ball.enter(origin, direction).unwrap().0;
        assert!((at(DVec3::new(-5.0, 0.0, 0.0), DVec3::X) - 4.0).abs() < 1e-12);
        assert!((at(DVec3::new(0.0, 0.0, 9.0), DVec3::NEG_Z) - 6.0).abs() < 1e-12);
        assert_eq!(ball.enter(DVec3::new(-5.0, 2.1, 0.0), DVec3::X), None);
        assert_eq!(ball.enter(DVec3::new(5.0, 0.0, 0.0), DVec3::X), None, "behind");
        assert_eq!(ball.enter(DVec3::ZERO, DVec3::X), None, "inside");
    }

    #[test]
    fn a_tube_has_a_side_and_two_ends() {
        let tube = Body::tube(DVec3::new(1.0, 1.0, 2.0));
        let at = |origin, direction| {
            let (along, face) = tube.enter(origin, direction).unwrap();
            ((along * 1e9).round() / 1e9, face)
        };
        assert_eq!(at(DVec3::new(-5.0, 0.0, 1.9), DVec3::X), (4.0, 0));
        assert_eq!(tube.enter(DVec3::new(-5.0, 0.0, 2.1), DVec3::X), None);
        assert_eq!(at(DVec3::new(0.5, 0.5, 9.0), DVec3::NEG_Z), (7.0, 1));
        assert_eq!(at(DVec3::new(0.5, 0.5, -9.0), DVec3::Z), (7.0, 2));
        assert_eq!(tube.enter(DVec3::new(0.9, 0.9, 9.0), DVec3::NEG_Z), None);
        assert_eq!(tube.enter(DVec3::ZERO, DVec3::X), None, "inside");
        assert_eq!(at(DVec3::new(-3.0, 0.0, 3.0), DVec3::new(1.0, 0.0, -1.0)), (2.0, 0));
        assert_eq!(at(DVec3::new(-2.0, 0.0, 4.5), DVec3::new(1.0, 0.0, -1.0)), (2.5, 1));
    }
}
