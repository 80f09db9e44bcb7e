//! What the world's DNS says about a name, and whether an order for it can succeed.
//!
//! A certificate authority looks a name up and calls whatever address it finds. A name that leads elsewhere
//! costs a failed authorization, and those are rationed; so every name is looked up before an order, and a
//! name that does not lead here is not ordered. The look-up ([`DnsChecker`]) and the judgement ([`judge`]) are
//! two things: the judgement is a pure function of [`Evidence`].

mod checker;
mod evidence;
mod lookup;
mod remedy;
mod report;
mod verdict;

pub use checker::DnsChecker;
pub use evidence::{AddressAnswer, ChainEnd, Evidence, LookupFailure, MAX_CHAIN, RecordType};
pub use remedy::Change;
pub use report::{DomainVerdict, Row, RowState};
pub use verdict::{Obstacle, SkipReason, Target, Verdict, judge};
