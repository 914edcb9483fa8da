//! Colours: eight-bit sRGB values as floats, mixed as they are. Daylight, calm, so that marks and objects stand out.

/// Red, green, blue, 0 to 255.
pub(super) type Colour = [f32; 3];

/// The sky overhead.
pub(super) const ZENITH: Colour = [74.0, 132.0, 194.0];
/// Where sky and ground meet, and what far things fade to.
pub(super) const HAZE: Colour = [214.0, 226.0, 236.0];
/// The ground.
pub(super) const GROUND: Colour = [112.0, 118.0, 122.0];
/// The lines of the grid on it.
pub(super) const GRID: Colour = [146.0, 152.0, 156.0];
/// Lane borders.
pub(super) const MARKING: Colour = [246.0, 246.0, 240.0];
/// The edges of the road.
pub(super) const EDGE: Colour = [233.0, 196.0, 106.0];
/// Where the ego vehicle drove.
pub(super) const PATH: Colour = [52.0, 196.0, 190.0];
/// Where the lens shows nothing.
pub(super) const OUTSIDE: Colour = [22.0, 24.0, 28.0];
/// Outlines, tyres.
pub(super) const INK: Colour = [24.0, 28.0, 34.0];
/// Windows.
pub(super) const GLASS: Colour = [44.0, 58.0, 72.0];
/// Rims, lamps.
pub(super) const METAL: Colour = [190.0, 196.0, 202.0];
/// Headlights.
pub(super) const LAMP: Colour = [255.0, 250.0, 226.0];
/// Rear lights.
pub(super) const REAR_LAMP: Colour = [206.0, 44.0, 40.0];

/// Half of a colour is lost in haze at this distance, in metres.
const HAZE_DISTANCE_M: f32 = 190.0;

/// The part of a colour that haze replaces at a distance.
pub(super) fn haze(distance_m: f32) -> f32 {
    let squared = distance_m * distance_m;
    squared / (squared + HAZE_DISTANCE_M * HAZE_DISTANCE_M)
}

/// From `a` at 0 to `b` at 1.
pub(super) fn mix(a: Colour, b: Colour, part: f32) -> Colour {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * part)
}

/// What a class of objects is painted in.
pub(super) fn of_class(class: &str) -> Colour {
    class_colour(class).map(f32::from)
}

/// The colour that stands for a class of objects: red, green, blue in sRGB.
#[must_use]
pub fn class_colour(class: &str) -> [u8; 3] {
    match class {
        "automobile" => [66, 122, 190],
        "heavy_truck" | "trailer" => [224, 138, 60],
        "bus" | "train_or_tram_car" => [228, 182, 58],
        "other_vehicle" => [140, 118, 190],
        "person" | "stroller" => [214, 78, 70],
        "rider" | "bicycle" | "motorcycle" => [52, 158, 116],
        "animal" => [166, 118, 82],
        "robot_link" => [236, 238, 241],
        "robot_joint" | "robot_base" => [74, 88, 108],
        "robot_hand" => [92, 104, 120],
        "robot_finger" | "rail" => [52, 58, 68],
        "rail_end" => [196, 66, 58],
        "pole" => [214, 158, 92],
        "pole_weight" => [206, 92, 52],
        "target" => [58, 178, 104],
        "target_stem" => [120, 160, 134],
        "obstacle_box" | "obstacle_sphere" | "obstacle_cylinder" => [140, 112, 176],
        _ => [158, 164, 170],
    }
}
