//! Change hints: what to look at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{Receiver, Sender};

/// What changed since the last look.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hint {
    /// These keys were put or deleted, once or several times. Sorted, each once.
    Keys(Vec<String>),
    /// More happened than was kept for this reader: look at everything.
    Unknown,
}

/// The changes of a store, for one reader. A reader that is too slow gets [`Hint::Unknown`] instead of a list; it never
/// holds up a writer, and no change goes by without a hint.
#[derive(Debug)]
pub struct Hints {
    receiver: Receiver<Option<Arc<[String]>>>,
}

impl Hints {
    /// Waits for the next change, then tells all changes so far. Waits for ever once the store is gone. Dropping the
    /// future loses nothing.
    pub async fn changed(&mut self) -> Hint {
        let mut keys = match self.receiver.recv().await {
            Ok(Some(keys)) => BTreeSet::from_iter(keys.iter().cloned()),
            Ok(None) | Err(RecvError::Lagged(_)) => return self.forget(),
            Err(RecvError::Closed) => std::future::pending().await,
        };
        loop {
            match self.receiver.try_recv() {
                Ok(Some(more)) => keys.extend(more.iter().cloned()),
                Ok(None) | Err(TryRecvError::Lagged(_)) => return self.forget(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => {
                    return Hint::Keys(keys.into_iter().collect());
                }
            }
        }
    }

    /// What waits behind an `Unknown` is covered by it.
    fn forget(&mut self) -> Hint {
        self.receiver = self.receiver.resubscribe();
        Hint::Unknown
    }
}

/// The writer's end.
pub(crate) struct Announcer {
    sender: Sender<Option<Arc<[String]>>>,
}

impl Announcer {
    pub(crate) fn new() -> Self {
        Self {
            sender: Sender::new(KEPT_COMMITS),
        }
    }

    pub(crate) fn hints(&self) -> Hints {
        Hints {
            receiver: self.sender.subscribe(),
        }
    }

    /// Tells all readers of a commit. With nobody listening this costs next to nothing.
    pub(crate) fn announce(&self, keys: Vec<String>) {
        if keys.is_empty() || self.sender.receiver_count() == 0 {
            return;
        }
        let hint = (keys.len() <= KEPT_KEYS).then(|| Arc::from(keys));
        // An error says that the last reader has just left.
        let _ = self.sender.send(hint);
    }
}

/// Together they bound what is kept for slow readers: 256 × 64 keys, 8 MiB at the very most.
const KEPT_COMMITS: usize = 256;
const KEPT_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_is_told_every_key_once() {
        let announcer = Announcer::new();
        let mut hints = announcer.hints();
        announcer.announce(vec!["b".into(), "a".into()]);
        announcer.announce(vec!["b".into()]);
        assert_eq!(hints.changed().await, Hint::Keys(vec!["a".into(), "b".into()]));
    }

    #[tokio::test]
    async fn a_reader_that_fell_behind_is_told_so_once_and_then_goes_on() {
        let announcer = Announcer::new();
        let mut hints = announcer.hints();
        for n in 0..=KEPT_COMMITS {
            announcer.announce(vec![n.to_string()]);
        }
        assert_eq!(hints.changed().await, Hint::Unknown);
        announcer.announce(vec!["next".into()]);
        assert_eq!(hints.changed().await, Hint::Keys(vec!["next".into()]));
    }

    #[tokio::test]
    async fn a_commit_of_very_many_keys_is_one_unknown() {
        let announcer = Announcer::new();
        let mut hints = announcer.hints();
        announcer.announce((0..=KEPT_KEYS).map(|n| n.to_string()).collect());
        assert_eq!(hints.changed().await, Hint::Unknown);
    }
}
