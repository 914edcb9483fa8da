//! What the cards do that an instance holds, as NVML tells it. Its library is looked for once.
//!
//! A card that cannot tell everything (a slice of one, an old driver) is left out: the wire has no word for a figure that is
//! not known, and zero would be a lie. Without card or library there is nothing to tell, and that is all that this was run
//! on: the path through NVML was never tried on a card.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use tokio::sync::Semaphore;

use crate::agent::sampler::GpuFigures;

/// The kind whose cards NVML knows.
const KIND: &str = "nvidia.com/gpu";
/// A reading younger than this is given again.
const FRESH: Duration = Duration::from_secs(1);

static LIBRARY: OnceLock<Option<Nvml>> = OnceLock::new();
static NEWEST: Mutex<Option<(Instant, Vec<Card>)>> = Mutex::new(None);
/// One reading at a time: a driver that hangs keeps one thread.
static READING: Semaphore = Semaphore::const_new(1);

/// What a card said.
#[derive(Debug, Clone, PartialEq)]
struct Card {
    index: u32,
    uuid: String,
    utilization_percent: f64,
    memory_used_bytes: u64,
    memory_total_bytes: u64,
}

/// Of the cards among these devices, each once, by the name under which it is held; waits so long at most.
pub async fn figures(devices: &[String], patience: Duration) -> Vec<GpuFigures> {
    if !devices.iter().any(|device| name(device).is_some()) {
        return Vec::new();
    }
    let cards = tokio::time::timeout(patience, newest()).await.unwrap_or_default();
    held(devices, &cards)
}

async fn newest() -> Vec<Card> {
    let Ok(permit) = READING.acquire().await else { return Vec::new() };
    let read = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        if let Some((at, cards)) = &*NEWEST.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < FRESH
        {
            return cards.clone();
        }
        let cards = read();
        *NEWEST.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), cards.clone()));
        cards
    });
    read.await.unwrap_or_default()
}

fn read() -> Vec<Card> {
    let Some(nvml) = LIBRARY.get_or_init(|| Nvml::init().ok()) else { return Vec::new() };
    let count = nvml.device_count().unwrap_or(0);
    (0..count).filter_map(|index| card(nvml, index).ok()).collect()
}

fn card(nvml: &Nvml, index: u32) -> Result<Card, NvmlError> {
    let device = nvml.device_by_index(index)?;
    let memory = device.memory_info()?;
    Ok(Card {
        index,
        uuid: device.uuid()?,
        utilization_percent: f64::from(device.utilization_rates()?.gpu),
        memory_used_bytes: memory.used,
        memory_total_bytes: memory.total,
    })
}

/// The part of a device's name that says which card.
fn name(device: &str) -> Option<&str> {
    device.split_once('=').filter(|(kind, _)| *kind == KIND).map(|(_, name)| name)
}

fn held(devices: &[String], cards: &[Card]) -> Vec<GpuFigures> {
    let said = |card: &Card| {
        let mut names = devices.iter().filter(|device| name(device).is_some_and(|name| card.is(name)));
        let device = names.next()?.clone();
        Some(GpuFigures {
            device,
            utilization_percent: card.utilization_percent,
            memory_used_bytes: card.memory_used_bytes,
            memory_total_bytes: card.memory_total_bytes,
        })
    };
    cards.iter().filter_map(said).collect()
}

impl Card {
    /// By its number, its UUID, or as one of all.
    fn is(&self, name: &str) -> bool {
        name == "all" || name == self.uuid || name.parse() == Ok(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(index: u32) -> Card {
        let uuid = format!("GPU-{index}aa");
        let figures = (f64::from(index) + 10.5, 100, 1000);
        Card {
            index,
            uuid,
            utilization_percent: figures.0,
            memory_used_bytes: figures.1,
            memory_total_bytes: figures.2,
        }
    }

    fn names(devices: &[&str]) -> Vec<(String, f64)> {
        let devices: Vec<String> = devices.iter().map(|device| (*device).to_owned()).collect();
        let told = held(&devices, &[card(0), card(1), card(2)]);
        told.into_iter().map(|figures| (figures.device, figures.utilization_percent)).collect()
    }

    #[test]
    fn cards_are_told_once_each_under_the_name_by_which_they_are_held() {
        let one = |device: &str, load: f64| (device.to_owned(), load);
        assert_eq!(names(&["nvidia.com/gpu=1"]), [one("nvidia.com/gpu=1", 11.5)]);
        let uuid = "nvidia.com/gpu=GPU-2aa";
        assert_eq!(names(&["nvidia.com/gpu=0", uuid]), [one("nvidia.com/gpu=0", 10.5), one(uuid, 12.5)]);
        let all = "nvidia.com/gpu=all";
        assert_eq!(names(&[all, "nvidia.com/gpu=0"]), [one(all, 10.5), one(all, 11.5), one(all, 12.5)]);
        for other in
            ["acme.com/port=1", "nvidia.com/gpu=7", "nvidia.com/gpu=0:1", "nvidia.com/gpu=MIG-0aa", "1"]
        {
            assert_eq!(names(&[other]), [], "{other}");
        }
    }

    #[tokio::test]
    async fn where_no_card_can_be_asked_nothing_is_told() {
        let there = tokio::task::spawn_blocking(|| read().into_iter().next()).await.unwrap();
        let told = figures(&["nvidia.com/gpu=0".to_owned()], Duration::from_secs(10)).await;
        assert_eq!(told.len(), usize::from(there.is_some()), "{told:?}");
        assert!(told.iter().all(|card| card.memory_total_bytes >= card.memory_used_bytes), "{told:?}");
        assert_eq!(figures(&["acme.com/port=1".to_owned()], Duration::from_secs(10)).await, []);
    }
}
