//! One HTTP/2 connection and what was learnt over it. A connection that broke is replaced as a whole, so that what was
//! learnt about one process is not believed of the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tonic::transport::{Channel, Endpoint};

use super::options::{MAX_MESSAGE_BYTES, NurecOptions};
use crate::proto::nurec::sensorsim::sensorsim_service_client::SensorsimServiceClient;

pub(super) type Client = SensorsimServiceClient<Channel>;

#[derive(Debug)]
pub(super) struct Connection {
    channel: Channel,
    /// It has answered: kernels are compiled.
    warm: AtomicBool,
    /// It answered `UNIMPLEMENTED` to a batch.
    no_batch: AtomicBool,
}

impl Connection {
    fn new(endpoint: &Endpoint, warm: bool, no_batch: bool) -> Self {
        Self {
            channel: endpoint.connect_lazy(),
            warm: AtomicBool::new(warm),
            no_batch: AtomicBool::new(no_batch),
        }
    }

    pub(super) fn client(&self) -> Client {
        SensorsimServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(super) fn deadline(&self, options: &NurecOptions) -> Duration {
        if self.warm.load(Ordering::Relaxed) { options.deadline } else { options.first_deadline }
    }

    pub(super) fn answered(&self) {
        self.warm.store(true, Ordering::Relaxed);
    }

    pub(super) fn takes_batches(&self) -> bool {
        !self.no_batch.load(Ordering::Relaxed)
    }

    pub(super) fn refused_batch(&self) {
        self.no_batch.store(true, Ordering::Relaxed);
    }
}

/// The connection in use.
#[derive(Debug)]
pub(super) struct Connections {
    endpoint: Endpoint,
    current: ArcSwap<Connection>,
}

impl Connections {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let current = ArcSwap::from_pointee(Connection::new(&endpoint, false, false));
        Self { endpoint, current }
    }

    pub(super) fn current(&self) -> Arc<Connection> {
        self.current.load_full()
    }

    /// The peer is gone: the next one is a stranger.
    pub(super) fn broke(&self, connection: &Arc<Connection>) {
        self.replace(connection, false, false);
    }

    /// The peer hangs: a new way to the same peer.
    pub(super) fn hangs(&self, connection: &Arc<Connection>) {
        let warm = connection.warm.load(Ordering::Relaxed);
        self.replace(connection, warm, !connection.takes_batches());
    }

    /// Whoever of several notices first replaces it.
    fn replace(&self, connection: &Arc<Connection>, warm: bool, no_batch: bool) {
        if Arc::ptr_eq(&self.current.load(), connection) {
            let fresh = Arc::new(Connection::new(&self.endpoint, warm, no_batch));
            drop(self.current.compare_and_swap(connection, fresh));
        }
    }
}
