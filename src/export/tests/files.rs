//! Tables and pictures as files.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::sync::Arc;

use glam::{DQuat, DVec3};
use proptest::prelude::*;
use zip::ZipArchive;

use super::super::{ExportError, ExportRequest, Format, planner, to_folder};
use super::{BUILTIN, block_on, export, plan, small, town};
use crate::scene::{Scenario, Track, Tracks};

/// Fields of RFC 4180.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    assert!(field.is_empty() && record.is_empty(), "the last line does not end");
    records
}

fn numbers<const N: usize>(fields: &[String]) -> [f64; N] {
    let numbers: Vec<f64> = fields.iter().map(|field| field.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

#[test]
fn a_table_has_every_pose_of_every_instant_to_the_last_bit() {
    let plan = plan(&ExportRequest { rate_hz: 7.0, ..ExportRequest::new(Format::Csv) });
    let (report, bytes) = block_on(export(&plan));
    assert_eq!(report.samples, plan.samples);
    let mut rows = records(std::str::from_utf8(&bytes).unwrap()).into_iter();
    let header = rows.next().unwrap().join(",");
    assert_eq!(header, "timestamp_us,entity,class,x_m,y_m,z_m,qx,qy,qz,qw,length_m,width_m,height_m");
    let scenario = town();
    for index in 0..plan.samples {
        let at_us = plan.instant(index);
        let ego = scenario.ego.pose_at(at_us).unwrap();
        let tracks = scenario.tracks.alive_at(at_us);
        let tracks = tracks.map(|(_, track, pose)| (track.id.as_str(), pose, Some(track.dimensions_m)));
        for (id, pose, size) in std::iter::once(("ego", ego, None)).chain(tracks) {
            let row = rows.next().unwrap();
            assert_eq!((row[0].parse::<i64>().unwrap(), row[1].as_str()), (at_us, id));
            assert_eq!(DVec3::from_array(numbers(&row[3..6])), pose.translation_m);
            assert_eq!(numbers(&row[6..10]), pose.quaternion_xyzw());
            if let Some(size) = size {
                assert_eq!(DVec3::from_array(numbers(&row[10..13])), size);
            }
        }
    }
    assert_eq!(rows.next(), None);
}

#[test]
fn ids_with_commas_and_quotes_stay_one_field() {
    let odd = ["a,b", "say \"hi\"", "two\nlines"];
    let track = |id: &str| Track {
        id: id.to_owned(),
        trajectory: town().ego.clone(),
        ..town().tracks.get(0).unwrap().clone()
    };
    let scenario = Scenario {
        tracks: Tracks::new(odd.map(track).into()),
        ego: town().ego.clone(),
        path: town().path.clone(),
        sequence_id: "odd".to_owned(),
        start_us: town().start_us,
        end_us: town().end_us,
        cameras: Vec::new(),
        map: None,
        rig_box: None,
        nre_from_world: None,
        ecef_from_world: None,
        notes: Vec::new(),
    };
    let request = ExportRequest { rate_hz: 0.1, ..ExportRequest::new(Format::Csv) };
    let plan = Arc::new(super::ExportPlan::new(Arc::new(scenario), &request).unwrap());
    let (_, bytes) = block_on(export(&plan));
    let rows = records(std::str::from_utf8(&bytes).unwrap());
    assert_eq!(rows.iter().skip(2).map(|row| row[1].as_str()).collect::<Vec<_>>(), odd);
    assert!(rows.iter().all(|row| row.len() == 13));
}

#[test]
fn without_objects_a_table_has_the_ego_vehicle_alone() {
    let plan = plan(&ExportRequest { objects: false, ..ExportRequest::new(Format::Csv) });
    let (_, bytes) = block_on(export(&plan));
    let rows = records(std::str::from_utf8(&bytes).unwrap());
    assert_eq!(rows.len() as u64, 1 + plan.samples);
    assert!(rows.iter().skip(1).all(|row| row[1] == "ego"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn an_archive_lists_a_picture_for_every_camera_and_instant(
        start in 0_i64..3_000_000, length in 0_i64..500_000, rate_hz in 0.5_f64..20.0,
    ) {
        let start_us = town().start_us + start;
        let range_us = [Some(start_us), Some(start_us + length)];
        let plan = plan(&ExportRequest { range_us, rate_hz, ..small(Format::Png) });
        let (report, bytes) = block_on(export(&plan));
        prop_assert_eq!(report.pictures, plan.pictures());
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut expected: BTreeSet<String> = (0..plan.samples)
            .flat_map(|index| plan.cameras.iter().map(move |camera| (camera, index)))
            .map(|(camera, index)| format!("{}/{}.png", camera.label, plan.instant(index)))
            .collect();
        for camera in &plan.cameras {
            let name = format!("{}/{}.png", camera.label, plan.instant(plan.samples - 1));
            let mut picture = Vec::new();
            archive.by_name(&name).unwrap().read_to_end(&mut picture).unwrap();
            let decoded = image::load_from_memory_with_format(&picture, image::ImageFormat::Png).unwrap();
            prop_assert_eq!([decoded.width(), decoded.height()], camera.resolution);
        }
        expected.insert("export.json".to_owned());
        prop_assert_eq!(archive.file_names().map(|name| name.unwrap().into_owned()).collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn a_folder_has_the_files_that_an_archive_has() {
    let end_us = town().start_us + 300_000;
    let plan = plan(&ExportRequest { range_us: [None, Some(end_us)], ..small(Format::Png) });
    let (_, bytes) = block_on(export(&plan));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("pictures");
    let drawing = planner(Arc::new(BUILTIN.clone()));
    block_on(to_folder(Arc::clone(&plan), drawing, place.clone(), |_| ())).unwrap();
    assert_eq!(archive.len() as u64, plan.pictures() + 1);
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        let name = member.name().unwrap();
        assert_eq!(std::fs::read(place.join(&*name)).unwrap(), content, "{name}");
    }
}

#[test]
fn only_pictures_go_into_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let drawing = planner(Arc::new(BUILTIN.clone()));
    let place = folder.path().join("table");
    let refused = block_on(to_folder(plan(&small(Format::Csv)), drawing, place.clone(), |_| ()));
    assert!(matches!(refused, Err(ExportError::NotForFolders { format: "csv" })));
    assert!(!place.exists());
}

#[test]
fn quaternions_of_a_table_are_unit() {
    let plan = plan(&ExportRequest { rate_hz: 3.0, ..ExportRequest::new(Format::Csv) });
    let (_, bytes) = block_on(export(&plan));
    for row in records(std::str::from_utf8(&bytes).unwrap()).iter().skip(1) {
        assert!(DQuat::from_array(numbers(&row[6..10])).is_normalized(), "{row:?}");
    }
}
