//! The console of the fake driver: an echo.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::world::World;
use crate::agent::driver::{Console, ConsoleInput};
use crate::agent::id::InstanceId;

/// Pieces of output and keys that wait.
const QUEUE: usize = 16;
/// Longest piece of output.
const PIECE_BYTES: usize = 16 << 10;

/// Of one run, whose output is kept from `first` on.
pub(super) fn open(world: &World, id: &InstanceId, number: u64, first: u64) -> Console {
    let (said, output) = mpsc::channel(QUEUE);
    let (input, typed) = mpsc::channel(QUEUE);
    tokio::spawn(speak(world.clone(), id.clone(), number, first, said));
    tokio::spawn(listen(world.clone(), id.clone(), typed));
    Console { first, output, input }
}

async fn speak(world: World, id: InstanceId, number: u64, mut at: u64, said: mpsc::Sender<Bytes>) {
    let mut changes = world.watch();
    loop {
        changes.borrow_and_update();
        let (piece, ended) = {
            let inside = world.inside();
            let run = inside.things.get(&id).and_then(|thing| thing.run.as_ref());
            let Some(run) = run.filter(|run| run.number == number) else { return };
            at = at.max(run.first);
            let skip = usize::try_from(at - run.first).unwrap_or(usize::MAX);
            let piece: Bytes = run.output.iter().skip(skip).take(PIECE_BYTES).copied().collect();
            (piece, run.ended.is_some() && at == run.end())
        };
        at += piece.len() as u64;
        if !piece.is_empty() {
            if said.send(piece).await.is_err() {
                return;
            }
        } else if ended {
            return;
        } else {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = said.closed() => return,
            }
        }
    }
}

/// Echoes what is typed; a resize is said as `[80x24]`.
async fn listen(world: World, id: InstanceId, mut typed: mpsc::Receiver<ConsoleInput>) {
    while let Some(input) = typed.recv().await {
        match input {
            ConsoleInput::Data(data) => world.says(&id, &data),
            ConsoleInput::Resize { width, height } => {
                world.says(&id, format!("[{width}x{height}]").as_bytes())
            }
        };
    }
}
