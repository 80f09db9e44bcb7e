//! certgate: all of its features as they are by default.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use crate::proxy::{IDLE_TIMEOUT, Served, Site};

pub(super) const ABOUT: &str =
    "defaults: policy intermediate, log line for each connection, metrics, admin socket";

pub(super) fn configure(program: &Path, site: &Site) -> io::Result<Command> {
    let path = site.directory.join("certgate.toml");
    fs::write(&path, text(site))?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(path);
    Ok(command)
}

fn text(site: &Site) -> String {
    let own_store = site.directory.join("store");
    let store = match &site.served {
        Served::Pair { .. } => &own_store,
        Served::Many { store, .. } => store,
    };
    let admin = site.directory.join("admin.sock");
    let mut text = format!(
        "[store]\npath = {store:?}\n[runtime]\nworkers = {}\ndrain_timeout = \"0s\"\n[admin]\nlisten = \"unix:{}\"\n\
         [server_groups.app]\nservers = [\"{}\"]\n",
        site.workers,
        admin.display(),
        site.backend
    );
    match &site.served {
        Served::Pair { ecdsa, rsa } => {
            for (name, address, file) in [("ecdsa", site.ecdsa, ecdsa), ("rsa", site.rsa, rsa)] {
                let certificate = format!("[certificates.{name}]\ncertificate_file = {file:?}\n");
                text += &certificate;
                text += &listener(name, address, name, site.idle_timeout);
            }
        }
        Served::Many { .. } => {
            text += &listener("many", site.ecdsa, "*", site.idle_timeout);
            for (number, address) in site.more.iter().enumerate() {
                text += &listener(&format!("more-{number}"), *address, "*", IDLE_TIMEOUT);
            }
        }
    }
    text
}

fn listener(name: &str, address: SocketAddr, certificates: &str, idle_timeout: u32) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "[listeners.{name}]\naddress = \"{ip}\"\nport = {port}\ncertificates = [\"{certificates}\"]\n\
         server_group = \"app\"\nidle_timeout = \"{idle_timeout}s\"\n"
    )
}
