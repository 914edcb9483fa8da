use std::f64::consts::{FRAC_PI_2, PI};
use std::fmt::Write as _;

use glam::{DMat4, DVec2, DVec3};
use proptest::prelude::*;

use super::plan::{Geometry, Shape};
use super::{Map, MapError, MapLine, MapLineKind, Placement, ecef_from_enu};

const LANE: &str = r#"<width sOffset="0" a="3.5" b="0" c="0" d="0"/>"#;

fn road(length_m: f64, form: &str, lanes: &str) -> String {
    format!(
        r#"<road id="7" length="{length_m}" junction="-1"><planView><geometry s="0" x="0" y="0" hdg="0" length="{length_m}">{form}</geometry></planView><lanes>{lanes}</lanes></road>"#
    )
}

fn one_lane(length_m: f64, form: &str) -> String {
    let lane = format!(
        r#"<laneSection s="0"><right><lane id="-1" type="driving">{LANE}</lane></right></laneSection>"#
    );
    road(length_m, form, &lane)
}

fn document(roads: &str) -> String {
    format!("<OpenDRIVE><header/>{roads}</OpenDRIVE>")
}

fn lines(roads: &str) -> Vec<MapLine> {
    Map::from_xodr(&document(roads), &Placement::default()).unwrap().0.lines
}

fn length_m(line: &MapLine) -> f64 {
    line.points_m.windows(2).map(|pair| pair[0].distance(pair[1])).sum()
}

#[test]
fn a_straight_lane_has_two_edges_a_width_apart() {
    let lines = lines(&one_lane(100.0, "<line/>"));
    assert_eq!(lines.len(), 2);
    for (line, y) in lines.iter().zip([0.0, -3.5]) {
        assert_eq!(line.kind, MapLineKind::RoadEdge);
        assert!((length_m(line) - 100.0).abs() < 1e-9);
        assert!(line.points_m.iter().all(|point| (point.y - y).abs() < 1e-9));
        assert!(line.points_m.windows(2).all(|pair| pair[0].distance(pair[1]) <= 2.4 + 1e-9));
    }
}

#[test]
fn an_arc_keeps_its_radius_and_a_lane_its_distance() {
    let lines = lines(&one_lane(20.0 * FRAC_PI_2, r#"<arc curvature="0.05"/>"#));
    let centre = DVec3::new(0.0, 20.0, 0.0);
    for (line, radius) in lines.iter().zip([20.0, 23.5]) {
        assert!(line.points_m.iter().all(|point| (point.distance(centre) - radius).abs() < 1e-9));
        assert!((length_m(line) - radius * FRAC_PI_2).abs() < 0.1);
    }
    assert!(lines[0].points_m.last().unwrap().distance(DVec3::new(20.0, 20.0, 0.0)) < 1e-9);
}

fn piece(length_m: f64, shape: Shape) -> Geometry {
    Geometry { start_m: 0.0, length_m, origin_m: DVec2::ZERO, heading_rad: 0.0, shape }
}

#[test]
fn a_spiral_ends_where_fresnel_integrals_say() {
    // Curvature growing as pi s: C(1) and S(1) of the normalised Fresnel integrals.
    let end = piece(1.0, Shape::Spiral { start: 0.0, end: PI }).at(1.0);
    assert!((end.position_m - DVec2::new(0.779_893_400_376_822_8, 0.438_259_147_390_354_77)).length() < 1e-9);
    assert!((end.heading_rad - FRAC_PI_2).abs() < 1e-12);
}

#[test]
fn cubics_are_followed_by_their_length() {
    // v = u^2 / 2: arc length of a parabola, (u sqrt(1 + u^2) + asinh u) / 2.
    let parabola = [0.0, 0.0, 0.5, 0.0];
    let length = f64::midpoint(2.0 * 5.0_f64.sqrt(), 2.0_f64.asinh());
    let end = piece(length, Shape::Poly3 { abcd: parabola }).at(length);
    assert!((end.position_m - DVec2::new(2.0, 2.0)).length() < 1e-4, "{end:?}");
    let shape = Shape::ParamPoly3 { u: [0.0, 10.0, 0.0, 0.0], v: [0.0, 0.0, 3.0, 0.0], normalized: true };
    let end = piece(11.0, shape).at(11.0);
    assert_eq!(end.position_m, DVec2::new(10.0, 3.0));
    assert!((end.heading_rad - 0.6_f64.atan()).abs() < 1e-12);
    let shape = Shape::ParamPoly3 { u: [0.0, 1.0, 0.0, 0.0], v: [0.0, 0.0, 0.03, 0.0], normalized: false };
    assert!((piece(11.0, shape).at(10.0).position_m - DVec2::new(10.0, 3.0)).length() < 1e-12);
}

proptest! {
    #[test]
    fn headings_are_the_direction_of_travel(curve in 0..3, a in -0.1..0.1f64, b in -0.1..0.1f64, s in 1.0..29.0f64) {
        let shape = match curve {
            0 => Shape::Arc { curvature: a },
            1 => Shape::Spiral { start: a, end: b },
            _ => Shape::ParamPoly3 { u: [0.0, 1.0, 0.0, 0.0], v: [0.0, 0.0, a / 10.0, b / 100.0], normalized: false },
        };
        let piece = piece(30.0, shape);
        let step = piece.at(s + 1e-5).position_m - piece.at(s - 1e-5).position_m;
        let turned = DVec2::from_angle(piece.at(s).heading_rad).angle_to(step);
        prop_assert!(turned.abs() < 1e-5, "{turned}");
    }

    #[test]
    fn no_text_makes_it_panic(cut in 0usize..900, junk in "[<>/=\"a-z0-9 .-]{0,12}") {
        let text = document(&one_lane(50.0, r#"<spiral curvStart="0" curvEnd="0.02"/>"#));
        let cut = cut.min(text.len());
        drop(Map::from_xodr(&format!("{}{junk}{}", &text[..cut], &text[cut..]), &Placement::default()));
        drop(Map::from_xodr(&text[..cut], &Placement::default()));
    }
}

#[test]
fn marks_decide_what_is_drawn_and_split_a_border_where_they_change() {
    let left = format!(
        r#"<left><lane id="1" type="driving">{LANE}<roadMark sOffset="0" type="none"/></lane>
        <lane id="2" type="sidewalk">{LANE}</lane></left>"#
    );
    let centre = r#"<center><lane id="0" type="none"><roadMark sOffset="0" type="broken"/><roadMark sOffset="30" type="solid solid"/></lane></center>"#;
    let right = format!(
        r#"<right><lane id="-1" type="driving">{LANE}<roadMark sOffset="0" type="none"/></lane><lane id="-2" type="driving">{LANE}<roadMark sOffset="0" type="curb"/></lane></right>"#
    );
    let lines =
        lines(&road(50.0, "<line/>", &format!(r#"<laneSection s="0">{left}{centre}{right}</laneSection>"#)));
    let seen: Vec<_> =
        lines.iter().map(|line| (line.kind, line.points_m[0].y, length_m(line).round())).collect();
    let wanted = [
        (MapLineKind::Broken, 0.0, 30.0),
        (MapLineKind::Solid, 0.0, 20.0),
        (MapLineKind::RoadEdge, 3.5, 50.0),
        (MapLineKind::Other, 7.0, 50.0),
        (MapLineKind::RoadEdge, -7.0, 50.0),
    ];
    assert_eq!(seen, wanted);
}

#[test]
fn offsets_widths_borders_and_heights_follow_their_cubics() {
    let text = r#"<road id="7" length="20" junction="-1"><planView><geometry s="0" x="0" y="0" hdg="0" length="20"><line/></geometry></planView>
        <elevationProfile><elevation s="0" a="1" b="0.1" c="0" d="0"/><elevation s="10" a="2" b="0" c="0" d="0"/></elevationProfile>
        <lanes><laneOffset s="0" a="1" b="0" c="0" d="0"/>
        <laneSection s="0"><right><lane id="-1" type="driving"><width sOffset="0" a="3" b="0" c="0" d="0"/><width sOffset="10" a="3" b="0.1" c="0" d="0"/></lane></right></laneSection>
        <laneSection s="15"><right><lane id="-1" type="driving"><border sOffset="0" a="-3" b="0" c="0" d="0"/></lane></right></laneSection></lanes></road>"#;
    let lines = lines(text);
    let last = |line: &MapLine| *line.points_m.last().unwrap();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].points_m[0].distance(DVec3::new(0.0, 1.0, 1.0)) < 1e-9);
    assert!(last(&lines[1]).distance(DVec3::new(15.0, -2.5, 2.0)) < 1e-9);
    assert!(last(&lines[3]).distance(DVec3::new(20.0, -2.0, 2.0)) < 1e-9);
}

#[test]
fn in_a_junction_only_marked_borders_are_drawn() {
    let lane = |mark: &str| {
        format!(
            r#"<laneSection s="0"><right><lane id="-1" type="driving">{LANE}{mark}</lane></right></laneSection>"#
        )
    };
    let plain = road(20.0, "<line/>", &lane("")).replace(r#"junction="-1""#, r#"junction="3""#);
    assert_eq!(lines(&plain), []);
    let kerb = road(20.0, "<line/>", &lane(r#"<roadMark sOffset="0" type="curb"/>"#))
        .replace(r#"junction="-1""#, r#"junction="3""#);
    assert_eq!(lines(&kerb).len(), 1);
}

fn placed(reference: &str, roads: &str, placement: &Placement) -> (Map, Vec<String>) {
    let text = format!(
        "<OpenDRIVE><header><geoReference><![CDATA[{reference}]]></geoReference></header>{roads}</OpenDRIVE>"
    );
    Map::from_xodr(&text, placement).unwrap()
}

#[test]
fn a_map_lands_where_the_earth_says_with_the_georeference_as_it_comes() {
    // The world is turned by 0.6 rad, 40 m east of the map's origin and at another altitude.
    let ecef_from_world = ecef_from_enu(48.7758, 9.1829, 245.0)
        * DMat4::from_translation(DVec3::new(40.0, 0.0, 0.0))
        * DMat4::from_rotation_z(0.6);
    let ego: Vec<DVec3> =
        (0..20).map(|i| DMat4::from_rotation_z(-0.6).transform_vector3(DVec3::X * f64::from(i))).collect();
    let placement = Placement { ecef_from_world: Some(&ecef_from_world), ego_path_m: &ego };
    let reference =
        "+proj=tmerc +lat_0=48.7758 +lon_0=9.1829 +k_0=1 +x_0=0 +y_0=0 +=alt_0=0 +datum=WGS84 +no_defs";
    let (map, notes) = placed(reference, &one_lane(100.0, "<line/>"), &placement);
    let start = map.lines[0].points_m[0];
    let wanted = DMat4::from_rotation_z(-0.6).transform_vector3(DVec3::new(-40.0, 0.0, 0.0));
    assert!(start.distance(wanted) < 0.02, "{start} {wanted}");
    assert_eq!(notes, ["the map was moved by 245.0 m in height, to where the ego drove"]);
}

#[test]
fn a_strange_georeference_is_a_note_and_no_error() {
    let roads = one_lane(10.0, "<line/>");
    let earth = ecef_from_enu(10.0, 10.0, 0.0);
    let placement = Placement { ecef_from_world: Some(&earth), ego_path_m: &[] };
    for reference in [
        "",
        "EPSG:25832",
        "+lat_0=nan +lon_0=9",
        "+lat_0=1e9 +lon_0=9",
        "+proj=utm +zone=32",
        "PROJCS[\"x\"]",
    ] {
        let (map, notes) = placed(reference, &roads, &placement);
        assert_eq!(map.lines[0].points_m[0], DVec3::ZERO);
        assert!(notes[0].contains("world coordinates"), "{notes:?}");
    }
    let (_, notes) = placed("+lat_0=1 +lon_0=9", &roads, &Placement::default());
    assert!(notes[0].contains("no place on earth"), "{notes:?}");
}

#[test]
fn heights_that_do_not_follow_the_ego_are_replaced_by_its_own() {
    let hilly: Vec<DVec3> = (0..100).map(|i| DVec3::new(f64::from(i), 0.0, f64::from(i) * 0.1)).collect();
    let placement = Placement { ecef_from_world: None, ego_path_m: &hilly };
    let (map, notes) = Map::from_xodr(&document(&one_lane(100.0, "<line/>")), &placement).unwrap();
    assert!(notes[1].contains("laid on its path"), "{notes:?}");
    assert!(
        map.lines.iter().flat_map(|line| &line.points_m).all(|point| (point.z - point.x * 0.1).abs() < 0.11)
    );
}

#[test]
fn roads_out_of_reach_are_left_out() {
    let far = one_lane(10.0, "<line/>").replace(r#"x="0""#, r#"x="5000""#);
    let ego = [DVec3::ZERO];
    let placement = Placement { ecef_from_world: None, ego_path_m: &ego };
    let (map, _) =
        Map::from_xodr(&document(&format!("{far}{}", one_lane(10.0, "<line/>"))), &placement).unwrap();
    assert_eq!(map.lines.len(), 2);
}

#[test]
fn a_broken_road_is_refused_by_id_and_place() {
    let refused =
        |roads: &str| Map::from_xodr(&document(roads), &Placement::default()).unwrap_err().to_string();
    let good = one_lane(10.0, r#"<arc curvature="0.1"/>"#);
    let change = |from: &str, to: &str| refused(&good.replace(from, to));
    assert_eq!(
        change("0.1", "tight"),
        "road \"7\" at s = 0 m: \"curvature\" of <arc> is \"tight\", not a usable number"
    );
    assert_eq!(
        change("0.1", "inf"),
        "road \"7\" at s = 0 m: \"curvature\" of <arc> is \"inf\", not a usable number"
    );
    assert!(change("0.1", "11").starts_with("road \"7\" at s = 0 m: curvature is 11"));
    assert_eq!(
        change("<arc curvature=\"0.1\"/>", "<loop/>"),
        "road \"7\" at s = 0 m: a geometry has the unknown form <loop>"
    );
    assert_eq!(change("hdg=\"0\"", ""), "road \"7\" at s = 0 m: <geometry> has no attribute \"hdg\"");
    assert!(change("length=\"10\" junction", "length=\"1e7\" junction").contains("its length is 10000000 m"));
    assert!(
        change("<arc curvature=\"0.1\"/>", "<spiral curvStart=\"0\" curvEnd=\"10\"/>")
            .contains("a spiral turns")
    );
    assert!(refused("<road id=\"9\" length=\"5\"/>").contains("road \"9\" at s = 0 m: it has no planView"));
}

#[test]
fn what_is_no_map_or_too_much_of_one_is_refused() {
    let refused = |text: &str| Map::from_xodr(text, &Placement::default()).unwrap_err();
    assert!(matches!(refused("not xml"), MapError::Xml { .. }));
    assert!(matches!(
        refused("<!DOCTYPE a [<!ENTITY b \"c\">]><OpenDRIVE>&b;</OpenDRIVE>"),
        MapError::Xml { .. }
    ));
    assert_eq!(refused("<svg/>"), MapError::NotOpenDrive { root: "svg".to_owned() });
    let long = one_lane(1e6, "<line/>");
    assert_eq!(refused(&document(&long)), MapError::TooManyPoints { road: "7".to_owned() });
    let longer = format!("{0}{0}{0}{0}{0}{0}", road(1e6, "<line/>", ""));
    assert_eq!(refused(&document(&longer)), MapError::TooLong { road: "7".to_owned() });
    let mut many = String::new();
    for _ in 0..=super::MAX_ROADS {
        write!(many, r#"<road id="1" length="1"><planView><geometry s="0" x="0" y="0" hdg="0" length="1"><line/></geometry></planView></road>"#).unwrap();
    }
    assert_eq!(refused(&document(&many)), MapError::TooManyRoads);
    let deep = format!("<OpenDRIVE>{}", "<a>".repeat(200_000));
    assert!(matches!(refused(&deep), MapError::Xml { .. }));
    let closed = format!("<OpenDRIVE>{}{}</OpenDRIVE>", "<a>".repeat(200_000), "</a>".repeat(200_000));
    assert!(Map::from_xodr(&closed, &Placement::default()).is_ok_and(|(map, _)| map.lines.is_empty()));
}
