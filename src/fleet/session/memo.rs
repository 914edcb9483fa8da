//! What a restart must know of a session besides its row: which members already run it, how its scene was changed since
//! it was loaded, how time runs. One small file a session, replaced whole.
//!
//! It is written after the fact and is not part of the books: losing one costs a member a second loading, no more.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use prost::Message;

use super::live::Live;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{Fence, InstanceId, SessionId};
use crate::proto::neuro::ext;

/// A member that was brought up.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Up {
    /// Its UUID.
    #[prost(string, tag = "1")]
    pub instance: String,
    /// The grant it was brought up under.
    #[prost(uint64, tag = "2")]
    pub fence: u64,
}

/// What is kept of a session.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Memo {
    /// Members that run the session: simulators with the scene loaded, the trainer with its work.
    #[prost(message, repeated, tag = "1")]
    pub up: Vec<Up>,
    /// Changes of the scene since it was loaded, in order: a simulator that joins gets the same.
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<ext::UpdateScene>,
    /// Keep to the wall clock.
    #[prost(bool, tag = "3")]
    pub real_time: bool,
    /// Simulated seconds a second; 0 before the first start.
    #[prost(double, tag = "4")]
    pub time_scale: f64,
    /// The phase to go back to after a recovery.
    #[prost(enumeration = "ext::Phase", tag = "5")]
    pub settled: i32,
    /// How training ended.
    #[prost(message, optional, tag = "6")]
    pub training_end: Option<ext::TrainingEnd>,
    /// The trainer's last progress; written with its end.
    #[prost(message, optional, tag = "7")]
    pub progress: Option<ext::Progress>,
    /// Hash of the manual request that was upgraded.
    #[prost(bytes = "vec", tag = "8")]
    pub manual_hash: Vec<u8>,
    /// The snapshot that was restored already.
    #[prost(string, tag = "9")]
    pub restored: String,
    /// Whether a trainer of this session ever worked: another one goes on from its checkpoints.
    #[prost(bool, tag = "10")]
    pub trained: bool,
    /// Whether it starts from its snapshot without the trainer's part.
    #[prost(bool, tag = "11")]
    pub without_checkpoint: bool,
    /// Which run of training this is: a restored snapshot begins another.
    #[prost(uint32, tag = "12")]
    pub run: u32,
}

impl Memo {
    /// Whether a member was brought up under this grant.
    #[must_use]
    pub fn is_up(&self, instance: InstanceId, fence: Fence) -> bool {
        let name = instance.to_string();
        self.up.iter().any(|up| up.instance == name && up.fence == fence.0)
    }

    /// Notes that it was.
    pub fn set_up(&mut self, instance: InstanceId, fence: Fence) {
        self.set_down(instance);
        self.up.push(Up { instance: instance.to_string(), fence: fence.0 });
    }

    /// Notes that it is not any more.
    pub fn set_down(&mut self, instance: InstanceId) {
        let name = instance.to_string();
        self.up.retain(|up| up.instance != name);
    }
}

/// The folder of memos.
#[derive(Debug)]
pub struct Memos {
    folder: PathBuf,
    /// A session's driver and a caller that upgrades it may save at once: one writes after the other.
    writing: Mutex<()>,
}

impl Memos {
    /// Makes the folder.
    ///
    /// # Errors
    /// `Internal` when it cannot be made.
    pub fn open(folder: PathBuf) -> Result<Self, FleetError> {
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        Ok(Self { folder, writing: Mutex::default() })
    }

    /// A session's; an empty one when none was kept or it cannot be read.
    #[must_use]
    pub fn load(&self, session: &SessionId) -> Memo {
        std::fs::read(self.path(session))
            .ok()
            .and_then(|bytes| Memo::decode(bytes.as_slice()).ok())
            .unwrap_or_default()
    }

    /// Replaces a session's.
    ///
    /// # Errors
    /// `Internal` when the disk refuses.
    pub fn save(&self, session: &SessionId, memo: &Memo) -> Result<(), FleetError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(session, memo)
    }

    /// Replaces a session's by what is in memory of it when its turn to write comes.
    ///
    /// # Errors
    /// `Internal` when the disk refuses.
    pub fn keep(&self, live: &Live) -> Result<(), FleetError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(&live.id, &live.memo(Memo::clone))
    }

    fn replace(&self, session: &SessionId, memo: &Memo) -> Result<(), FleetError> {
        let path = self.path(session);
        let partial = self.folder.join(format!("{session}.partial"));
        std::fs::write(&partial, memo.encode_to_vec()).map_err(|error| failed(&partial, &error))?;
        std::fs::rename(&partial, &path).map_err(|error| failed(&path, &error))
    }

    /// Forgets a session's.
    pub fn forget(&self, session: &SessionId) {
        drop(std::fs::remove_file(self.path(session)));
    }

    fn path(&self, session: &SessionId) -> PathBuf {
        self.folder.join(format!("{session}.memo"))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> FleetError {
    FleetError::Internal(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_read_back_as_it_was_and_a_damaged_one_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let memos = Memos::open(folder.path().join("sessions")).unwrap();
        let session: SessionId = "s-1".parse().unwrap();
        assert_eq!(memos.load(&session), Memo::default());
        let one = InstanceId::new();
        let mut memo = Memo { time_scale: 2.0, ..Memo::default() };
        memo.set_up(one, Fence(3));
        memos.save(&session, &memo).unwrap();
        let read = memos.load(&session);
        assert!(read.is_up(one, Fence(3)) && !read.is_up(one, Fence(4)));
        assert_eq!(read.time_scale, 2.0);
        std::fs::write(folder.path().join("sessions/s-1.memo"), [0xff; 7]).unwrap();
        assert_eq!(memos.load(&session), Memo::default());
        memos.forget(&session);
        memos.forget(&session);
    }

    #[test]
    fn savers_at_once_do_not_disturb_each_other_and_the_last_edit_is_what_stays() {
        let folder = tempfile::tempdir().unwrap();
        let memos = Memos::open(folder.path().join("sessions")).unwrap();
        let (wishes, _heard) = tokio::sync::mpsc::channel(1);
        let live = Live::new("s-1".parse().unwrap(), 0, false, Memo::default(), wishes);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        live.edit(|memo| memo.run += 1);
                        memos.keep(&live).unwrap();
                    }
                });
            }
        });
        assert_eq!(memos.load(&live.id).run, 200);
    }

    #[test]
    fn a_member_is_up_under_its_newest_grant_alone() {
        let one = InstanceId::new();
        let mut memo = Memo::default();
        memo.set_up(one, Fence(1));
        memo.set_up(one, Fence(2));
        assert!(!memo.is_up(one, Fence(1)) && memo.is_up(one, Fence(2)));
        memo.set_down(one);
        assert!(memo.up.is_empty());
    }
}
