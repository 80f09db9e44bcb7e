//! `pebble-challtestsrv` as the world's DNS: an authoritative answer for whatever a test says.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Process, two_free_addresses};

/// A name server. Names that nothing was said about exist without any record, or with the default A record.
pub(crate) struct MockDns {
    process: Process,
    address: SocketAddr,
    management: SocketAddr,
    _folder: TempDir,
}

impl MockDns {
    /// Starts one that answers `default` to every question for an A record that nothing else was said about.
    pub(crate) fn start(default: Option<Ipv4Addr>) -> Self {
        let default = default.map_or_else(String::new, |address| address.to_string());
        // The ports are free when chosen and may be taken a moment later, so a failed start is tried again.
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let (address, management) = two_free_addresses();
            let mut process = Process::start(
                Command::new("pebble-challtestsrv")
                    .args(["-dns01", &address.to_string()])
                    .args(["-management", &management.to_string()])
                    .args(["-defaultIPv4", &default, "-defaultIPv6", ""])
                    .args(["-http01", "", "-https01", "", "-tlsalpn01", ""]),
                folder.path().join("log"),
            );
            let answers = || TcpStream::connect(management).is_ok() && TcpStream::connect(address).is_ok();
            if process.is_ready(Duration::from_secs(10), answers) {
                return Self {
                    process,
                    address,
                    management,
                    _folder: folder,
                };
            }
        }
        panic!("pebble-challtestsrv was not ready in five attempts");
    }

    /// Where it answers, by UDP and TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes these the only A and AAAA records of `name`.
    pub(crate) fn set_addresses(&self, name: &str, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let host = qualified(name);
        for (family, is_member) in [
            ("a", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            ("aaaa", IpAddr::is_ipv6),
        ] {
            let members: Vec<_> = addresses.iter().filter(|address| is_member(address)).collect();
            self.post(&format!("/clear-{family}"), &json!({ "host": host }));
            if !members.is_empty() {
                let records = json!({ "host": host, "addresses": members });
                self.post(&format!("/add-{family}"), &records);
            }
        }
    }

    /// Makes `name` an alias of `target`.
    pub(crate) fn set_cname(&self, name: &str, target: &str) {
        let record = json!({ "host": qualified(name), "target": qualified(target) });
        self.post("/set-cname", &record);
    }

    /// Takes the alias away.
    pub(crate) fn clear_cname(&self, name: &str) {
        self.post("/clear-cname", &json!({ "host": qualified(name) }));
    }

    /// Answers SERVFAIL to every question about `name`.
    pub(crate) fn set_servfail(&self, name: &str) {
        self.post("/set-servfail", &json!({ "host": qualified(name) }));
    }

    /// Answers questions about `name` again.
    pub(crate) fn clear_servfail(&self, name: &str) {
        self.post("/clear-servfail", &json!({ "host": qualified(name) }));
    }

    /// Stops answering anything, for good.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    fn post(&self, path: &str, body: &Value) {
        let body = body.to_string();
        let mut connection = TcpStream::connect(self.management).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        write!(
            connection,
            "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let status = answer.lines().next().unwrap_or_default();
        assert!(status.contains(" 200 "), "POST {path} {body}: {answer}");
    }
}

fn qualified(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}
