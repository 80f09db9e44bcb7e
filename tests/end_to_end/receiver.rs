//! The other end of webhooks: a server that keeps what is posted to it and answers as a test wants.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::PATIENCE;

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// The connection is cut.
    Cut,
    /// Nothing is ever said.
    Hang,
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Post {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// A text of the document.
    pub(crate) fn fact(&self, key: &str) -> String {
        self.body()[key].as_str().unwrap_or_default().to_owned()
    }
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Receiver {
    /// Answers with these in turn, and with 204 after them.
    pub(crate) async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::listen(listener, answers)
    }

    /// The same at an address of which it was known before that it is free.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        Self::listen(TcpListener::bind(address).await.expect("a free port"), &[])
    }

    fn listen(listener: TcpListener, answers: &[Answer]) -> Self {
        let receiver = Self {
            address: listener.local_addr().expect("bound"),
            posts: Arc::default(),
            answers: Arc::new(Mutex::new(answers.iter().rev().copied().collect())),
        };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        receiver
    }

    /// Everything that came, in order.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().expect("unpoisoned").clone()
    }

    /// What came about `event`.
    pub(crate) fn about(&self, event: &str) -> Vec<Post> {
        let mut posts = self.posts();
        posts.retain(|post| post.fact("event") == event);
        posts
    }

    /// Waits until so many came about `event`.
    pub(crate) async fn told(&self, event: &str, count: usize) -> Vec<Post> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.about(event);
            if found.len() >= count {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "only {} of {count} `{event}`: {:#?}",
                found.len(),
                self.posts()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut headers = BTreeMap::new();
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        assert!(line.starts_with("POST "), "{line}");
        loop {
            line.clear();
            if stream.read_line(&mut line).await? <= 2 {
                break;
            }
            if let Some((name, value)) = line.trim_end().split_once(": ") {
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
        }
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        self.posts.lock().expect("unpoisoned").push(Post {
            headers,
            text: String::from_utf8(body).expect("text"),
        });
        let answer = self.answers.lock().expect("unpoisoned").pop();
        match answer.unwrap_or(Answer::Status(204)) {
            Answer::Cut => Ok(()),
            Answer::Hang => {
                // Until the other side has had enough of it.
                stream.read_u8().await.map(drop)
            }
            Answer::Status(status) => {
                let answer = format!(
                    "HTTP/1.1 {status} Said\r\nContent-Length: 5\r\nLocation: http://{}/elsewhere\r\nConnection: close\r\n\r\nsaid\n",
                    self.address
                );
                let answer = match status {
                    204 => "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned(),
                    _ => answer,
                };
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await
            }
        }
    }
}
