//! Orders to the members of a session.

use std::time::Duration;

use futures_util::future::join_all;

use super::driver::Driver;
use super::look::{Look, Seat};
use crate::fleet::error::FleetError;
use crate::fleet::link::{Answer, Ask};
use crate::proto::neuro::ext;

/// How long an instance may take for what needs no loading.
pub(super) const QUICK: Duration = Duration::from_secs(10);
/// How long an instance may take to write or read a snapshot.
pub(super) const SAVING: Duration = Duration::from_secs(60);

impl Driver {
    /// Asks one member.
    pub(super) async fn order(&self, seat: &Seat, ask: Ask, limit: Duration) -> Result<Answer, FleetError> {
        self.house.links.order(seat.instance, seat.fence, ask, limit).await
    }

    /// Asks several at once; the first refusal, if any, after all have answered.
    pub(super) async fn order_all(
        &self,
        seats: &[Seat],
        limit: Duration,
        ask: impl Fn(&Seat) -> Ask,
    ) -> Result<Vec<Answer>, FleetError> {
        join_all(seats.iter().map(|seat| self.order(seat, ask(seat), limit))).await.into_iter().collect()
    }

    /// Loads the scene into a simulator, as it is now: with every change since it was first loaded.
    pub(super) async fn load(
        &self,
        look: &Look,
        seat: &Seat,
        changes: &[ext::UpdateScene],
    ) -> Result<(), FleetError> {
        let load = ext::LoadScene {
            session_id: look.row.id.to_string(),
            scene_config: prost::Message::encode_to_vec(&look.spec.scene),
            stream_config: prost::Message::encode_to_vec(&look.spec.stream),
        };
        self.order(seat, Ask::Load(load), self.house.load_limit()).await?;
        for change in changes {
            self.order(seat, Ask::Update(change.clone()), QUICK).await?;
        }
        Ok(())
    }

    /// The start order of a session's time.
    pub(super) fn start_order(&self) -> Ask {
        let (real_time, time_scale) = self.live.memo(|memo| (memo.real_time, memo.time_scale));
        Ask::Start(ext::Start { real_time, time_scale: if time_scale > 0.0 { time_scale } else { 1.0 } })
    }
}
