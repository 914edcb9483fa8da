//! Where the ego vehicle is on the earth: WGS 84, as GNSS receivers tell it.

use glam::DVec3;

use super::RIG;
use super::outlet::stamp;
use crate::proto::foxglove::LocationFix;

/// Semi-major axis, in metres.
const MAJOR_M: f64 = 6_378_137.0;
/// Flattening.
const FLATTENING: f64 = 1.0 / 298.257_223_563;
/// Squared first eccentricity.
const E2: f64 = FLATTENING * (2.0 - FLATTENING);

/// The fix of a place in earth-centred, earth-fixed metres.
pub(super) fn fix(ecef_m: DVec3, at_us: i64) -> LocationFix {
    let [latitude, longitude, altitude] = geodetic(ecef_m);
    LocationFix {
        timestamp: Some(stamp(at_us)),
        frame_id: RIG.to_owned(),
        latitude,
        longitude,
        altitude,
        position_covariance: vec![0.0; 9],
        ..LocationFix::default()
    }
}

/// Latitude and longitude in degrees, height above the ellipsoid in metres. The fixed-point form of the textbook relation
/// tan(latitude) = (z + e^2 N sin(latitude)) / p: each round gains more than two digits near the surface.
fn geodetic(DVec3 { x, y, z }: DVec3) -> [f64; 3] {
    let from_axis = x.hypot(y);
    let mut latitude = z.atan2(from_axis * (1.0 - E2));
    for _ in 0..8 {
        let sine = latitude.sin();
        let normal = MAJOR_M / (1.0 - E2 * sine * sine).sqrt();
        latitude = (z + E2 * normal * sine).atan2(from_axis);
    }
    let (sine, cosine) = latitude.sin_cos();
    let height = from_axis * cosine + z * sine - MAJOR_M * (1.0 - E2 * sine * sine).sqrt();
    [latitude.to_degrees(), y.atan2(x).to_degrees(), height]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ecef([latitude, longitude, height]: [f64; 3]) -> DVec3 {
        let ((sine, cosine), (east, north)) =
            (latitude.to_radians().sin_cos(), longitude.to_radians().sin_cos());
        let normal = MAJOR_M / (1.0 - E2 * sine * sine).sqrt();
        let flat = (normal + height) * cosine;
        DVec3::new(flat * north, flat * east, (normal * (1.0 - E2) + height) * sine)
    }

    #[test]
    fn the_ends_of_the_axes_are_known() {
        for (place, expected) in [
            (DVec3::new(MAJOR_M, 0.0, 0.0), [0.0, 0.0, 0.0]),
            (DVec3::new(0.0, MAJOR_M + 100.0, 0.0), [0.0, 90.0, 100.0]),
            (DVec3::new(0.0, 0.0, 6_356_752.314_245 + 5.0), [90.0, 0.0, 5.0]),
        ] {
            let found = geodetic(place);
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-6, "{place}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn a_place_is_found_again(latitude in -89.9..89.9, longitude in -179.9..179.9, height in -500.0..9000.0) {
            let found = geodetic(ecef([latitude, longitude, height]));
            prop_assert!((found[0] - latitude).abs() < 1e-9, "{found:?}");
            prop_assert!((found[1] - longitude).abs() < 1e-9, "{found:?}");
            prop_assert!((found[2] - height).abs() < 1e-5, "{found:?}");
        }
    }
}
