//! Actions of pictures seen before. Exact, and only used where the action is a function of the picture alone.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use super::request::Picture;
use super::stats::ACTION_DIM;

/// Identifies a picture by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PictureKey([u8; 32]);

impl PictureKey {
    /// SHA-256 over the file, or over the sides and the pixels.
    #[must_use]
    pub fn of(picture: &Picture) -> Self {
        let mut hash = Sha256::new();
        match picture {
            Picture::Encoded(bytes) => {
                hash.update(b"file");
                hash.update(bytes);
            }
            Picture::Pixels(pixels) => {
                hash.update(b"rgb8");
                hash.update(pixels.width().to_le_bytes());
                hash.update(pixels.height().to_le_bytes());
                hash.update(pixels.data());
            }
        }
        Self(hash.finalize().into())
    }
}

/// What is remembered of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Remembered {
    /// Denormalised action.
    pub action: [f32; ACTION_DIM],
    /// Width and height as sent, in pixels.
    pub image_size: (u32, u32),
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<PictureKey, Remembered>,
    order: VecDeque<PictureKey>,
}

/// A bounded memory; the oldest entry leaves first. About 150 bytes an entry.
#[derive(Debug)]
pub struct ActionCache {
    capacity: usize,
    entries: Mutex<Entries>,
}

impl ActionCache {
    /// Remembers at most `capacity` pictures; 0 remembers none.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    /// Whether it remembers anything at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.capacity > 0
    }

    /// What a picture led to before.
    #[must_use]
    pub fn get(&self, key: &PictureKey) -> Option<Remembered> {
        self.entries.lock().ok()?.by_key.get(key).copied()
    }

    /// Remembers a picture.
    pub fn put(&self, key: PictureKey, remembered: Remembered) {
        let Ok(mut entries) = self.entries.lock() else { return };
        if self.capacity == 0 || entries.by_key.insert(key, remembered).is_some() {
            return;
        }
        entries.order.push_back(key);
        if entries.order.len() > self.capacity
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.by_key.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_and_it_is_bounded() {
        let cache = ActionCache::new(2);
        let key = |byte: u8| PictureKey::of(&Picture::Encoded(vec![byte].into()));
        let value = |x: f32| Remembered { action: [x; ACTION_DIM], image_size: (1, 1) };
        for byte in 0..3 {
            cache.put(key(byte), value(f32::from(byte)));
        }
        assert_eq!(cache.get(&key(0)), None);
        assert_eq!(cache.get(&key(2)), Some(value(2.0)));
        assert_eq!(cache.entries.lock().unwrap().order.len(), 2);
    }
}
