//! The layout as OpenDRIVE text.

use std::fmt::Write as _;

use super::town::{LANE_M, PARKING_M, Profile, SIDEWALK_M, Street, TURNS, Town};
use crate::scene::map::plan::{Geometry, Shape};

/// The text, around a geographic origin.
pub(super) fn text(town: &Town, [latitude_deg, longitude_deg, altitude_m]: [f64; 3]) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<OpenDRIVE>\n<header revMajor=\"1\" revMinor=\"4\" name=\"sample town\">\
         <geoReference><![CDATA[+proj=tmerc +lat_0={latitude_deg} +lon_0={longitude_deg} +alt_0={altitude_m} +k_0=1 \
         +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs]]></geoReference></header>\n"
    );
    for street in &town.streets {
        text += &road(street);
    }
    text += "<junction id=\"1\" name=\"crossing\">";
    for (index, (turn, from, _)) in TURNS.into_iter().enumerate() {
        // Writing to a string cannot fail.
        _ = write!(
            text,
            "<connection id=\"{index}\" incomingRoad=\"{from}\" connectingRoad=\"{turn}\" contactPoint=\"start\">\
             <laneLink from=\"-1\" to=\"-1\"/></connection>"
        );
    }
    text + "</junction>\n</OpenDRIVE>\n"
}

fn road(street: &Street) -> String {
    let junction = if street.profile == Profile::Street { "-1" } else { "1" };
    let plan: String = street.plan.iter().map(geometry).collect();
    let elevation: String = street
        .elevation
        .iter()
        .map(|record| format!("<elevation s=\"{}\" {}/>", record.start_m, cubic(record.abcd)))
        .collect();
    format!(
        "<road id=\"{}\" length=\"{}\" junction=\"{junction}\">\n<planView>{plan}</planView>\n\
         <elevationProfile>{elevation}</elevationProfile>\n<lanes><laneSection s=\"0\">{}</laneSection></lanes>\n</road>\n",
        street.id,
        street.length_m,
        lanes(street.profile)
    )
}

fn geometry(piece: &Geometry) -> String {
    let form = match piece.shape {
        Shape::Line => "<line/>".to_owned(),
        Shape::Arc { curvature } => format!("<arc curvature=\"{curvature}\"/>"),
        Shape::Spiral { start, end } => format!("<spiral curvStart=\"{start}\" curvEnd=\"{end}\"/>"),
        Shape::Poly3 { abcd } => format!("<poly3 {}/>", cubic(abcd)),
        Shape::ParamPoly3 { u: [au, bu, cu, du], v: [av, bv, cv, dv], normalized } => format!(
            "<paramPoly3 aU=\"{au}\" bU=\"{bu}\" cU=\"{cu}\" dU=\"{du}\" aV=\"{av}\" bV=\"{bv}\" cV=\"{cv}\" \
             dV=\"{dv}\" pRange=\"{}\"/>",
            if normalized { "normalized" } else { "arcLength" }
        ),
    };
    format!(
        "<geometry s=\"{}\" x=\"{}\" y=\"{}\" hdg=\"{}\" length=\"{}\">{form}</geometry>",
        piece.start_m, piece.origin_m.x, piece.origin_m.y, piece.heading_rad, piece.length_m
    )
}

fn cubic([a, b, c, d]: [f64; 4]) -> String {
    format!("a=\"{a}\" b=\"{b}\" c=\"{c}\" d=\"{d}\"")
}

fn lanes(profile: Profile) -> String {
    let lane = |id: i32, kind: &str, width_m: f64, mark: &str| {
        format!(
            "<lane id=\"{id}\" type=\"{kind}\" level=\"false\"><width sOffset=\"0\" {}/>\
             <roadMark sOffset=\"0\" type=\"{mark}\"/></lane>",
            cubic([width_m, 0.0, 0.0, 0.0])
        )
    };
    let centre = |mark: &str| {
        format!(
            "<center><lane id=\"0\" type=\"none\" level=\"false\"><roadMark sOffset=\"0\" type=\"{mark}\"/></lane></center>"
        )
    };
    let beside = |id: i32, sign: i32, mark: &str| {
        lane(sign * id, "parking", PARKING_M, "curb") + &lane(sign * (id + 1), "sidewalk", SIDEWALK_M, mark)
    };
    match profile {
        Profile::Street => format!(
            "<left>{}{}</left>{}<right>{}{}</right>",
            lane(1, "driving", LANE_M, "broken"),
            beside(2, 1, "edge"),
            centre("broken"),
            lane(-1, "driving", LANE_M, "broken"),
            beside(2, -1, "edge")
        ),
        Profile::Across => format!(
            "<left>{}</left>{}<right>{}</right>",
            lane(1, "driving", LANE_M, "none"),
            centre("none"),
            lane(-1, "driving", LANE_M, "none")
        ),
        Profile::Turn => {
            format!(
                "{}<right>{}{}</right>",
                centre("none"),
                lane(-1, "driving", LANE_M, "none"),
                beside(2, -1, "edge")
            )
        }
    }
}
