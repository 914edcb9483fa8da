//! Pictures that fail, clients that go away, streams that break.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc;

use super::super::{ChannelSink, ExportError, ExportRequest, Format, planner, to_stream};
use super::{Flaky, Handle, Kept, block_on, export_with, plan, small, town};
use crate::proto::foxglove::Log;

const LONG: Duration = Duration::from_secs(20);
/// Long enough for anything that would still be drawn to begin.
const QUIET: Duration = Duration::from_millis(150);

fn first_camera() -> String {
    town().cameras[0].logical_name.clone()
}

#[test]
fn a_missing_picture_is_named_and_the_others_are_there() {
    let first = first_camera();
    let plan = plan(&ExportRequest { rate_hz: 5.0, ..small(Format::Mcap) });
    let flaky = Flaky::new(Duration::ZERO, |shot| shot.camera_name == town().cameras[0].logical_name);
    let (report, bytes) = block_on(export_with(Arc::new(Handle(flaky)), Arc::clone(&plan)));
    let report = report.unwrap();
    assert_eq!((report.pictures, report.missing), (plan.samples, plan.samples));
    assert!(report.examples.iter().all(|missing| missing.camera == first));
    let topics = super::mcap::read(&bytes);
    assert!(!topics.contains_key(&format!("/camera/{}/image", plan.cameras[0].label)));
    assert_eq!(topics[&format!("/camera/{}/image", plan.cameras[1].label)].len() as u64, plan.samples);
    assert_eq!(topics["/log"].len() as u64, plan.samples);
    let log = Log::decode(topics["/log"][0].1.as_slice()).unwrap();
    assert!(log.message.contains(&first) && log.message.contains("empty picture"), "{}", log.message);
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    let index = &summary.metadata_indexes[0];
    let record = mcap::read::metadata(&bytes, index).unwrap();
    assert_eq!(
        (record.name.as_str(), &record.metadata["missing"]),
        ("neuro.export", &plan.samples.to_string())
    );
}

#[test]
fn without_any_picture_there_is_no_export() {
    for format in [Format::Mcap, Format::Png] {
        let plan = plan(&ExportRequest { rate_hz: 20.0, ..small(format) });
        let flaky = Flaky::new(Duration::ZERO, |_| true);
        let (report, bytes) = block_on(export_with(Arc::new(Handle(Arc::clone(&flaky))), Arc::clone(&plan)));
        let error = report.unwrap_err();
        assert!(matches!(error, ExportError::NoPictures { .. }), "{error}");
        assert!(error.to_string().contains("empty picture"), "{error}");
        assert!((flaky.begun() as u64) < plan.pictures() / 2, "it did not give up early");
        assert!(mcap::Summary::read(&bytes).is_err(), "half a file looks whole");
        assert!(zip::ZipArchive::new(io::Cursor::new(bytes)).is_err(), "half an archive looks whole");
    }
}

#[test]
fn dropping_an_export_stops_its_drawing() {
    block_on(async {
        let flaky = Flaky::new(Duration::from_millis(20), |_| false);
        let drawing = planner(Arc::new(Handle(Arc::clone(&flaky))));
        let kept = Kept::default();
        let plan = plan(&ExportRequest { rate_hz: 100.0, ..small(Format::Mcap) });
        let done = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&done);
        let exporting = tokio::spawn(to_stream(Arc::clone(&plan), drawing, kept.clone(), move |samples| {
            seen.store(samples, Ordering::SeqCst);
        }));
        while done.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        exporting.abort();
        assert!(exporting.await.unwrap_err().is_cancelled());
        tokio::time::sleep(QUIET).await;
        let begun = flaky.begun();
        assert!((begun as u64) < plan.pictures(), "everything was drawn before it was dropped");
        tokio::time::sleep(QUIET).await;
        assert_eq!(flaky.begun(), begun);
        assert!(mcap::Summary::read(&kept.bytes()).is_err(), "half a file looks whole");
    });
}

#[test]
fn a_reader_that_goes_away_ends_the_export() {
    block_on(async {
        let flaky = Flaky::new(Duration::ZERO, |_| false);
        let drawing = planner(Arc::new(Handle(Arc::clone(&flaky))));
        let (chunks, mut arriving) = mpsc::channel(1);
        let plan = plan(&ExportRequest { rate_hz: 1000.0, ..small(Format::Csv) });
        let exporting = tokio::spawn(to_stream(plan, drawing, ChannelSink::new(chunks), |_| ()));
        assert_eq!(arriving.recv().await.unwrap().unwrap().len(), 64 << 10);
        drop(arriving);
        let ended = tokio::time::timeout(LONG, exporting).await.unwrap().unwrap();
        let Err(ExportError::Io(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_reader_that_waits_holds_the_drawing_up() {
    block_on(async {
        let flaky = Flaky::new(Duration::ZERO, |_| false);
        let drawing = planner(Arc::new(Handle(Arc::clone(&flaky))));
        let (chunks, mut arriving) = mpsc::channel(1);
        let request = ExportRequest { rate_hz: 100.0, scale: 0.15, ..small(Format::Png) };
        let plan = plan(&request);
        let exporting = tokio::spawn(to_stream(Arc::clone(&plan), drawing, ChannelSink::new(chunks), |_| ()));
        let mut before = usize::MAX;
        while flaky.begun() != before {
            before = flaky.begun();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!((before as u64) < plan.pictures() / 4, "{before} pictures drawn for nobody");
        let mut bytes = Vec::new();
        while let Some(chunk) = arriving.recv().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(exporting.await.unwrap().unwrap().pictures, plan.pictures());
        assert_eq!(zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap().len() as u64, plan.pictures() + 1);
    });
}

#[test]
fn a_full_disk_is_told_as_such() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for format in Format::ALL {
        let flaky = Flaky::new(Duration::ZERO, |_| false);
        let drawing = planner(Arc::new(Handle(flaky)));
        let error = block_on(to_stream(plan(&small(format)), drawing, Full(10_000), |_| ())).unwrap_err();
        let ExportError::Io(error) = error else { panic!("{format:?}: {error}") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{format:?}");
    }
}
