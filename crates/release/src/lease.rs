//! Keeps a deployment's lease while it goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, SystemTime};

use debark_ledger::AppendError;
use debark_order::Sequence;

use crate::site::Book;

/// A lease that is renewed by a thread until it is dropped.
#[derive(Debug)]
pub struct Lease<'scope> {
    stop: Option<Sender<()>>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Lease<'scope> {
    /// Renews it every third of its length. `lost` becomes true when it is somebody else's, or could not be renewed
    /// in time.
    pub fn keep<'env, B: Book + ?Sized>(
        scope: &'scope Scope<'scope, 'env>,
        book: &'env B,
        sequence: Sequence,
        length: Duration,
        lost: &'env AtomicBool,
    ) -> Self {
        let (stop, stopped) = channel();
        let thread = scope.spawn(move || {
            // Wall time: a process that was stopped for a while has to see that time has passed.
            let mut until = SystemTime::now() + length;
            while stopped.recv_timeout(length / 3) == Err(RecvTimeoutError::Timeout) {
                match book.renew(sequence) {
                    Ok(()) => until = SystemTime::now() + length,
                    // It may be told apart from a loss, and tried again, until the lease is over.
                    Err(error)
                        if !matches!(error, AppendError::LeaseLost { .. }) && SystemTime::now() < until => {}
                    Err(_) => {
                        lost.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
