//! What a scene is called and when it happens: `data_info.json` of NCore V3 or V4, else `metadata.yaml`.

use serde::Deserialize;

use super::json::number::LATEST_TIMESTAMP_US;
use super::json::{Json, Result};

/// Identity and time as some member says, as far as it says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Info {
    pub(super) sequence_id: Option<String>,
    /// First and last instant, inclusive.
    pub(super) range_us: Option<(i64, i64)>,
}

/// `data_info.json`.
///
/// # Errors
/// At the first thing that is not as it must be.
pub(super) fn data_info(json: &mut Json) -> Result<Info> {
    let mut info = Info::default();
    json.object(|json, key| {
        match key {
            "sequence_id" => info.sequence_id = json.optional(Json::name)?,
            "pose-range" => {
                let last = |end| end;
                info.range_us = json
                    .optional(|json| range(json, "start-timestamp_us", "end-timestamp_us", last))?
                    .or(info.range_us);
            }
            "sequence_timestamp_interval_us" => {
                let half_open = |stop: i64| stop.saturating_sub(1);
                info.range_us =
                    json.optional(|json| range(json, "start", "stop", half_open))?.or(info.range_us);
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    info.sequence_id = info.sequence_id.filter(|id| !id.is_empty());
    Ok(info)
}

fn range(json: &mut Json, start_key: &str, end_key: &str, last: impl Fn(i64) -> i64) -> Result<(i64, i64)> {
    let (mut start, mut end) = (None, None);
    json.object(|json, key| {
        if key == start_key {
            start = Some(json.timestamp_us()?);
        } else if key == end_key {
            end = Some(json.timestamp_us()?);
        } else {
            json.skip()?;
        }
        Ok(())
    })?;
    let missing = |key: &str| json.fault_in(&format!(".{key}"), "is missing");
    let start = start.ok_or_else(|| missing(start_key))?;
    let end = last(end.ok_or_else(|| missing(end_key))?);
    if end < start {
        return Err(json.fault(format!("ends at {end}, before it starts at {start}")));
    }
    Ok((start, end))
}

#[derive(Deserialize)]
struct Metadata {
    scene_id: Option<String>,
    time_range: Option<TimeRange>,
}

#[derive(Deserialize)]
struct TimeRange {
    start: Option<f64>,
    end: Option<f64>,
}

/// `metadata.yaml`, asked only for what `data_info.json` does not say.
///
/// # Errors
/// When it is not YAML, or holds something else under these keys.
pub(super) fn metadata(text: &str) -> std::result::Result<Info, String> {
    let read: Metadata = serde_saphyr::from_str(text).map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    })?;
    let instant = |value: f64| (value >= 0.0 && value <= LATEST_TIMESTAMP_US as f64).then_some(value as i64);
    let range_us = read.time_range.and_then(|range| {
        let (start, end) = (instant(range.start?)?, instant(range.end?)?);
        (start <= end).then_some((start, end))
    });
    Ok(Info { sequence_id: read.scene_id.filter(|id| !id.is_empty()), range_us })
}
