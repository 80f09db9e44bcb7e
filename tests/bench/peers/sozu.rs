//! sozu: an HTTP proxy, which keeps a pool of connections to the backend.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::certificates::ONE_NAME;
use crate::proxy::{Served, Site};

pub(super) const ABOUT: &str =
    "AWS-LC; HTTP instead of TCP, with pooled connections to the backend; access log on info";

pub(super) fn configure(program: &Path, site: &Site) -> io::Result<Command> {
    let path = site.directory.join("sozu.toml");
    fs::write(&path, text(site)?)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(path).arg("start");
    Ok(command)
}

fn text(site: &Site) -> io::Result<String> {
    let Served::Pair { ecdsa, rsa } = &site.served else {
        return Err(io::Error::other("sozu's file has no directory of certificates"));
    };
    let mut text = format!(
        "log_level = \"info\"\nlog_target = \"stdout\"\ncommand_socket = {:?}\nworker_count = {}\n\
         worker_automatic_restart = false\nhandle_process_affinity = false\nmax_connections = {}\n\
         max_buffers = 30000\nactivate_listeners = true\nfront_timeout = 900\nback_timeout = 900\n",
        site.directory.join("sock"),
        site.workers,
        site.connections
    );
    for address in [site.ecdsa, site.rsa] {
        text += &format!(
            "[[listeners]]\nprotocol = \"https\"\naddress = \"{address}\"\ntls_versions = [\"TLS_V13\"]\n\
             cipher_list = [\"TLS13_AES_128_GCM_SHA256\"]\nsend_tls13_tickets = 1\n"
        );
    }
    let frontends = [frontend(site, site.ecdsa, ecdsa)?, frontend(site, site.rsa, rsa)?];
    text += &format!(
        "[clusters.app]\nprotocol = \"http\"\nfrontends = [{}]\nbackends = [{{ address = \"{}\" }}]\n",
        frontends.join(", "),
        site.backend
    );
    Ok(text)
}

/// sozu wants leaf, chain and key in files of their own.
fn frontend(site: &Site, address: SocketAddr, certificate: &Path) -> io::Result<String> {
    let pem = fs::read_to_string(certificate)?;
    let blocks: Vec<_> = pem.split_inclusive("-----END CERTIFICATE-----\n").collect();
    let [leaf, intermediate, key] = blocks[..] else {
        return Err(io::Error::other(format!(
            "not two certificates and a key: {}",
            certificate.display()
        )));
    };
    let write = |part: &str, text: &str| -> io::Result<PathBuf> {
        let path = site.directory.join(format!("{}.{part}.pem", address.port()));
        fs::write(&path, text)?;
        Ok(path)
    };
    Ok(format!(
        "{{ address = \"{address}\", hostname = \"{ONE_NAME}\", certificate = {:?}, certificate_chain = {:?}, key = {:?} }}",
        write("leaf", leaf)?,
        write("chain", intermediate)?,
        write("key", key)?
    ))
}
