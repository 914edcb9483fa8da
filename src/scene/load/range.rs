//! The time range of a scene, held against the poses there are.

/// A range may reach this far beyond the ego's poses and still be believed. Real ones reach a few hundred milliseconds.
const BELIEVED_US: i64 = 10_000_000;

/// The first and last instant of a scene.
///
/// A range that reaches a little beyond the poses is kept: there is simply no pose there. One that reaches far beyond
/// them (from 0, say: nobody filled it in) is cut to the poses, since a scene is as long as its drive, and hours
/// without a pose help nobody.
///
/// # Errors
/// When the range and the poses have no instant in common.
pub(super) fn fit(
    asked: Option<(i64, i64)>,
    poses: (i64, i64),
    notes: &mut Vec<String>,
) -> Result<(i64, i64), String> {
    let Some((mut start, mut end)) = asked else {
        notes.push(
            "no time range in data_info.json or metadata.yaml: that of the ego's poses is taken".to_owned(),
        );
        return Ok(poses);
    };
    if start > poses.1 || end < poses.0 {
        return Err(format!(
            "the time range {start} to {end} has no instant in common with the ego's poses, {} to {}",
            poses.0, poses.1
        ));
    }
    let (early, late) = (poses.0.saturating_sub(start), end.saturating_sub(poses.1));
    if early > BELIEVED_US {
        notes.push(format!(
            "the time range starts at {start}, far before the ego's first pose: cut to {}",
            poses.0
        ));
        start = poses.0;
    }
    if late > BELIEVED_US {
        notes
            .push(format!("the time range ends at {end}, far after the ego's last pose: cut to {}", poses.1));
        end = poses.1;
    }
    let seconds = |us: i64| us as f64 / 1e6;
    if (1..=BELIEVED_US).contains(&early) {
        notes.push(format!("the time range starts {} s before the ego's first pose", seconds(early)));
    }
    if (1..=BELIEVED_US).contains(&late) {
        notes.push(format!("the time range ends {} s after the ego's last pose", seconds(late)));
    }
    Ok((start, end))
}
