//! OpenDRIVE elements as numbers, each checked where it stands.

use glam::DVec2;
use roxmltree::Node;

use super::MapError;
use super::cubic::Cubic;
use super::lanes::{Lane, Mark, Paint, Road, Section, is_drivable};
use super::plan::{Geometry, Shape};

/// Beyond this no number in a map makes sense.
const MAX_NUMBER: f64 = 1e8;
/// No road is longer, in metres.
const MAX_LENGTH_M: f64 = 1e6;
/// No road turns tighter, in 1/m.
const MAX_CURVATURE: f64 = 10.0;
/// No spiral turns further, in radians.
const MAX_TURN_RAD: f64 = 50.0;

/// Child elements of a name.
pub(super) fn children<'a, 'i: 'a>(node: Node<'a, 'i>, name: &'a str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn child<'a, 'i: 'a>(node: Node<'a, 'i>, name: &'a str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

struct Reader<'a> {
    road: &'a str,
}

/// Reads a `<road>`.
pub(super) fn road(node: Node<'_, '_>) -> Result<Road, MapError> {
    let id = node.attribute("id").unwrap_or_default();
    let reader = Reader { road: id };
    let length_m = reader.length(node, 0.0)?;
    let mut road = Road {
        id: id.to_owned(),
        length_m,
        in_junction: node.attribute("junction").is_some_and(|junction| junction.trim() != "-1"),
        ..Road::default()
    };
    let plan = child(node, "planView").ok_or_else(|| reader.error(0.0, "it has no planView"))?;
    for geometry in children(plan, "geometry") {
        road.plan.push(reader.geometry(geometry)?);
    }
    if road.plan.is_empty() {
        return Err(reader.error(0.0, "its planView has no geometry"));
    }
    if let Some(pair) = road.plan.windows(2).find(|pair| pair[1].start_m < pair[0].start_m) {
        return Err(reader.error(pair[1].start_m, "its geometries are not in the order of s"));
    }
    road.elevation = reader.profile(node, "elevationProfile", "elevation")?;
    road.superelevation = reader.profile(node, "lateralProfile", "superelevation")?;
    let Some(lanes) = child(node, "lanes") else { return Ok(road) };
    road.lane_offset = reader.cubics(lanes, "laneOffset", "s", 0.0)?;
    for section in children(lanes, "laneSection") {
        road.sections.push(reader.section(section)?);
    }
    road.sections.sort_by(|a, b| a.start_m.total_cmp(&b.start_m));
    Ok(road)
}

impl Reader<'_> {
    fn error(&self, s_m: f64, problem: impl Into<String>) -> MapError {
        MapError::Road { road: self.road.to_owned(), s_m, problem: problem.into() }
    }

    fn number(&self, node: Node<'_, '_>, name: &str, s_m: f64) -> Result<f64, MapError> {
        let element = node.tag_name().name();
        let text = node
            .attribute(name)
            .ok_or_else(|| self.error(s_m, format!("<{element}> has no attribute \"{name}\"")))?;
        match text.trim().parse::<f64>() {
            Ok(number) if number.abs() <= MAX_NUMBER => Ok(number),
            _ => {
                let shown: String = text.chars().take(40).collect();
                Err(self.error(s_m, format!("\"{name}\" of <{element}> is \"{shown}\", not a usable number")))
            }
        }
    }

    fn length(&self, node: Node<'_, '_>, s_m: f64) -> Result<f64, MapError> {
        let length_m = self.number(node, "length", s_m)?;
        if (0.0..=MAX_LENGTH_M).contains(&length_m) {
            return Ok(length_m);
        }
        Err(self
            .error(s_m, format!("its length is {length_m} m, which must be between 0 and {MAX_LENGTH_M}")))
    }

    fn curvature(&self, node: Node<'_, '_>, name: &str, s_m: f64) -> Result<f64, MapError> {
        let curvature = self.number(node, name, s_m)?;
        if curvature.abs() <= MAX_CURVATURE {
            return Ok(curvature);
        }
        Err(self.error(
            s_m,
            format!("{name} is {curvature}, which must be between -{MAX_CURVATURE} and {MAX_CURVATURE}"),
        ))
    }

    fn four(&self, node: Node<'_, '_>, names: [&str; 4], s_m: f64) -> Result<[f64; 4], MapError> {
        let [a, b, c, d] = names;
        let number = |name| self.number(node, name, s_m);
        Ok([number(a)?, number(b)?, number(c)?, number(d)?])
    }

    fn geometry(&self, node: Node<'_, '_>) -> Result<Geometry, MapError> {
        let start_m = self.number(node, "s", 0.0)?;
        let number = |name| self.number(node, name, start_m);
        let form = node
            .children()
            .find(Node::is_element)
            .ok_or_else(|| self.error(start_m, "a geometry has no form"))?;
        let shape = match form.tag_name().name() {
            "line" => Shape::Line,
            "arc" => Shape::Arc { curvature: self.curvature(form, "curvature", start_m)? },
            "spiral" => Shape::Spiral {
                start: self.curvature(form, "curvStart", start_m)?,
                end: self.curvature(form, "curvEnd", start_m)?,
            },
            "poly3" => Shape::Poly3 { abcd: self.four(form, ["a", "b", "c", "d"], start_m)? },
            "paramPoly3" => Shape::ParamPoly3 {
                u: self.four(form, ["aU", "bU", "cU", "dU"], start_m)?,
                v: self.four(form, ["aV", "bV", "cV", "dV"], start_m)?,
                normalized: form.attribute("pRange") != Some("arcLength"),
            },
            other => return Err(self.error(start_m, format!("a geometry has the unknown form <{other}>"))),
        };
        let length_m = self.length(node, start_m)?;
        if let Shape::Spiral { start, end } = shape
            && start.abs().max(end.abs()) * length_m > MAX_TURN_RAD
        {
            return Err(self.error(start_m, format!("a spiral turns further than {MAX_TURN_RAD} rad")));
        }
        Ok(Geometry {
            start_m,
            length_m,
            origin_m: DVec2::new(number("x")?, number("y")?),
            heading_rad: number("hdg")?,
            shape,
        })
    }

    fn profile(&self, road: Node<'_, '_>, profile: &str, name: &str) -> Result<Vec<Cubic>, MapError> {
        child(road, profile).map_or_else(|| Ok(Vec::new()), |node| self.cubics(node, name, "s", 0.0))
    }

    /// Records whose start attribute counts from `from_m`, sorted.
    fn cubics(
        &self,
        node: Node<'_, '_>,
        name: &str,
        start: &str,
        from_m: f64,
    ) -> Result<Vec<Cubic>, MapError> {
        let mut records = Vec::new();
        for record in children(node, name) {
            let start_m = from_m + self.number(record, start, from_m)?;
            records.push(Cubic { start_m, abcd: self.four(record, ["a", "b", "c", "d"], start_m)? });
        }
        records.sort_by(|a, b| a.start_m.total_cmp(&b.start_m));
        Ok(records)
    }

    fn section(&self, node: Node<'_, '_>) -> Result<Section, MapError> {
        let start_m = self.number(node, "s", 0.0)?;
        let mut section = Section { start_m, ..Section::default() };
        if let Some(lane) = child(node, "center").and_then(|centre| child(centre, "lane")) {
            section.centre_marks = self.marks(lane, start_m)?;
        }
        section.left = self.side(node, "left", start_m)?;
        section.right = self.side(node, "right", start_m)?;
        Ok(section)
    }

    fn side(&self, section: Node<'_, '_>, side: &str, start_m: f64) -> Result<Vec<Lane>, MapError> {
        let Some(side) = child(section, side) else { return Ok(Vec::new()) };
        let mut lanes = Vec::new();
        for node in children(side, "lane") {
            let id = self.number(node, "id", start_m)?;
            let kind = node.attribute("type").unwrap_or("none");
            lanes.push((
                id.abs(),
                Lane {
                    drivable: is_drivable(kind),
                    exists: kind != "none",
                    width: self.cubics(node, "width", "sOffset", start_m)?,
                    border: self.cubics(node, "border", "sOffset", start_m)?,
                    marks: self.marks(node, start_m)?,
                },
            ));
        }
        lanes.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(lanes.into_iter().map(|(_, lane)| lane).collect())
    }

    fn marks(&self, lane: Node<'_, '_>, from_m: f64) -> Result<Vec<Mark>, MapError> {
        let mut marks = Vec::new();
        for mark in children(lane, "roadMark") {
            let start_m = from_m + self.number(mark, "sOffset", from_m)?;
            marks.push(Mark { start_m, paint: Paint::named(mark.attribute("type").unwrap_or("none")) });
        }
        marks.sort_by(|a, b| a.start_m.total_cmp(&b.start_m));
        Ok(marks)
    }
}
