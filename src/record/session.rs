//! A session after its handshake: what its records say, and when its keys change.

use std::io::IoSliceMut;
use std::ops::Range;

use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{AlertDescription, Error, ProtocolVersion, SupportedCipherSuite};

use super::RecordError;
use super::error::WARNING;
use super::key_update::{KeyUpdate, UPDATE_NOT_REQUESTED};
use super::open::Opener;
use super::protection::{ALERT, APPLICATION_DATA, HANDSHAKE, Protection};
use super::seal::Sealer;

/// The server's end of a session whose handshake is complete. Buffers are the caller's.
pub struct Session {
    opener: Opener,
    sealer: Sealer,
    /// Knows the next keys of TLS 1.3.
    secrets: KernelConnection<ServerConnectionData>,
    /// Records that one key is good for.
    key_limit: u64,
    key_update: KeyUpdate,
    owes_key_update: bool,
    empty_records: u8,
    key_updates: u8,
    warnings: u8,
}

/// What came of some received bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Opened {
    /// Bytes of whole records; what comes after them is the beginning of the next one.
    pub consumed: usize,
    /// The client has said that it will send no more (`close_notify`). Nothing after that is looked at.
    pub is_last: bool,
}

impl Session {
    /// Takes over from rustls. The handshake is complete and everything it had to say has been taken from it.
    ///
    /// # Errors
    /// rustls', when it is not, or `config` did not enable the extraction of secrets.
    pub fn new(tls: UnbufferedServerConnection) -> Result<Self, Error> {
        let (keys, secrets) = tls.dangerous_into_kernel_connection()?;
        let version = secrets.protocol_version();
        let limit = match secrets.negotiated_cipher_suite() {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        Ok(Self {
            opener: Opener(Protection::new(version, keys.rx)?),
            sealer: Sealer(Protection::new(version, keys.tx)?),
            secrets,
            key_limit: limit.min(u64::MAX / 2),
            key_update: KeyUpdate::default(),
            owes_key_update: false,
            empty_records: 0,
            key_updates: 0,
            warnings: 0,
        })
    }

    /// Opens the whole records in `wire`, in place. Where their plaintext is goes to the end of `plaintext`.
    ///
    /// # Errors
    /// [`RecordError`]; the session is over then, and [`last_words`](Self::last_words) says it to the client.
    pub fn open(
        &mut self,
        wire: &mut [u8],
        plaintext: &mut Vec<Range<usize>>,
    ) -> Result<Opened, RecordError> {
        let mut opened = Opened::default();
        while let Some(length) = self.opener.whole(&wire[opened.consumed..])? {
            let start = opened.consumed;
            let record = &mut wire[start..start + length];
            let content = self.opener.open(record)?;
            opened.consumed += length;
            if content.kind == APPLICATION_DATA {
                self.received_data(content.plaintext.len())?;
                if !content.plaintext.is_empty() {
                    plaintext.push(start + content.plaintext.start..start + content.plaintext.end);
                }
                continue;
            }
            let message = &record[content.plaintext];
            match content.kind {
                ALERT if self.is_close_notify(message)? => {
                    opened.is_last = true;
                    return Ok(opened);
                }
                ALERT => {}
                HANDSHAKE => self.received_handshake(message)?,
                _ => return Err(RecordError::UnexpectedMessage),
            }
        }
        Ok(opened)
    }

    /// Where in `buffer` application data is to be put, for [`seal`](Self::seal).
    pub fn slots<'b>(&self, buffer: &'b mut [u8]) -> impl Iterator<Item = IoSliceMut<'b>> {
        self.sealer.slots(buffer)
    }

    /// Seals `length` bytes that were put into the slots of `buffer`, one after the other. The length of the records,
    /// which are at the beginning of `buffer` then.
    ///
    /// # Errors
    /// [`RecordError::KeyExhausted`], after 2^24 records of TLS 1.2 with AES-GCM.
    pub fn seal(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, RecordError> {
        let records = length.div_ceil(super::LARGEST_PLAINTEXT) as u64;
        let after = self.sealer.0.sequence.saturating_add(records);
        // TLS 1.3 has changed its key before that: see `has_something_to_say`.
        if after > self.key_limit {
            return Err(RecordError::KeyExhausted);
        }
        self.sealer.seal_all(APPLICATION_DATA, buffer, length)
    }

    /// Whether [`say`](Self::say) has something for the client.
    pub fn has_something_to_say(&self) -> bool {
        self.owes_key_update || self.wants_new_key()
    }

    /// Puts what the protocol itself has to say at the end of `out`. Everything sealed from then on comes after it.
    ///
    /// # Errors
    /// rustls', when there is no next key.
    pub fn say(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if self.has_something_to_say() {
            self.owes_key_update = false;
            self.sealer.append(HANDSHAKE, &UPDATE_NOT_REQUESTED, out)?;
            let next = self.secrets.update_tx_secret();
            let next = next.and_then(|next| Protection::new(ProtocolVersion::TLSv1_3, next));
            self.sealer = Sealer(next.map_err(|_| RecordError::KeyExhausted)?);
        }
        Ok(())
    }

    /// For a session that has been idle: makes it small until there is something to open or to seal.
    pub fn doze(&mut self) {
        self.opener.0.doze();
        self.sealer.0.doze();
    }

    /// Puts `close_notify` at the end of `out`: no more data follows.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let alert = [WARNING, u8::from(AlertDescription::CloseNotify)];
        self.sealer.append(ALERT, &alert, out)
    }

    /// What the client is told when the session ends by `error`.
    pub fn last_words(&mut self, error: RecordError) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some((level, description)) = error.alert() {
            // Without a key there are no last words.
            let _ = self
                .sealer
                .append(ALERT, &[level, u8::from(description)], &mut out);
        }
        out
    }

    #[cfg(test)]
    pub(super) fn limit_keys_to(&mut self, records: u64) {
        self.key_limit = records;
    }

    #[cfg(test)]
    pub(super) fn sent(&self) -> u64 {
        self.sealer.0.sequence
    }

    fn is_tls13(&self) -> bool {
        self.secrets.protocol_version() == ProtocolVersion::TLSv1_3
    }

    fn wants_new_key(&self) -> bool {
        self.is_tls13() && self.sealer.0.sequence >= self.key_limit - RECORDS_AHEAD
    }

    fn received_data(&mut self, length: usize) -> Result<(), RecordError> {
        if self.key_update.is_under_way() {
            return Err(RecordError::UnexpectedMessage);
        }
        if length > 0 {
            (self.empty_records, self.key_updates) = (0, 0);
            return Ok(());
        }
        self.empty_records += 1;
        if self.empty_records > MOST_EMPTY_RECORDS {
            return Err(RecordError::TooManyEmptyRecords);
        }
        Ok(())
    }

    fn is_close_notify(&mut self, alert: &[u8]) -> Result<bool, RecordError> {
        let [level, description] = *alert else {
            return Err(RecordError::Malformed);
        };
        let description = AlertDescription::from(description);
        let is_warning =
            level == WARNING && !self.is_tls13() || description == AlertDescription::UserCanceled;
        match description {
            _ if self.key_update.is_under_way() => Err(RecordError::UnexpectedMessage),
            AlertDescription::CloseNotify => Ok(true),
            _ if is_warning => {
                self.warnings += 1;
                match self.warnings > MOST_WARNINGS {
                    true => Err(RecordError::TooManyWarnings),
                    false => Ok(false),
                }
            }
            fatal => Err(RecordError::FatalAlert(fatal)),
        }
    }

    fn received_handshake(&mut self, piece: &[u8]) -> Result<(), RecordError> {
        if !self.is_tls13() {
            return Err(RecordError::Renegotiation);
        }
        if piece.is_empty() {
            return Err(RecordError::UnexpectedMessage);
        }
        let Some(is_asked_for_one) = self.key_update.push(piece)? else {
            return Ok(());
        };
        self.key_updates += 1;
        if self.key_updates > MOST_KEY_UPDATES {
            return Err(RecordError::TooManyKeyUpdates);
        }
        // One answers all that came before it was sent.
        self.owes_key_update |= is_asked_for_one;
        let next = self.secrets.update_rx_secret();
        let next = next.and_then(|next| Protection::new(ProtocolVersion::TLSv1_3, next));
        self.opener = Opener(next.map_err(|_| RecordError::UnexpectedMessage)?);
        Ok(())
    }
}

/// In a row, as rustls and BoringSSL have it.
const MOST_EMPTY_RECORDS: u8 = 32;
/// Without data in between, as rustls and BoringSSL have it.
const MOST_KEY_UPDATES: u8 = 32;
/// As rustls and BoringSSL have it.
const MOST_WARNINGS: u8 = 4;
/// More than are sealed between two looks at the key.
const RECORDS_AHEAD: u64 = 1024;
