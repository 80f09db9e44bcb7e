//! Taking an address: one listening socket for every worker.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::backend::MOST_UNSENT;
use crate::config::ListenerConfig;

/// An address that is taken, and on which nothing is accepted yet.
#[derive(Debug)]
pub struct BoundListener {
    local_addr: SocketAddr,
    sockets: Vec<TcpListener>,
}

impl BoundListener {
    /// Whether anybody listens on the address. The workers' sockets share it among themselves, and the system would let
    /// any process of this user join them; so it is asked before.
    pub(super) fn check_free(config: &ListenerConfig) -> Result<(), ListenerError> {
        match socket(config.address).and_then(|socket| socket.bind(&config.address.into())) {
            Err(source) if !is_without_ipv6(config.address, &source) => Err(ListenerError {
                listener: config.name.clone(),
                address: config.address,
                source,
            }),
            _ => Ok(()),
        }
    }

    /// Takes the address, free or not.
    pub(super) fn bind<'a>(
        config: &ListenerConfig,
        runtimes: impl Iterator<Item = &'a Handle>,
    ) -> Result<Self, ListenerError> {
        let fail = |source| ListenerError {
            listener: config.name.clone(),
            address: config.address,
            source,
        };
        let mut local_addr = config.address;
        let mut sockets = Vec::new();
        for runtime in runtimes {
            let socket = match listen(local_addr) {
                Err(error) if sockets.is_empty() && is_without_ipv6(local_addr, &error) => {
                    listen((Ipv4Addr::UNSPECIFIED, local_addr.port()).into())
                }
                other => other,
            }
            .map_err(fail)?;
            // The port that the system chose for the first socket is the port of all.
            local_addr = socket.local_addr().map_err(fail)?;
            let _registers_there = runtime.enter();
            sockets.push(TcpListener::from_std(socket).map_err(fail)?);
        }
        Ok(Self { local_addr, sockets })
    }

    /// The address, with the port that the system chose where the configuration says 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub(super) fn into_sockets(self) -> Vec<TcpListener> {
        self.sockets
    }
}

/// An address that can't be had.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` cannot listen on {address}{}", advice(.source))]
pub struct ListenerError {
    /// The listener.
    pub listener: Arc<str>,
    /// The address of its configuration.
    pub address: SocketAddr,
    /// The system's reason.
    pub source: io::Error,
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Only the unspecified address takes IPv4 as well, whatever the system's default.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit both. Without the first a small answer waits for the acknowledgement of the one before,
    // without the second a download that the client does not read fills a buffer of megabytes.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(MOST_UNSENT)?;
    Ok(socket)
}

/// What to do about it, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ", for another program does; `ss -ltnp` shows which: stop it, or choose another port"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE, which systemd gives by AmbientCapabilities= and \
             a shell by `setcap cap_net_bind_service=+ep` on the program"
        }
        io::ErrorKind::AddrNotAvailable => ", for no network interface of this machine has that address",
        _ => "",
    }
}

fn is_without_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let switched_off = matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(EAFNOSUPPORT);
    address.is_ipv6() && address.ip().is_unspecified() && switched_off
}

/// Linux' number; the standard library has no stable kind for it.
const EAFNOSUPPORT: i32 = 97;
/// Connections that may wait to be accepted; the system's own bound (`net.core.somaxconn`) is often lower.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[test]
    fn an_accepted_connection_has_the_options_of_the_listening_socket() {
        let listening = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let _client = std::net::TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        listening.set_nonblocking(false).unwrap();
        let (accepted, _) = listening.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), MOST_UNSENT);
    }
}
