//! A small fleet and the requests that these tests make of it.

use std::path::Path;

use neuro::fleet::FleetError;
use neuro::fleet::books::Books;
use neuro::fleet::ids::{InstanceId, SessionId};
use neuro::fleet::ledger::{Command, LedgerOptions, Notice, OpenSession, Registration, Tables};
use neuro::fleet::rows::{Endpoints, Phase, Role};
use neuro::fleet::spec::{Gang, Mode, Priority};
use neuro::fleet::store::SqliteStore;
use tokio::sync::mpsc;

pub const SIMULATORS: u32 = 12;
pub const TRAINERS: u32 = 4;

pub fn open_books(path: &Path) -> (Books, mpsc::Receiver<Notice>) {
    Books::open(Box::new(SqliteStore::open(path).unwrap()), LedgerOptions::default()).unwrap()
}

pub fn instance(role: Role, number: u32) -> Registration {
    let kind = if role == Role::Trainer { 2_u128 } else { 1 };
    Registration {
        id: InstanceId(uuid::Uuid::from_u128(0x4000_8000_0000_0000_0000 + (kind << 96) + u128::from(number))),
        name: format!("{}-{number}", role.name()),
        role,
        pool: "default".to_owned(),
        node: "node".to_owned(),
        version: "1".to_owned(),
        labels: [("node".to_owned(), "node".to_owned())].into(),
        gpus: Vec::new(),
        memory_mb: 1024,
        endpoints: Endpoints::default(),
        holding: None,
    }
}

/// Every instance registers, saying that it still runs what the books gave it.
pub async fn attach_all(books: &Books) {
    let simulators = (0..SIMULATORS).map(|number| instance(Role::Simulator, number));
    let all = simulators.chain((0..TRAINERS).map(|number| instance(Role::Trainer, number)));
    for mut said in all {
        said.holding = books.read(|tables| {
            let row = tables.instances.get(&said.id)?;
            row.holder.as_ref().map(|holder| (holder.session.clone(), row.fence))
        });
        books.apply(Command::Register(said)).await.unwrap();
    }
}

pub fn request(id: &SessionId, simulators: u32, may_queue: bool) -> OpenSession {
    OpenSession {
        id: id.clone(),
        owner: "owner".to_owned(),
        mode: Mode::Training,
        priority: Priority::Normal,
        gang: Gang { trainers: 1, simulators, ..Gang::default() },
        requires: std::collections::BTreeMap::new(),
        spec: vec![1, 2, 3],
        request_hash: [simulators as u8; 32],
        may_queue,
        restore_from: String::new(),
    }
}

pub fn stop(session: &SessionId) -> Command {
    Command::Close {
        session: session.clone(),
        to: Phase::Stopped,
        reason: "stopped".to_owned(),
        requeue_from: None,
    }
}

pub async fn stop_all(books: &Books) -> Result<(), FleetError> {
    let active = books.read(|tables| tables.active().map(|row| row.id.clone()).collect::<Vec<_>>());
    for id in active {
        books.apply(stop(&id)).await?;
    }
    Ok(())
}

/// Nothing half granted, nothing held by the dead, nothing held twice.
pub fn check_whole(tables: &Tables) {
    for row in tables.instances.values() {
        let Some(holder) = &row.holder else { continue };
        let session = &tables.sessions[&holder.session];
        assert!(session.ended_ms == 0 && session.queued_ms == 0, "{} holds {}", session.id, row.name);
    }
    for session in tables.active().filter(|row| row.queued_ms == 0) {
        let members = tables.members(&session.id);
        let trainers = members.iter().filter(|member| member.role == Role::Trainer).count();
        let simulators = members.iter().filter(|member| member.role == Role::Simulator);
        let environments: Vec<u32> = simulators.map(|member| member.env_index).collect();
        assert_eq!(trainers, session.gang.trainers as usize, "{}", session.id);
        assert_eq!(environments, (0..session.gang.simulators).collect::<Vec<_>>(), "{}", session.id);
    }
}
