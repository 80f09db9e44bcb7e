//! What the world's DNS says about a name, and whether an order for it can succeed.
//!
//! A certificate authority looks a name up and calls whatever address it finds. A name that leads elsewhere
//! costs a failed authorization, and those are rationed; so every name is looked up before an order, and a
//! name that does not lead here is not ordered. The zone's own servers are asked, as the CA's resolver does, and
//! resolvers beside them. The look-up ([`DnsChecker`]) and the judgement are two things: the judgement ([`judge`],
//! CAA, ownership, the weighing of several opinions, the choice of challenges) is made of pure functions.

mod address;
mod authorities;
mod caa;
mod challenge;
mod checker;
mod delegation;
mod endless;
mod evidence;
mod examination;
mod issuable;
mod lookup;
mod obstacle;
mod ownership;
mod presentation;
mod question;
mod remedy;
mod report;
mod row;
mod schedule;
mod state;
mod verdict;
mod view;
mod weigh;
mod wildcard;
mod zone;

pub use authorities::{Authorities, Place, PlaceError, Seen, Sighting};
pub use caa::{CaIdentity, IssueValue, IssueValueError};
pub use challenge::{Choice, Door, Doors, Remark, RemarkReason, choose};
pub use checker::{Conditions, DnsChecker};
pub use evidence::{
    AUTHORITATIVE, AddressAnswer, ChainEnd, Dname, Evidence, LookupFailure, MAX_CHAIN, RecordType,
};
pub use obstacle::Obstacle;
pub use presentation::fully_qualified;
pub use remedy::{Change, in_a_line};
pub use report::DomainVerdict;
pub use row::{Row, RowState};
pub use schedule::{LastCheck, Waiting, is_lasting, next_check};
pub use state::DomainState;
pub use verdict::{SkipReason, Target, Verdict, judge};
