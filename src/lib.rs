//! certgate keeps certificates issued, renewed and published, and ends TLS in front of services with whatever
//! is published now.

pub mod clock;
pub mod name;
