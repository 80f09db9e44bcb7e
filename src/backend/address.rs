//! Where a server is: its written address, and what the system's resolver says of it now.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// The addresses of one server; those of a name are looked up again in the background.
#[derive(Debug)]
pub(super) struct Addresses {
    current: watch::Receiver<Resolution>,
}

type Resolution = Option<Result<Arc<[SocketAddr]>, Arc<io::Error>>>;

impl Addresses {
    /// Those of `written`. A name needs a tokio runtime, on which it is looked up for as long as `owner` lives.
    pub(super) fn new<T: Send + Sync + 'static>(written: &str, owner: Weak<T>) -> Self {
        if let Ok(literal) = written.parse::<SocketAddr>() {
            let (_, current) = watch::channel(Some(Ok(Arc::from([literal]))));
            return Self { current };
        }
        let (publish, current) = watch::channel(None);
        tokio::spawn(follow(written.to_owned(), publish, owner));
        Self { current }
    }

    /// The addresses to try, in order. Waits only for the very first answer of the resolver.
    pub(super) async fn current(&self) -> Result<Arc<[SocketAddr]>, Arc<io::Error>> {
        let ready = |resolution: &Resolution| resolution.clone();
        if let Some(known) = ready(&self.current.borrow()) {
            return known;
        }
        let mut current = self.current.clone();
        match current.wait_for(Option::is_some).await {
            Ok(first) => ready(&first).unwrap_or_else(|| Err(Arc::new(io::ErrorKind::NotFound.into()))),
            Err(_) => Err(Arc::new(io::ErrorKind::NotConnected.into())),
        }
    }
}

async fn follow<T>(written: String, publish: watch::Sender<Resolution>, owner: Weak<T>) {
    loop {
        let answer = match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(&written)).await {
            Ok(Ok(found)) => match found.collect::<Arc<[_]>>() {
                none if none.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "no address")),
                some => Ok(some),
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = &answer {
            tracing::warn!(server = written, %error, "backend name not resolved");
        }
        publish.send_if_modified(|current| match (answer, &current) {
            // With the resolver down the addresses known before go on being used.
            (Err(_), Some(Ok(_))) => false,
            (Ok(new), Some(Ok(old))) if new == *old => false,
            (answer, _) => {
                *current = Some(answer.map_err(Arc::new));
                true
            }
        });
        let known = matches!(&*publish.borrow(), Some(Ok(_)));
        sleep(if known { REFRESH } else { RETRY }).await;
        if owner.strong_count() == 0 {
            return;
        }
    }
}

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
const REFRESH: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(2);
