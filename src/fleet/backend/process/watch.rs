//! The end of a process that is not our child: its parent was an earlier server, so the kernel does not tell us.

use std::time::Duration;

use tokio::time::sleep;

use super::record::Record;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Returns when the recorded process runs no more.
pub(super) async fn until_gone(record: &Record) {
    while record.is_running() {
        sleep(LOOK).await;
    }
}
