//! nginx with its stream module.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::one_ticket;
use crate::proxy::{IDLE_TIMEOUT, Served, Site};

pub(super) const ABOUT: &str =
    "stream module, log_format basic; many certificates by ssl_certificate with $ssl_server_name";

pub(super) fn configure(program: &Path, site: &Site) -> io::Result<Command> {
    let path = site.directory.join("nginx.conf");
    fs::write(&path, text(site))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&site.directory).arg("-c").arg(path);
    command.args(["-e", "stderr"]);
    command.env("OPENSSL_CONF", one_ticket(site)?);
    Ok(command)
}

fn text(site: &Site) -> String {
    let mut text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         user root;\ndaemon off;\nworker_processes {};\npid nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 30000; }}\n\
         stream {{\n\
         log_format basic '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time \
         $ssl_server_name $ssl_protocol $ssl_cipher $upstream_addr';\n\
         access_log access.log basic;\n\
         ssl_protocols TLSv1.3;\nssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\n\
         ssl_session_cache off;\nssl_session_tickets on;\n",
        site.workers
    );
    let server = |address, certificate: &str, idle_timeout| {
        format!(
            "server {{ listen {address} ssl backlog=4096; ssl_certificate {certificate}; ssl_certificate_key \
             {certificate}; proxy_pass {}; proxy_timeout {idle_timeout}s; }}\n",
            site.backend
        )
    };
    match &site.served {
        Served::Pair { ecdsa, rsa } => {
            text += &server(site.ecdsa, &ecdsa.display().to_string(), site.idle_timeout);
            text += &server(site.rsa, &rsa.display().to_string(), IDLE_TIMEOUT);
        }
        Served::Many { directory, .. } => {
            let files = format!("{}/$ssl_server_name.pem", directory.display());
            text += &server(site.ecdsa, &files, site.idle_timeout);
            for address in &site.more {
                text += &server(*address, &files, IDLE_TIMEOUT);
            }
        }
    }
    text + "}\n"
}
