//! `GET /v1/events`: everything a page of the whole fleet shows, over one websocket. The first message holds all of it;
//! later ones hold what changed, a few times a second at most, the newest state of each thing only.
//!
//! The state is read off the fleet once for all viewers, and only while there are some.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::events::{MAX_MESSAGE_BYTES, PING_AFTER, SEND_TIME, SILENCE};
use super::instance_json::Pool;
use super::refusal::{Problem, Refusal};
use super::session_json::Session;
use super::state::FleetState;
use crate::fleet::access::Identity;
use crate::fleet::orchestrator::Orchestrator;
use crate::fleet::request::SessionFilter;
use crate::http::credential::WEBSOCKET_PROTOCOL;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(400);
/// Sessions shown, the newest.
const MOST_SESSIONS: u32 = 500;
/// Idle times are told in steps of this, so that time passing is no change.
const IDLE_STEP_MS: i64 = 10_000;

type Things = BTreeMap<String, Value>;

/// Everything at one moment, each thing by its id.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
struct Picture {
    sessions: Things,
    pools: Things,
    instances: Things,
    fleet: Things,
}

/// The newest picture, shared by all viewers.
#[derive(Debug, Default)]
pub struct Overview {
    newest: Mutex<Option<(Instant, Arc<Picture>)>>,
}

impl Overview {
    fn look(&self, orchestrator: &Orchestrator) -> Arc<Picture> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((at, picture)) if at.elapsed() < EVERY / 2 => Arc::clone(picture),
            _ => {
                let picture = Arc::new(Picture::of(orchestrator));
                *newest = Some((Instant::now(), Arc::clone(&picture)));
                picture
            }
        }
    }
}

impl Picture {
    fn of(orchestrator: &Orchestrator) -> Self {
        let mut picture = Self::default();
        let filter = SessionFilter { page_size: MOST_SESSIONS, ..SessionFilter::default() };
        for view in orchestrator.sessions(filter).map(|page| page.sessions).unwrap_or_default() {
            let mut session = Session::from(&view);
            session.idle_ms -= session.idle_ms.rem_euclid(IDLE_STEP_MS);
            // Instances come once, under their own ids.
            let members = session.trainer.take().into_iter().chain(session.simulators.drain(..));
            let members: Vec<String> = members.map(|instance| instance.id).collect();
            let mut value = serde_json::to_value(&session).unwrap_or_default();
            value["members"] = members.into();
            picture.sessions.insert(session.id, value);
        }
        for view in orchestrator.pools() {
            let mut pool = Pool::from(&view);
            for instance in pool.instances.drain(..) {
                let value = serde_json::to_value(&instance).unwrap_or_default();
                picture.instances.insert(instance.id, value);
            }
            let value = serde_json::to_value(&pool).unwrap_or_default();
            picture.pools.insert(pool.name, value);
        }
        let health = orchestrator.health();
        picture.fleet.insert("healthy".to_owned(), health.healthy.into());
        picture.fleet.insert("reason".to_owned(), health.reason.into());
        picture.fleet.insert("active_sessions".to_owned(), health.active_sessions.into());
        picture.fleet.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        picture
    }

    /// What a caller may see: an owner sees its own sessions, and instances without the names of others' sessions.
    fn seen_by(&self, caller: &Identity) -> Self {
        let mut seen = self.clone();
        if caller.may_administer().is_ok() {
            return seen;
        }
        seen.sessions.retain(|_, session| session["owner"].as_str().is_some_and(|owner| caller.sees(owner)));
        for instance in seen.instances.values_mut() {
            let known = instance["session_id"].as_str().is_some_and(|id| seen.sessions.contains_key(id));
            if !known {
                instance["session_id"] = Value::Null;
            }
        }
        seen
    }

    /// Each thing that is new or different in `newer`, and null for each that is gone.
    fn changes(&self, newer: &Self) -> Self {
        Self {
            sessions: changed(&self.sessions, &newer.sessions),
            pools: changed(&self.pools, &newer.pools),
            instances: changed(&self.instances, &newer.instances),
            fleet: changed(&self.fleet, &newer.fleet),
        }
    }

    fn is_empty(&self) -> bool {
        [&self.sessions, &self.pools, &self.instances, &self.fleet].iter().all(|things| things.is_empty())
    }
}

fn changed(older: &Things, newer: &Things) -> Things {
    let new = newer.iter().filter(|(id, value)| older.get(*id) != Some(*value));
    let gone = older.keys().filter(|id| !newer.contains_key(*id));
    let new = new.map(|(id, value)| (id.clone(), value.clone()));
    new.chain(gone.map(|id| (id.clone(), Value::Null))).collect()
}

#[derive(Serialize)]
struct Told<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    picture: &'a Picture,
}

/// Everything, as it changes
///
/// A websocket of JSON text messages. The first is `{"type": "all", "sessions": {ID: ...}, "pools": {NAME: ...},
/// "instances": {ID: ...}, "fleet": {...}}`; later ones have the type `changes` and the same keys with what is new, and
/// null for what is gone. A session names its instances in `members`.
#[utoipa::path(
    get, path = "/v1/events", tag = "sessions",
    responses((status = 101, description = "Switched to a websocket"), (status = 503, description = "Too many watchers", body = Problem))
)]
pub async fn overview(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let Ok(place) = Arc::clone(&state.watcher_places).try_acquire_owned() else {
        return Err(Refusal::full("watches", state.options.max_watchers));
    };
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).protocols([WEBSOCKET_PROTOCOL]);
    Ok(upgrade.on_upgrade(async move |socket| {
        let _place = place;
        tell(socket, &state, &identity).await;
    }))
}

async fn tell(mut socket: WebSocket, state: &FleetState, caller: &Identity) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Picture> = None;
    // On a timer of their own: a page says nothing but pongs, however much it is told.
    let mut pings = interval(PING_AFTER);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = pings.tick() => {
                let ping = Message::Ping(bytes::Bytes::new());
                let sent = timeout(SEND_TIME, socket.send(ping)).await;
                if heard.elapsed() > SILENCE || !matches!(sent, Ok(Ok(()))) {
                    return;
                }
                continue;
            }
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
        }
        let picture = state.overview.look(&state.orchestrator).seen_by(caller);
        let (kind, news) = match &told {
            None => ("all", picture.clone()),
            Some(told) => ("changes", told.changes(&picture)),
        };
        if told.is_some() && news.is_empty() {
            continue;
        }
        let text = serde_json::to_string(&Told { r#type: kind, picture: &news }).unwrap_or_default();
        told = Some(picture);
        if !matches!(timeout(SEND_TIME, socket.send(Message::Text(text.into()))).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::access::Role;
    use serde_json::json;

    fn picture(sessions: &[(&str, Value)], instances: &[(&str, Value)]) -> Picture {
        let things = |list: &[(&str, Value)]| {
            list.iter().map(|(id, value)| ((*id).to_owned(), value.clone())).collect()
        };
        Picture { sessions: things(sessions), instances: things(instances), ..Picture::default() }
    }

    #[test]
    fn changes_put_upon_the_old_make_the_new() {
        let older = picture(&[("a", json!({"phase": "ready"})), ("b", json!({"phase": "queued"}))], &[]);
        let newer = picture(&[("a", json!({"phase": "running"})), ("c", json!({"phase": "queued"}))], &[]);
        let news = older.changes(&newer);
        let expected = json!({"a": {"phase": "running"}, "b": null, "c": {"phase": "queued"}});
        assert_eq!(serde_json::to_value(&news.sessions).unwrap(), expected);
        let mut put = older.sessions;
        put.extend(news.sessions);
        put.retain(|_, value| !value.is_null());
        assert_eq!(put, newer.sessions);
        assert!(newer.changes(&newer).is_empty());
    }

    #[test]
    fn an_owner_sees_nothing_of_others_sessions() {
        let all = picture(
            &[("a", json!({"owner": "ada"})), ("g", json!({"owner": "grace"}))],
            &[("1", json!({"session_id": "a"})), ("2", json!({"session_id": "g"}))],
        );
        let seen = all.seen_by(&Identity { owner: Some("ada".to_owned()), role: Role::User });
        assert_eq!(seen.sessions.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(seen.instances["1"]["session_id"], "a");
        assert_eq!(seen.instances["2"]["session_id"], Value::Null);
        assert_eq!(all.seen_by(&Identity::anyone()), all);
    }
}
