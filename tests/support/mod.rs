//! Real parts that the tests run against.

#![allow(dead_code, reason = "each test program uses its share of these parts")]

pub(crate) mod acme_dns;
pub(crate) mod acme_double;
pub(crate) mod failures;
pub(crate) mod mock_dns;
pub(crate) mod name_server;
pub(crate) mod own_network;
pub(crate) mod pebble;
pub(crate) mod primary;
pub(crate) mod process;
pub(crate) mod resolver;
pub(crate) mod secondary;
