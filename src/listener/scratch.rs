//! One set of buffers for each worker: a connection that waits holds none.

use std::cell::RefCell;
use std::io::IoSliceMut;
use std::ops::Range;

use crate::record::LARGEST_RECORD;

/// The buffers of the thread. What they hold is worth nothing once the turn is over.
pub(super) struct Scratch {
    /// As it came from a client, after what was left of the turn before.
    pub(super) wire: Box<[u8]>,
    /// Where in `wire` there is plaintext.
    pub(super) plaintext: Vec<Range<usize>>,
    /// From a backend, in the places where it is sealed.
    pub(super) records: Box<[u8]>,
}

/// Runs one turn of a connection with the thread's buffers. Turns do not nest.
pub(super) fn with<T>(turn: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
            wire: vec![0; LARGEST_RECORD + READ].into(),
            plaintext: Vec::new(),
            records: vec![0; RECORDS * LARGEST_RECORD].into(),
        });
    }
    SCRATCH.with_borrow_mut(turn)
}

/// Room for the slots of one turn.
pub(super) fn no_slots<'b>() -> [IoSliceMut<'b>; RECORDS] {
    [(); RECORDS].map(|()| IoSliceMut::new(&mut []))
}

/// The most that one turn takes from a client. Also the most that a connection holds of it under back-pressure.
pub(super) const READ: usize = 64 * 1024;
/// The most records that one turn takes from a backend. They too may have to be held.
const RECORDS: usize = 4;
