//! A map: any text gives lanes or an error; lanes are finite.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::scene::Map;
use neuro::scene::map::Placement;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let placement = Placement { ecef_from_world: None, ego_path_m: &[] };
    if let Ok((map, _)) = Map::from_xodr(text, &placement) {
        assert!(map.lines.iter().flat_map(|line| &line.points_m).all(|point| point.is_finite()));
    }
});
