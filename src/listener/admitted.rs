//! Who is in: the open connections of a listener, kept so that they can be judged once more when what admitted them has
//! changed.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;
use rustls::pki_types::CertificateDer;
use slab::Slab;

use crate::tls::RejectionReason;

/// One open connection, as far as it matters for whether it may be.
#[derive(Debug)]
pub struct Admission {
    certificates: Box<[CertificateDer<'static>]>,
    dismissal: OnceLock<RejectionReason>,
    task: AtomicWaker,
}

impl Admission {
    /// What the client has shown, its own certificate first; nothing where it has shown none.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Has the connection end: its client is told that it has no access any more, its server sees a reset. False where
    /// that was said before.
    pub fn dismiss(&self, reason: RejectionReason) -> bool {
        let is_first = self.dismissal.set(reason).is_ok();
        self.task.wake();
        is_first
    }

    /// Why the connection has to end, if it has to. `task` is the one to be woken then.
    pub(super) fn dismissal_or_wake(&self, task: &Context<'_>) -> Option<RejectionReason> {
        self.task.register(task.waker());
        self.dismissal()
    }

    /// Why the connection has to end, if it has to.
    pub(super) fn dismissal(&self) -> Option<RejectionReason> {
        self.dismissal.get().copied()
    }
}

/// Every open connection of a listener whose handshake is done.
#[derive(Debug, Default)]
pub(super) struct Admissions(Mutex<Slab<Arc<Admission>>>);

impl Admissions {
    /// Keeps a client that has shown `certificates` among them.
    pub(super) fn admit(self: &Arc<Self>, certificates: Box<[CertificateDer<'static>]>) -> Admitted {
        let admission = Arc::new(Admission {
            certificates,
            dismissal: OnceLock::new(),
            task: AtomicWaker::new(),
        });
        let place = self.open().insert(admission.clone());
        Admitted {
            admission,
            admissions: self.clone(),
            place,
        }
    }

    /// All that are open now.
    pub(super) fn all(&self) -> Vec<Arc<Admission>> {
        self.open()
            .iter()
            .map(|(_, admission)| admission.clone())
            .collect()
    }

    fn open(&self) -> MutexGuard<'_, Slab<Arc<Admission>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection among the open ones, until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) admission: Arc<Admission>,
    admissions: Arc<Admissions>,
    place: usize,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admissions.open();
        open.try_remove(self.place);
        // The memory of a peak is given back.
        if open.is_empty() && open.capacity() > SPARE {
            *open = Slab::new();
        }
    }
}

/// Places that an empty listener keeps.
const SPARE: usize = 1024;
