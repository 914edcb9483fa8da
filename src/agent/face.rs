//! What of an instance is seen without asking its actor.

use std::sync::{Arc, Mutex, PoisonError};

use super::console::{Hub, Source};
use super::record::Record;
use super::sampler::Samples;
use super::spec::Spec;

/// See the module. Locks are held for a copy only.
#[derive(Debug)]
pub(super) struct Face {
    pub spec: Arc<Spec>,
    pub hub: Arc<Hub>,
    pub samples: Samples,
    record: Mutex<Arc<Record>>,
    running: Mutex<Option<Source>>,
}

impl Face {
    pub(super) fn new(record: Record, spec: Arc<Spec>, hub: Arc<Hub>) -> Self {
        let samples = Samples::default();
        Self { spec, hub, samples, record: Mutex::new(Arc::new(record)), running: Mutex::new(None) }
    }

    pub(super) fn record(&self) -> Arc<Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn show(&self, record: Record) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(record);
    }

    pub(super) fn running(&self) -> Option<Source> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn runs(&self, source: Option<Source>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }
}
