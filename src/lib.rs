//! certgate keeps certificates issued, renewed and published, and ends TLS in front of services with whatever
//! is published now.

pub mod admin;
pub mod backend;
pub mod cause;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod dns;
pub mod dns01;
pub mod export;
pub mod gateway;
pub mod hooks;
pub mod http;
pub mod inventory;
pub mod issuer;
pub mod listener;
pub mod metrics;
pub mod name;
pub mod on_demand;
pub mod pem;
pub mod policy;
pub mod publish;
pub mod record;
pub mod renewal;
pub mod tls;
pub mod web;
