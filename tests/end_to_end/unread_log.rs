//! The log, and who does not read it.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::gateway::{Home, PATIENCE, free_address, redirecting};

/// More than the pipe and the gateway's queue hold lines together.
const CONNECTIONS: usize = 6000;

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nothing_and_what_was_lost_is_said() {
    let home = Home::new();
    let address = free_address();
    let mut gateway = home.launch_with(&redirecting(address), Stdio::piped());
    let log = gateway.stderr();
    gateway.answered().await;
    for turn in 0..CONNECTIONS {
        let answer = tokio::time::timeout(PATIENCE, ask(address)).await;
        let answer = answer.unwrap_or_else(|_| panic!("connection {turn} is not answered"));
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    }

    let mut log = BufReader::new(log).lines();
    let mut next = async || {
        let line = tokio::time::timeout(PATIENCE, log.next_line()).await;
        line.expect("a line, or the end").expect("the log is text")
    };
    while !next().await.expect("it says so").contains("log lines were lost") {}
    assert!(gateway.terminate().await.success());
    let mut last = None;
    while let Some(line) = next().await {
        last = Some(line);
    }
    let last = last.expect("what is queued at the end is written");
    assert!(last.ends_with("stopped"), "{last}");
}

async fn ask(address: SocketAddr) -> String {
    let mut tcp = TcpStream::connect(address).await.expect("it accepts");
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    tcp.write_all(request).await.expect("it reads");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("it answers");
    answer
}
