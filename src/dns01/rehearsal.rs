//! What challenges would meet, found out before there are any.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::cause::with_causes;
use crate::dns01::{Answer, Dns01, Dns01Error, challenge_name};
use crate::name::DnsName;

/// What all rehearsals for a certificate share.
struct Rehearsals {
    deadline: Instant,
    /// What the provider's server was silent to: it is not waited for again.
    silence: Mutex<Option<String>>,
}

impl Dns01 {
    /// What would be done for a challenge for each of `domains`, in a sentence; no zone is changed. Takes 8 seconds at most,
    /// however many there are. With acme-dns the first look at a name that a certificate wants may register its account,
    /// for without one it is not known which alias the name needs; of other names anybody may ask.
    ///
    /// # Errors
    /// [`Dns01Error`] that such a challenge would meet, for each by itself.
    pub async fn rehearse(&self, domains: Vec<DnsName>, is_wanted: bool) -> Vec<Result<String, Dns01Error>> {
        let rehearsals = Rehearsals {
            deadline: Instant::now() + WHOLE,
            silence: Mutex::default(),
        };
        let rehearsals = &rehearsals;
        stream::iter(domains)
            .map(|domain| async move {
                let rehearsed = self.rehearse_one(&domain, is_wanted, rehearsals);
                let rehearsed = timeout_at(rehearsals.deadline, rehearsed).await;
                rehearsed.unwrap_or_else(|_| {
                    Err(Dns01Error::NoTime {
                        owner: challenge_name(&domain),
                        way: self.way.clone(),
                        seconds: WHOLE.as_secs(),
                    })
                })
            })
            .buffered(AT_A_TIME)
            .collect()
            .await
    }

    async fn rehearse_one(
        &self,
        domain: &DnsName,
        is_wanted: bool,
        rehearsals: &Rehearsals,
    ) -> Result<String, Dns01Error> {
        let name = challenge_name(domain);
        let place = self.authorities.place(&name).await?;
        if let Some(before) = rehearsals.silence() {
            let (owner, zone) = (place.owner, place.zone);
            return Err(Dns01Error::NotTried { owner, zone, before });
        }
        let answer = Answer {
            domain,
            value: REHEARSED,
            token: REHEARSED,
            key_authorization: REHEARSED,
        };
        let record = self.record(answer, &place);
        let way = self.provider.rehearse(&record, is_wanted).await;
        let way = way.inspect_err(|error| rehearsals.note(error))?;
        let to = match place.aliases.is_empty() {
            true => format!("a TXT record at {}", place.owner),
            false => format!("{name} leads to {}, a TXT record there", place.owner),
        };
        let rest = match place.left_out {
            0 => String::new(),
            left_out => format!("; the zone has {left_out} more servers than are waited for"),
        };
        Ok(format!("{to}, in the zone {}, {way}{rest}", place.zone))
    }
}

impl Rehearsals {
    fn silence(&self) -> Option<String> {
        let silence = self.silence.lock();
        silence.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, error: &Dns01Error) {
        if error.is_silence() {
            let silence = self.silence.lock();
            *silence.unwrap_or_else(PoisonError::into_inner) = Some(with_causes(error));
        }
    }
}

/// A value that no challenge has, as long as one.
const REHEARSED: &str = "certgate-would-place-a-record-with-43-signs";

/// For all names of a certificate.
const WHOLE: Duration = Duration::from_secs(8);

/// Names whose provider is asked side by side.
const AT_A_TIME: usize = 8;
