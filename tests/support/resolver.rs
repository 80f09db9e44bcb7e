//! BIND 9 as a resolver: it begins at a root server of the test's own, and remembers what it is told.

use std::fs;
use std::net::SocketAddr;

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use tempfile::TempDir;

use super::own_network::name_server_address;
use super::primary::{PATIENCE, Primary, answer, bind};
use super::process::Process;

/// A running resolver. It is ended when this is dropped.
pub(crate) struct Resolver {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Resolver {
    /// One at port 53 of 127.0.0.`host`, where the test has a network of its own, which begins at `root`.
    pub(crate) fn at(host: u8, root: &Primary) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = name_server_address(host);
        let hints = format!(". 3600 IN NS ns1.\nns1. 3600 IN A {}\n", root.address().ip());
        fs::write(folder.path().join("hints"), hints).unwrap();
        let clauses = "zone \".\" { type hint; file \"hints\"; };";
        let mut process = Process::start(
            &mut bind(folder.path(), address, "recursion yes", clauses),
            folder.path().join("log"),
        );
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(Name::root(), RecordType::SOA));
        let answers = || answer(address, &question).is_some_and(|answer| !answer.answers.is_empty());
        assert!(process.is_ready(PATIENCE, answers), "the resolver was not ready");
        Self {
            process,
            address,
            _folder: folder,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it was asked about `owner`, for whatever type.
    pub(crate) fn questions(&self, owner: &str) -> usize {
        self.process.log().matches(&format!("query: {owner} IN ")).count()
    }
}
