//! The load: clients and backend on one thread, so that nothing but the proxy is between them.
//!
//! Whoever measures drives it: [`open`](Generator::open), [`exchange`](Generator::exchange) and
//! [`churn`](Generator::churn) return when everything they began is done.

mod backend;
mod client;
mod records;
mod tally;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use slab::Slab;

use backend::Backend;
use client::Client;
pub(crate) use client::Request;
pub(crate) use tally::Tally;
pub(crate) use tls::{Group, Identity, Sessions};

/// Clients and backend. Nothing happens outside its calls.
pub(crate) struct Generator {
    poll: Poll,
    listener: TcpListener,
    backends: Slab<Backend>,
    clients: Slab<Client>,
    /// Stopped while there was more to do, so that others had their turn.
    unfinished: VecDeque<Token>,
    /// Clients that are done with their request, or with everything.
    ended: VecDeque<(usize, Result<Answered, String>)>,
    /// Clients with a request under way.
    busy: usize,
    buffers: Buffers,
    /// What the kernel may hold of each connection, each way.
    bound: Option<usize>,
    /// Whether the backend leaves bodies unread.
    ignores_bodies: bool,
}

/// A request that was answered in full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// From the connect of its connection, or from its own beginning, to the end of the answer.
    pub(crate) latency: Duration,
    /// Whether the connection's handshake, of which this is the first request, was resumed.
    pub(crate) resumed: Option<bool>,
    /// Bytes of both bodies.
    pub(crate) bytes: u64,
    /// Tickets that the connection has got so far.
    pub(crate) tickets: u32,
}

/// What an endpoint works with during its turn.
struct Buffers {
    received: Vec<u8>,
    payload: Vec<u8>,
}

/// How an endpoint's turn ended.
enum Turn {
    /// With an answer, or the end of the connection.
    Answered(Answered),
    /// The peer has closed.
    Closed,
    /// There is more to do at once.
    More,
    /// The socket has to become ready.
    Waits,
}

/// Who a connection is: one for each slot of [`Generator::churn`], or for each connection.
pub(crate) type Identities<'a> = &'a mut dyn FnMut(usize) -> Identity;

impl Generator {
    /// A generator whose backend listens on a port of the system's choice.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            backends: Slab::new(),
            clients: Slab::new(),
            unfinished: VecDeque::new(),
            ended: VecDeque::new(),
            busy: 0,
            buffers: Buffers {
                received: vec![0; BUFFER],
                payload: vec![b'x'; BUFFER],
            },
            bound: None,
            ignores_bodies: false,
        })
    }

    /// Where the proxies find the backend.
    pub(crate) fn backend(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The bytes of answers that each open connection has received.
    pub(crate) fn received(&self) -> impl Iterator<Item = u64> {
        self.clients.iter().map(|(_, client)| client.received())
    }

    /// Opens `count` connections, makes one request on each, and keeps them.
    pub(crate) fn open(
        &mut self,
        address: SocketAddr,
        count: usize,
        request: Request,
        identities: Identities<'_>,
    ) -> Result<Tally, String> {
        let mut opened = 0;
        self.drive(|generator, ended| {
            let room = if ended.is_some() { 1 } else { OPENING };
            for _ in 0..room.min(count - opened) {
                generator.connect(address, request, opened, identities(opened))?;
                opened += 1;
            }
            Ok(())
        })
    }

    /// Makes `count` requests on each open connection, on all of them at once.
    pub(crate) fn exchange(&mut self, count: u64, request: Request) -> Result<Tally, String> {
        let mut left = vec![count; self.clients.capacity()];
        self.drive(|generator, ended| {
            match ended {
                None => generator.request_on_all(request),
                Some(key) => {
                    left[key] -= 1;
                    if left[key] > 0 {
                        generator.request(key, request);
                    }
                }
            }
            Ok(())
        })
    }

    /// Begins a request on each open connection, and goes on for `duration` only.
    pub(crate) fn exchange_for(&mut self, duration: Duration, request: Request) -> Result<(), String> {
        self.request_on_all(request);
        self.idle(duration)
    }

    /// Begins a request on each open connection, and reads nothing on them from then on.
    pub(crate) fn request_and_ignore(&mut self, request: Request) {
        self.request_on_all(request);
        for (_, client) in &mut self.clients {
            client.ignore();
        }
        self.busy = 0;
    }

    /// How much the kernel, and a client, may hold of what is sent on connections that are opened from now on. Without
    /// a bound thousands that are not read would exhaust it.
    pub(crate) fn bound_buffers(&mut self, bytes: Option<usize>) {
        self.bound = bytes;
        self.buffers.payload.truncate(bytes.unwrap_or(BUFFER));
        self.buffers.payload.resize(bytes.unwrap_or(BUFFER), b'x');
    }

    /// Whether the backend reads nothing of the bodies that come from now on.
    pub(crate) fn ignore_bodies(&mut self, ignore: bool) {
        self.ignores_bodies = ignore;
    }

    /// `total` times: opens a connection, makes one request and closes it; `slots` at a time.
    pub(crate) fn churn(
        &mut self,
        address: SocketAddr,
        total: usize,
        slots: usize,
        request: Request,
        identities: Identities<'_>,
    ) -> Result<Tally, String> {
        let mut begun = 0;
        let tally = self.drive(|generator, ended| match ended {
            None => {
                begun = slots.min(total);
                (0..begun).try_for_each(|slot| generator.connect(address, request, slot, identities(slot)))
            }
            Some(key) => {
                let slot = generator.close(key);
                if begun == total {
                    return Ok(());
                }
                begun += 1;
                generator.connect(address, request, slot, identities(slot))
            }
        })?;
        // The proxy's part of closing is work as well.
        self.idle(SETTLE)?;
        Ok(tally)
    }

    /// Lets what is under way go on for `duration`.
    pub(crate) fn idle(&mut self, duration: Duration) -> Result<(), String> {
        let until = Instant::now() + duration;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.turn(left)?;
            for (_, ended) in std::mem::take(&mut self.ended) {
                ended?;
            }
        }
        Ok(())
    }

    /// Closes every connection of the clients, and lets the proxy follow.
    pub(crate) fn close_all(&mut self) -> Result<(), String> {
        for key in self.clients.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.close(key);
        }
        self.busy = 0;
        self.ended.clear();
        self.idle(SETTLE)
    }

    /// Drops everything: the proxy is gone.
    pub(crate) fn reset(&mut self) {
        self.clients.clear();
        self.backends.clear();
        self.unfinished.clear();
        self.ended.clear();
        self.busy = 0;
    }

    /// Goes on until no request is under way. `next` begins them: it is called once with `None`, then with each
    /// connection whose request was answered.
    fn drive(
        &mut self,
        mut next: impl FnMut(&mut Self, Option<usize>) -> Result<(), String>,
    ) -> Result<Tally, String> {
        let began = Instant::now();
        let mut tally = Tally::default();
        next(self, None)?;
        while self.busy > 0 {
            if began.elapsed() > PATIENCE {
                return Err(format!("{} requests unanswered after {PATIENCE:?}", self.busy));
            }
            self.turn(Duration::from_secs(1))?;
            while let Some((key, ended)) = self.ended.pop_front() {
                tally.add(&ended?);
                next(self, Some(key))?;
            }
        }
        tally.elapsed = began.elapsed();
        Ok(tally)
    }

    fn connect(
        &mut self,
        address: SocketAddr,
        request: Request,
        slot: usize,
        identity: Identity,
    ) -> Result<(), String> {
        let fail = |error: io::Error| format!("cannot connect: {error}");
        let entry = self.clients.vacant_entry();
        let mut socket = TcpStream::connect(address).map_err(fail)?;
        if let Some(bytes) = self.bound {
            set_socket_send_buffer_size(&socket, bytes).map_err(|error| fail(error.into()))?;
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut socket, client_token(entry.key()), interest);
        registered.map_err(fail)?;
        entry.insert(Client::new(socket, slot, identity, request)?);
        self.busy += 1;
        Ok(())
    }

    fn request(&mut self, key: usize, request: Request) {
        self.clients[key].begin(request);
        self.busy += 1;
        self.unfinished.push_back(client_token(key));
    }

    fn request_on_all(&mut self, request: Request) {
        for key in self.clients.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.request(key, request);
        }
    }

    fn close(&mut self, key: usize) -> usize {
        self.clients.remove(key).close()
    }

    /// One look at the sockets, and a turn for each that is ready.
    fn turn(&mut self, patience: Duration) -> Result<(), String> {
        let waits = if self.unfinished.is_empty() {
            patience
        } else {
            Duration::ZERO
        };
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(waits)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(format!("poll: {error}")),
            _ => {}
        }
        for token in std::mem::take(&mut self.unfinished) {
            self.advance(token);
        }
        for event in &events {
            match event.token() {
                LISTENER => self.accept()?,
                token => self.advance(token),
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), String> {
        loop {
            match self.listener.accept() {
                Ok((mut socket, _)) => {
                    let entry = self.backends.vacant_entry();
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let token = backend_token(entry.key());
                    let ready = self.poll.registry().register(&mut socket, token, interest);
                    let bounded = |()| match self.bound {
                        Some(bytes) => {
                            set_socket_recv_buffer_size(&socket, bytes)?;
                            Ok(set_socket_send_buffer_size(&socket, bytes)?)
                        }
                        None => Ok(()),
                    };
                    ready
                        .and_then(|()| socket.set_nodelay(true))
                        .and_then(bounded)
                        .map_err(|error| format!("cannot take a connection of the proxy: {error}"))?;
                    entry.insert(Backend::new(socket));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("the backend cannot accept: {error}")),
            }
        }
    }

    fn advance(&mut self, token: Token) {
        let key = token.0 / 2;
        if token == backend_token(key) {
            let Some(backend) = self.backends.get_mut(key) else {
                return;
            };
            if self.ignores_bodies && backend.has_body() {
                return;
            }
            match backend.advance(&mut self.buffers) {
                Turn::Waits | Turn::Answered(_) => {}
                Turn::More => self.unfinished.push_back(token),
                Turn::Closed => drop(self.backends.remove(key)),
            }
            return;
        }
        let key = key - 1;
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let was_busy = client.is_busy();
        let ended = match client.advance(&mut self.buffers) {
            Ok(Turn::Waits) => return,
            Ok(Turn::More) => return self.unfinished.push_back(token),
            Ok(Turn::Answered(answered)) => Ok(answered),
            Ok(Turn::Closed) => Err("the proxy closed a connection".to_owned()),
            Err(error) => Err(error),
        };
        if was_busy && !client.is_ignoring() {
            self.busy -= 1;
        }
        self.ended.push_back((key, ended));
    }
}

const LISTENER: Token = Token(usize::MAX);

/// Even numbers from 2 on.
fn client_token(key: usize) -> Token {
    Token(2 * (key + 1))
}

/// Odd numbers.
fn backend_token(key: usize) -> Token {
    Token(2 * key + 1)
}

/// What one turn reads or writes at most at a time.
const BUFFER: usize = 256 << 10;
/// Connections that are opened at a time, where all of them stay open.
const OPENING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(90);
const SETTLE: Duration = Duration::from_millis(30);
