//! An ask URL, as an operator has one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A server that is asked about names, and remembers all of them.
#[derive(Clone)]
pub(crate) struct AskUrl {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    allows: fn(&str) -> Says,
    asked: Vec<String>,
}

/// What it answers.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    /// A status line's number and reason.
    Status(&'static str),
    /// Nothing: the connection stays open.
    Nothing,
}

pub(crate) const YES: Says = Says::Status("200 OK");
pub(crate) const NO: Says = Says::Status("403 Forbidden");

impl AskUrl {
    /// One that answers about each name what `allows` says.
    pub(crate) async fn start(allows: fn(&str) -> Says) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let ask = Self {
            address: listener.local_addr().expect("bound"),
            state: Arc::new(Mutex::new(State {
                allows,
                asked: Vec::new(),
            })),
        };
        let answering = ask.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answering.clone().answer(stream));
            }
        });
        ask
    }

    /// From now on it answers what `allows` says.
    pub(crate) fn change(&self, allows: fn(&str) -> Says) {
        self.state.lock().expect("no panic").allows = allows;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/allowed?key=1", self.address)
    }

    /// The names that it was asked about, in this order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("no panic").asked.clone()
    }

    async fn answer(self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut request = String::new();
            if stream.read_line(&mut request).await? == 0 {
                return Ok(());
            }
            let mut header = String::new();
            while stream.read_line(&mut header).await? > 2 {
                header.clear();
            }
            let name = request
                .split(' ')
                .nth(1)
                .and_then(|path| path.strip_prefix("/allowed?key=1&domain="))
                .unwrap_or_else(|| panic!("not asked as it should be: {request}"))
                .to_owned();
            let says = {
                let mut state = self.state.lock().expect("no panic");
                state.asked.push(name.clone());
                (state.allows)(&name)
            };
            match says {
                Says::Status(status) => {
                    let answer =
                        format!("HTTP/1.1 {status}\r\nLocation: /allowed\r\nContent-Length: 3\r\n\r\nyes");
                    stream.write_all(answer.as_bytes()).await?;
                }
                Says::Nothing => return std::future::pending().await,
            }
        }
    }
}
