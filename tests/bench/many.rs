//! Thousands of certificates: as files for the peers, and as a store of certgate's. Made once and kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use certgate::certificate::{CertificateName, Credential, CredentialPem};
use certgate::clock::{Clock, SystemClock};
use certgate::inventory::{CertificateRecord, Source};
use certgate_store::embedded::Options;
use certgate_store::{Batch, EmbeddedStore, Expect, Store};
use serde_json::json;

use crate::certificates::{Authority, ecdsa_key};
use crate::kind::Kind;
use crate::peers::Peer;
use crate::proxy::Served;

/// The name in the certificate with this number.
pub(crate) fn name(number: usize) -> String {
    format!("h{number:07}.example.test")
}

/// A number below `count`; the same sequence in every run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// xorshift64: quick, and random enough to pick names with.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % count as u64) as usize
    }
}

/// `count` certificates for `peer`; certgate gets a copy of the store, a new one if `afresh`. What is missing is made.
///
/// # Errors
/// A sentence when they cannot be made.
pub(crate) fn served(directory: &Path, peer: &Peer, count: usize, afresh: bool) -> Result<Served, String> {
    let fail = |error: io::Error| format!("cannot make {count} certificates: {error}");
    let directory = directory.join(format!("many-{count}"));
    let (store, files) = (directory.join("store"), directory.join("files"));
    let copy = directory.join("copies").join(&peer.name);
    if fs::read_to_string(directory.join("complete")).unwrap_or_default() != FORM {
        make(&directory, count).map_err(fail)?;
    }
    if peer.kind == Kind::Certgate && afresh {
        // Another certgate may have brought it to another form.
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir_all(&copy).map_err(fail)?;
        let mut cp = Command::new("cp");
        cp.args(["--recursive", "--reflink=auto"])
            .arg(store.join("."))
            .arg(&copy);
        let status = cp.status().map_err(fail)?;
        if !status.success() {
            return Err(format!("cannot copy {}: {status}", store.display()));
        }
    }
    Ok(Served::Many {
        directory: files,
        store: copy,
    })
}

fn make(directory: &Path, count: usize) -> io::Result<()> {
    eprintln!("\nmaking {count} certificates, once");
    // What an end in the middle has left.
    let _ = fs::remove_dir_all(directory);
    let (store, files) = (directory.join("store"), directory.join("files"));
    fs::create_dir_all(&files)?;
    let options = Options {
        cache_bytes: 512 << 20,
        snapshot_delay: std::time::Duration::from_secs(86_400),
        ..Options::default()
    };
    let (store, _) = EmbeddedStore::open(&store, options).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let makers = std::thread::available_parallelism()?.get();
    let authority = Authority::new().map_err(io::Error::other)?;
    for first in (0..count).step_by(BATCH * makers) {
        let batches: Vec<io::Result<Batch>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..makers)
                .map(|maker| first + maker * BATCH..count.min(first + (maker + 1) * BATCH))
                .map(|numbers| {
                    let (authority, files) = (&authority, (count <= FILES).then_some(&files));
                    scope.spawn(move || batch(authority, numbers, files))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("it does not panic"))
                .collect()
        });
        for batch in batches {
            runtime.block_on(store.commit(batch?)).map_err(io::Error::other)?;
        }
    }
    drop(store);
    fs::write(directory.join("complete"), FORM)
}

fn batch(
    authority: &Authority,
    numbers: std::ops::Range<usize>,
    files: Option<&PathBuf>,
) -> io::Result<Batch> {
    let mut batch = Batch::new();
    let mut keys = Vec::new();
    for number in numbers {
        if keys.len() < KEYS {
            keys.push(ecdsa_key().map_err(io::Error::other)?);
        }
        let name = name(number);
        let issued = authority
            .issue(&[&name], &keys[number % keys.len()])
            .map_err(io::Error::other)?;
        if let Some(files) = files {
            fs::write(files.join(format!("{name}.pem")), &issued.pem)?;
        }
        let pem = CredentialPem::parse(issued.pem.as_bytes()).map_err(io::Error::other)?;
        let credential = Credential::from_pem(&pem).map_err(io::Error::other)?;
        let entry = CertificateName::parse(&name).map_err(io::Error::other)?;
        let leaf = credential.leaf().clone();
        let record = CertificateRecord::imported(entry, Source::Imported, leaf, SystemClock.now());
        let record = serde_json::to_vec(&json!({ "format": 1, "record": record }))?;
        batch = batch
            .put(format!("certificates/{name}"), record, Expect::Any)
            .put(format!("names/{name}/{name}"), "", Expect::Any)
            .put(
                format!("credentials/{name}"),
                pem.to_pem().as_bytes(),
                Expect::Any,
            );
    }
    Ok(batch)
}

/// Another one has those of before made anew.
const FORM: &str = "2\n";
/// Certificates of one commit: two changes each.
const BATCH: usize = 300;
/// Leaves share keys, for it is their number that counts.
const KEYS: usize = 8;
/// More are made for certgate only, which keeps them in its store.
const FILES: usize = 10_000;
