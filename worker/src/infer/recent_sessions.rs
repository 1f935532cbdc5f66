//! The sessions that an inference thread has at hand.

use crate::error::Result;
use framefleet_models::{Lease, Serving};
use std::sync::Arc;

/// A thread goes back and forth between the models of the segments that run at once: most often one, or two while one
/// takes the other's place. Others are fetched from their model's stock and go back to it, which costs a lock.
const KEPT: usize = 2;

/// Sessions of the last few models that a thread used.
#[derive(Debug, Default)]
pub(super) struct RecentSessions {
    /// The one used last at the end.
    leases: Vec<Lease>,
}

impl RecentSessions {
    /// A session of this model. One that nobody else has either is made.
    pub fn of(&mut self, serving: &Arc<Serving>) -> Result<&mut Lease> {
        if let Some(at) = self.position(serving) {
            self.leases[at..].rotate_left(1);
        } else {
            // Before there is one more, so that there are never more than are kept.
            if self.leases.len() == KEPT {
                self.leases.remove(0);
            }
            self.leases.push(serving.lease()?);
        }
        Ok(self.leases.last_mut().expect("it was put there just now"))
    }

    /// Gives back those of models that nobody wants. Where another version took the model's place, that frees them.
    pub fn keep(&mut self, is_wanted: impl Fn(&Arc<Serving>) -> bool) {
        self.leases.retain(|lease| is_wanted(lease.serving()));
    }

    /// Drops the session of this model for good: nobody knows in which state it is.
    pub fn discard(&mut self, serving: &Arc<Serving>) {
        if let Some(at) = self.position(serving) {
            self.leases.remove(at).discard();
        }
    }

    fn position(&self, serving: &Arc<Serving>) -> Option<usize> {
        self.leases.iter().position(|lease| Arc::ptr_eq(lease.serving(), serving))
    }
}
