//! Certificates as files for other programs of the machine, and the command that tells these.
//!
//! What is exported follows from what is stored: where the files are not the certificate that is there, they become it,
//! and then the command is run. That is looked at when a certificate has changed, at a start and once a day, so files that
//! were deleted or changed by hand come back. What has been begun is in the store before it is begun; a crash loses no
//! command, and one that fails is tried again as hooks are ([`crate::hooks::back_off`]).

pub mod files;
mod plan;
mod run;

pub use run::Exports;
