//! HAProxy in TCP mode.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::one_ticket;
use crate::proxy::{IDLE_TIMEOUT, Served, Site};

pub(super) const ABOUT: &str =
    "master and worker, mode tcp, option tcplog; many certificates by crt with a directory";

pub(super) fn configure(program: &Path, site: &Site) -> io::Result<Command> {
    let path = site.directory.join("haproxy.cfg");
    fs::write(&path, text(site))?;
    let mut command = Command::new(program);
    command.arg("-W").arg("-f").arg(path);
    command.env("OPENSSL_CONF", one_ticket(site)?);
    Ok(command)
}

fn text(site: &Site) -> String {
    let listeners = match &site.served {
        Served::Pair { ecdsa, rsa } => vec![
            ("ecdsa".to_owned(), site.ecdsa, ecdsa, site.idle_timeout),
            ("rsa".to_owned(), site.rsa, rsa, IDLE_TIMEOUT),
        ],
        Served::Many { directory, .. } => {
            let first = ("many".to_owned(), site.ecdsa, directory, site.idle_timeout);
            let more = site.more.iter().enumerate();
            let more =
                more.map(|(number, address)| (format!("more{number}"), *address, directory, IDLE_TIMEOUT));
            std::iter::once(first).chain(more).collect()
        }
    };
    let mut text = format!(
        "global\n\
         \x20 nbthread {}\n  maxconn {}\n  log stdout format rfc3164 local0\n  tune.ssl.cachesize 0\n\
         \x20 ssl-default-bind-options ssl-min-ver TLSv1.3\n\
         \x20 ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256\n\
         defaults\n\
         \x20 mode tcp\n  log global\n  option tcplog\n  timeout connect 5s\n  timeout client 900s\n  timeout server 900s\n\
         backend app\n  server app {}\n",
        site.workers, site.connections, site.backend
    );
    for (name, address, certificates, idle_timeout) in listeners {
        text += &format!(
            "frontend {name}\n  bind {address} backlog 4096 ssl crt {}\n  timeout client {idle_timeout}s\n\
             \x20 default_backend app\n",
            certificates.display()
        );
    }
    text
}
