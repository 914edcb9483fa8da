use std::collections::BTreeSet;
use std::time::Duration;

use glam::DVec3;
use proptest::prelude::*;

use super::activation::lives_long_enough;
use super::clock::{ClockError, LoopRegion, PlaybackClock};
use super::{Track, Tracks, Trajectory};
use crate::geometry::Pose;

const END_US: i64 = 10_000_000;

fn track(id: usize, start_us: i64, length_us: i64) -> Track {
    let stamps = if length_us > 0 { vec![start_us, start_us + length_us] } else { vec![start_us] };
    Track {
        id: id.to_string(),
        class: "automobile".to_owned(),
        dynamic: true,
        controllable: true,
        dimensions_m: DVec3::ONE,
        trajectory: Trajectory::new(stamps.clone(), vec![Pose::IDENTITY; stamps.len()]).unwrap(),
    }
}

fn some_tracks() -> impl Strategy<Value = Tracks> {
    prop::collection::vec((-1_000_000..11_000_000i64, 0..3_000_000i64), 0..60).prop_map(|ranges| {
        Tracks::new(
            ranges.into_iter().enumerate().map(|(id, (start, length))| track(id, start, length)).collect(),
        )
    })
}

#[derive(Debug, Clone)]
enum Step {
    Tick(Option<i64>),
    Play(f64),
    Stop,
    Reset,
    Seek(i64),
    Loop(i64, i64),
    NoLoop,
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Tick(None)),
        any::<i64>().prop_map(|delta| Step::Tick(Some(delta))),
        (-1_000_000..3_000_000i64).prop_map(|delta| Step::Tick(Some(delta))),
        (-1.0..120.0f64).prop_map(Step::Play),
        Just(Step::Stop),
        Just(Step::Reset),
        any::<i64>().prop_map(Step::Seek),
        (-1_000_000..12_000_000i64).prop_map(Step::Seek),
        (-1_000_000..12_000_000i64, -1_000_000..12_000_000i64).prop_map(|(from, to)| Step::Loop(from, to)),
        Just(Step::NoLoop),
    ]
}

fn take(clock: &mut PlaybackClock, tracks: &Tracks, step: &Step, now: Duration) {
    match *step {
        Step::Tick(delta_us) => drop(clock.tick(tracks, delta_us, now)),
        Step::Play(speed) => {
            assert_eq!(clock.play(Some(speed), now).is_ok(), (0.001..=100.0).contains(&speed));
        }
        Step::Stop => clock.stop(),
        Step::Reset => clock.reset(now),
        Step::Seek(timestamp_us) => drop(clock.seek(tracks, timestamp_us, now)),
        Step::Loop(start_us, end_us) => drop(clock.set_loop(Some(LoopRegion { start_us, end_us }))),
        Step::NoLoop => clock.set_loop(None).unwrap(),
    }
}

fn alive(tracks: &Tracks, timestamp_us: i64) -> Vec<usize> {
    let is_alive = |track: &Track| track.start_us() <= timestamp_us && timestamp_us <= track.end_us();
    (0..tracks.len()).filter(|index| is_alive(tracks.get(*index).unwrap())).collect()
}

proptest! {
    #[test]
    fn the_clock_never_leaves_the_scenario(
        tracks in some_tracks(),
        steps in prop::collection::vec((a_step(), 0..2_000_000_000u64), 1..40),
    ) {
        let mut now = Duration::from_secs(7);
        let mut clock = PlaybackClock::new(0, END_US, now);
        let mut known = BTreeSet::new();
        for (step, waited_ns) in &steps {
            now += Duration::from_nanos(*waited_ns);
            let before = clock.current(now);
            prop_assert!((0..=END_US).contains(&before));
            if matches!(step, Step::Tick(None)) {
                let changes = clock.tick(&tracks, None, now);
                prop_assert_eq!(clock.state().current_time_us, before);
                for index in &changes.removed { prop_assert!(known.contains(index)); }
            } else {
                take(&mut clock, &tracks, step, now);
            }
            prop_assert!((0..=END_US).contains(&clock.state().current_time_us));
            known = clock.active().iter().copied().collect();
            prop_assert_eq!(known.len(), clock.active().len(), "nothing is active twice");
        }
    }

    #[test]
    fn after_a_seek_only_the_time_counts(
        tracks in some_tracks(),
        steps in prop::collection::vec(a_step(), 0..20),
        target_us in -1_000_000..12_000_000i64,
        delta_us in 0..3_000_000i64,
    ) {
        let now = Duration::from_secs(1);
        let mut travelled = PlaybackClock::new(0, END_US, now);
        for step in &steps {
            take(&mut travelled, &tracks, step, now);
        }
        travelled.play(Some(1.0), now).unwrap();
        travelled.stop();
        travelled.set_loop(None).unwrap();
        let told: BTreeSet<_> = travelled.active().iter().copied().collect();
        let mut fresh = PlaybackClock::new(0, END_US, now);
        let changes = travelled.seek(&tracks, target_us, now);
        fresh.seek(&tracks, target_us, now);
        prop_assert_eq!(&travelled, &fresh);
        let landed: BTreeSet<_> = travelled.active().iter().copied().collect();
        prop_assert_eq!(changes.new.iter().copied().collect::<BTreeSet<_>>(), &landed - &told);
        prop_assert_eq!(changes.removed.iter().copied().collect::<BTreeSet<_>>(), &told - &landed);
        let long_enough = |index: &usize| lives_long_enough(tracks.get(*index).unwrap());
        let wanted: BTreeSet<_> =
            alive(&tracks, target_us.clamp(0, END_US)).into_iter().filter(long_enough).collect();
        prop_assert_eq!(landed, wanted);
        prop_assert_eq!(travelled.tick(&tracks, Some(delta_us), now), fresh.tick(&tracks, Some(delta_us), now));
    }

    #[test]
    fn the_index_finds_what_a_walk_finds(tracks in some_tracks(), times in prop::collection::vec(-2_000_000..15_000_000i64, 1..50)) {
        let knots = tracks.iter().flat_map(|track| [track.start_us(), track.end_us(), track.end_us() + 1]);
        for timestamp_us in times.into_iter().chain(knots).chain([i64::MIN, i64::MAX]) {
            let found: Vec<usize> = tracks.alive_at(timestamp_us).map(|(index, ..)| index).collect();
            prop_assert_eq!(found, alive(&tracks, timestamp_us));
        }
    }
}

#[test]
fn playing_past_the_end_of_a_loop_leads_into_the_loop() {
    let tracks = Tracks::new(vec![track(0, 1_000_000, 500_000), track(1, 3_000_000, 500_000)]);
    let second = Duration::from_secs(1);
    let mut clock = PlaybackClock::new(0, END_US, second);
    clock.set_loop(Some(LoopRegion { start_us: 1_000_000, end_us: 3_000_000 })).unwrap();
    clock.seek(&tracks, 2_500_000, second);
    clock.play(None, second).unwrap();
    assert_eq!(clock.current(3 * second), 1_500_000 + 1_000_000);
    let changes = clock.tick(&tracks, Some(600_000), second);
    assert_eq!((clock.state().current_time_us, changes.new), (1_100_000, vec![0]));
    assert!(clock.state().is_playing);
    clock.seek(&tracks, 4_000_000, second);
    assert_eq!(clock.current(3 * second), 6_000_000, "beyond the loop it plays on");
    clock.set_loop(Some(LoopRegion { start_us: -5, end_us: i64::MAX })).unwrap();
    assert_eq!(clock.current(8 * second), 1_000_000, "a loop over everything never ends");
}

#[test]
fn a_live_viewer_sees_the_end_without_a_tick() {
    let mut clock = PlaybackClock::new(0, END_US, Duration::ZERO);
    clock.play(Some(2.0), Duration::ZERO).unwrap();
    let state = clock.live_state(Duration::from_secs(3));
    assert_eq!((state.current_time_us, state.is_playing, state.done), (6_000_000, true, false));
    assert_eq!(clock.state().current_time_us, 0);
    let state = clock.live_state(Duration::from_secs(60));
    assert_eq!((state.current_time_us, state.is_playing, state.done), (END_US, false, true));
}

#[test]
fn speeds_and_loops_without_sense_are_refused_and_change_nothing() {
    let mut clock = PlaybackClock::new(0, END_US, Duration::ZERO);
    let before = clock.clone();
    for speed in [f64::NAN, f64::INFINITY, 1e300, 1e-9] {
        let error = clock.play(Some(speed), Duration::ZERO).unwrap_err();
        assert!(matches!(error, ClockError::SpeedOutOfRange { .. }), "{error}");
    }
    for speed in [0.0, -1.0, f64::NEG_INFINITY] {
        assert_eq!(clock.play(Some(speed), Duration::ZERO), Err(ClockError::SpeedNotPositive));
    }
    for (start_us, end_us) in [(5, 5), (6, 5), (END_US, END_US + 5), (-5, 0)] {
        assert!(clock.set_loop(Some(LoopRegion { start_us, end_us })).is_err());
    }
    assert_eq!(clock, before);
}
