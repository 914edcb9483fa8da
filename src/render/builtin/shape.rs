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
        Self { faces: faces.collect() }
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
        let Some(own) = self.faces.get(face) else { return f64::INFINITY };
        let mut nearest = f64::INFINITY;
        for (index, side) in self.faces.iter().enumerate() {
            let cosine = side.normal.dot(own.normal);
            let sine = (1.0 - cosine * cosine).sqrt();
            // Between facets of something round there is no edge.
            let facets = matches!(
                (side.material, own.material),
                (Material::Tube, Material::Tube) | (Material::Ball, Material::Ball)
            );
            if index != face && sine > 1e-6 && !facets {
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
        "robot_link" | "robot_joint" | "pole" | "target_stem" | "obstacle_cylinder" => tube(half),
        "pole_weight" | "target" | "obstacle_sphere" => ball(half),
        "robot_base" | "robot_hand" | "robot_finger" | "rail" | "rail_end" | "obstacle_box" => block(at),
        _ => plain(at),
    }
}

fn block(at: impl Fn(f64, f64, f64) -> DVec3) -> Vec<Body> {
    vec![Body::cuboid(at(-1.0, -1.0, -1.0), at(1.0, 1.0, 1.0), [Material::Paint; 6])]
}

/// Round along z: a prism of many sides.
fn tube(half: DVec3) -> Vec<Body> {
    const SIDES: usize = 24;
    let around = (0..SIDES).map(|side| {
        let angle = std::f64::consts::TAU * side as f64 / SIDES as f64;
        facet(DVec3::new(angle.cos(), angle.sin(), 0.0), half, Material::Tube)
    });
    let ends = [DVec3::Z, DVec3::NEG_Z].map(|end| facet(end, half, Material::Paint));
    vec![Body { faces: around.chain(ends).collect() }]
}

/// A ball: many facets, spread evenly along a spiral.
fn ball(half: DVec3) -> Vec<Body> {
    const FACETS: usize = 160;
    let golden = std::f64::consts::PI * (3.0 - 5.0_f64.sqrt());
    let faces = (0..FACETS).map(|index| {
        let height = 1.0 - (2 * index + 1) as f64 / FACETS as f64;
        let across = (1.0 - height * height).sqrt();
        let (sine, cosine) = (golden * index as f64).sin_cos();
        facet(DVec3::new(across * cosine, across * sine, height), half, Material::Ball)
    });
    vec![Body { faces: faces.collect() }]
}

/// A facet that touches the stretched unit ball, or the stretched unit tube, in a direction.
fn facet(direction: DVec3, half: DVec3, material: Material) -> Face {
    let stretched = direction / half;
    let length = stretched.length().max(1e-12);
    Face { normal: stretched / length, offset: 1.0 / length, material, light: 1.0 }
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
