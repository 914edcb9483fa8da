//! The newest picture of a simulator.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep_until};

use super::look::Robot;
use super::wheel::locked;
use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;

/// Largest picture, in bytes.
const LARGEST: usize = 4 << 20;
/// For a picture.
const PICTURE_TIME: Duration = Duration::from_secs(2);
/// Between two pictures of a recording.
const EVERY: Duration = Duration::from_millis(100);

/// The newest picture, numbered so that the same one is not kept twice.
#[derive(Debug, Clone, Default)]
pub struct Shutter(Arc<Mutex<(u64, Bytes)>>);

impl Shutter {
    /// A newer picture.
    pub fn put(&self, picture: Bytes) {
        let mut newest = locked(&self.0);
        if newest.1 != picture {
            *newest = (newest.0 + 1, picture);
        }
    }

    /// Its number, from 1, and the picture; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> (u64, Bytes) {
        locked(&self.0).clone()
    }
}

/// Takes one.
///
/// # Errors
/// `Unavailable` when the simulator gives none, or one that is too large.
pub(super) async fn picture(
    http: &reqwest::Client,
    robot: &Robot,
    session: &SessionId,
) -> Result<Bytes, FleetError> {
    let away = |why: String| FleetError::Unavailable {
        message: format!("no picture of {}: {why}", robot.name),
        retry_after: Duration::from_secs(1),
    };
    if robot.endpoints.rest_url.is_empty() {
        return Err(away("it names no rest_url".to_owned()));
    }
    let url = format!("{}/v1/sessions/{session}/frame.jpg", robot.endpoints.rest_url.trim_end_matches('/'));
    let taking = async {
        let mut answer = http.get(url).send().await.map_err(|error| away(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(away(answer.status().to_string()));
        }
        let mut picture = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| away(error.to_string()))? {
            if picture.len() + chunk.len() > LARGEST {
                return Err(away(format!("it has more than {LARGEST} bytes")));
            }
            picture.extend_from_slice(&chunk);
        }
        if picture.is_empty() {
            return Err(away("it is empty".to_owned()));
        }
        Ok(picture.freeze())
    };
    match tokio::time::timeout(PICTURE_TIME, taking).await {
        Ok(picture) => picture,
        Err(_) => Err(away(format!("none within {} s", PICTURE_TIME.as_secs()))),
    }
}

/// Takes pictures until it is aborted. A simulator without any is asked ever less often.
pub(super) async fn film(http: reqwest::Client, robot: Robot, session: SessionId, shutter: Shutter) {
    let mut wait = EVERY;
    loop {
        let start = Instant::now();
        match picture(&http, &robot, &session).await {
            Ok(picture) => {
                shutter.put(picture);
                wait = EVERY;
            }
            Err(_) => wait = (wait * 2).min(Duration::from_secs(5)),
        }
        sleep_until(start + wait).await;
    }
}
