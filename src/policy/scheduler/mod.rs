//! From a decoded request to the model thread: queue, batches, deadlines, cancellation.
