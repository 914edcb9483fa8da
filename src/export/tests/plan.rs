//! What may be asked for, and what it means.

use proptest::prelude::*;

use super::super::{ExportPlan, ExportRequest, Format, RequestError};
use super::{plan, small, town};
use crate::render::shot;

fn refusal(change: impl FnOnce(&mut ExportRequest)) -> RequestError {
    let mut request = small(Format::Mcap);
    change(&mut request);
    ExportPlan::new(town(), &request).unwrap_err()
}

#[test]
fn what_makes_no_sense_is_refused_by_field() {
    let after = town().end_us + 1;
    let cases = [
        (refusal(|request| request.rate_hz = 0.0), "rate_hz"),
        (refusal(|request| request.rate_hz = f64::NAN), "rate_hz"),
        (refusal(|request| request.scale = 4.1), "scale"),
        (refusal(|request| request.scale = f64::NAN), "scale"),
        (refusal(|request| request.quality = 0.5), "quality"),
        (refusal(|request| request.range_us = [Some(after), None]), "start_us"),
        (refusal(|request| request.range_us = [Some(after - 5), Some(after - 6)]), "start_us"),
        (refusal(|request| request.cameras = Some(vec!["nose".to_owned()])), "cameras"),
        (
            refusal(|request| {
                request.format = Format::Png;
                request.cameras = Some(Vec::new());
            }),
            "cameras",
        ),
    ];
    for (error, field) in cases {
        assert_eq!(error.field(), field, "{error}");
    }
}

#[test]
fn an_unknown_camera_is_named_with_those_there_are() {
    let sentence = refusal(|request| request.cameras = Some(vec!["nose".to_owned()])).to_string();
    assert!(
        sentence.contains("\"nose\"") && sentence.contains(&town().cameras[0].logical_name),
        "{sentence}"
    );
}

#[test]
fn a_camera_counts_once_and_may_go_by_its_key() {
    let first = &town().cameras[0];
    let names = vec![first.logical_name.clone(), first.key.clone(), first.logical_name.clone()];
    let found = plan(&ExportRequest { cameras: Some(names), ..small(Format::Mcap) });
    assert_eq!(found.cameras.len(), 1);
    assert_eq!(found.cameras[0].name, first.logical_name);
}

#[test]
fn without_names_all_cameras_are_taken_and_a_table_has_none() {
    let all = plan(&ExportRequest::new(Format::Mcap));
    assert_eq!(all.cameras.len(), town().cameras.len());
    assert!(plan(&ExportRequest::new(Format::Csv)).cameras.is_empty());
}

#[test]
fn a_plan_knows_the_size_of_the_pictures() {
    for scale in [0.01, 0.25, 0.3337, 1.0] {
        let found = plan(&ExportRequest { scale, ..ExportRequest::new(Format::Mcap) });
        for camera in &found.cameras {
            let drawn = shot(&town(), town().start_us, &camera.name, &found.shots).unwrap();
            assert_eq!(drawn.resolution, camera.resolution, "{} at {scale}", camera.name);
        }
    }
}

#[test]
fn files_are_named_by_scenario_and_seconds() {
    let start_us = town().start_us + 1_500_000;
    let range_us = [Some(start_us), Some(start_us + 500_000)];
    let found = plan(&ExportRequest { range_us, ..small(Format::Png) });
    let sequence = super::super::names::plain(&town().sequence_id);
    assert_eq!(found.file_name(), format!("{sequence}_1.5-2.0s.zip"));
}

proptest! {
    #[test]
    fn samples_fill_the_range_and_stay_in_it(
        start in 0_i64..4_000_000, length in 0_i64..4_000_000, rate_hz in 0.01_f64..1000.0,
    ) {
        let start_us = town().start_us + start;
        let range_us = [Some(start_us), Some(start_us + length)];
        let found = plan(&ExportRequest { range_us, rate_hz, ..small(Format::Csv) });
        let end_us = (start_us + length).min(town().end_us);
        let last = found.instant(found.samples - 1);
        prop_assert_eq!(found.instant(0), start_us);
        prop_assert!(last <= end_us);
        prop_assert!(found.instant(found.samples) > end_us);
        for index in 1..found.samples {
            prop_assert!(found.instant(index) > found.instant(index - 1));
        }
    }
}
