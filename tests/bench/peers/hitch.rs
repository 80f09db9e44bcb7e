//! hitch.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::one_ticket;
use crate::proxy::{Served, Site};

pub(super) const ABOUT: &str = "no line for each connection, for it has none; many certificates by pem-dir";

pub(super) fn configure(program: &Path, site: &Site) -> io::Result<Command> {
    let path = site.directory.join("hitch.conf");
    fs::write(&path, text(site))?;
    let mut command = Command::new(program);
    command.arg(format!("--config={}", path.display()));
    command.env("OPENSSL_CONF", one_ticket(site)?);
    Ok(command)
}

fn text(site: &Site) -> String {
    let mut text = format!(
        "backend = \"[{}]:{}\"\nworkers = {}\nbacklog = 4096\ndaemon = off\nuser = \"root\"\nsyslog = off\n\
         tls-protos = TLSv1.3\nciphersuites = \"TLS_AES_128_GCM_SHA256\"\n",
        site.backend.ip(),
        site.backend.port(),
        site.workers
    );
    let mut frontend = |address: std::net::SocketAddr, certificate: &str| {
        text += &format!(
            "frontend = {{\n  host = \"{}\"\n  port = \"{}\"\n{certificate}}}\n",
            address.ip(),
            address.port()
        );
    };
    match &site.served {
        Served::Pair { ecdsa, rsa } => {
            frontend(site.ecdsa, &format!("  pem-file = {ecdsa:?}\n"));
            frontend(site.rsa, &format!("  pem-file = {rsa:?}\n"));
        }
        Served::Many { directory, .. } => {
            frontend(site.ecdsa, "");
            for address in &site.more {
                frontend(*address, "");
            }
            text += &format!("pem-dir = \"{}/\"\n", directory.display());
        }
    }
    text
}
