//! Why a record is not where it should be.

use std::path::PathBuf;

use crate::dns::{Change, PlaceError};
use crate::inventory::InventoryError;

/// Why a record could not be placed, seen or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Dns01Error {
    /// acme-dns did not do it.
    #[error("acme-dns at {server} did not take the record for {domain}: {reason}")]
    AcmeDns {
        /// Its URL.
        server: String,
        /// The name to be validated.
        domain: String,
        /// What happened instead.
        reason: String,
    },
    /// The command did not do it.
    #[error("`{} {action}` for {owner} {reason}", command.display())]
    Command {
        /// The command.
        command: PathBuf,
        /// `present` or `cleanup`.
        action: &'static str,
        /// The record's owner.
        owner: String,
        /// How it ended.
        reason: String,
    },
    /// It could not be written down that a record is placed, or read which are.
    #[error("what is placed in zones cannot be kept in the store")]
    Inventory(#[from] InventoryError),
    /// The name does not lead to where acme-dns serves its record.
    #[error(
        "the record for {alias} would stand at {found}, and not at {wanted}, where acme-dns serves the record"
    )]
    NotDelegated {
        /// Where a CA looks.
        alias: String,
        /// Where that leads.
        found: String,
        /// Where it should lead.
        wanted: String,
    },
    /// A record that was put into its zone in another way is there still.
    #[error(
        "the TXT record at {owner} was put there by {placed_by}; {asked} says that it is removed, and it is there still"
    )]
    StillThere {
        /// The record's owner.
        owner: String,
        /// Who had put it there.
        placed_by: String,
        /// Who was to remove it.
        asked: String,
    },
    /// What would come of placing it was not found out in time.
    #[error(
        "nobody has said within {seconds} s whether a TXT record can be put at {owner}: neither the servers of its zone, nor \
         {way}"
    )]
    NoTime {
        /// Where a CA looks.
        owner: String,
        /// Who would put it there.
        way: String,
        /// How long all names of a certificate have together.
        seconds: u64,
    },
    /// Another name was asked about in vain just before.
    #[error("not tried for the TXT record at {owner} in the zone {zone}, after this: {before}")]
    NotTried {
        /// The record's owner.
        owner: String,
        /// Its zone.
        zone: String,
        /// What was met then.
        before: String,
    },
    /// Servers of the zone do not have the record.
    #[error(
        "the TXT record at {owner} has not come to every server of its zone within {seconds} s: {}; the CA was not told to look",
        servers.join("; ")
    )]
    NotSeen {
        /// The record's owner.
        owner: String,
        /// Each such server, and what it says.
        servers: Vec<String>,
        /// How long was waited.
        seconds: u64,
    },
    /// An answer that anybody might have sent.
    #[error(
        "the answer of {server} to the update of the zone {zone} is not signed with the key `{key}`: {reason}"
    )]
    NotSigned {
        /// The server.
        server: String,
        /// The zone.
        zone: String,
        /// The key's name.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is not known where the record belongs.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The server said no.
    #[error("{server} refuses the update of the zone {zone}: {code}, {meaning}")]
    Refused {
        /// The server.
        server: String,
        /// The zone.
        zone: String,
        /// The code's name (RFC 2136 §2.2, RFC 8945 §3).
        code: String,
        /// What it means here, and what to do.
        meaning: String,
    },
    /// A secret that cannot be used.
    #[error("the file `{}` cannot be used: {reason}", file.display())]
    Secret {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server did not answer.
    #[error("{server} did not answer to the update of the zone {zone} for {owner}: {reason}")]
    Unreachable {
        /// The server.
        server: String,
        /// The zone.
        zone: String,
        /// The owner of the record.
        owner: String,
        /// What happened.
        reason: String,
    },
    /// A record that cannot be put into a message.
    #[error("no update for {owner} can be made: {reason}")]
    Unwritable {
        /// The record's owner.
        owner: String,
        /// The cause.
        reason: String,
    },
}

impl Dns01Error {
    /// Whether it is about the provider's server and not about the record: another record would meet the same.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// The change that would put it right.
    pub fn remedy(&self) -> Option<Change> {
        match self {
            Self::NotDelegated { alias, wanted, .. } => {
                Some(Change::Add(format!("{alias}. IN CNAME {wanted}.")))
            }
            // The record for the challenge can stand where no alias does.
            Self::Place(PlaceError::Loop { alias, .. } | PlaceError::Endless { alias, .. }) => {
                Some(Change::Remove(alias.clone()))
            }
            _ => None,
        }
    }
}
