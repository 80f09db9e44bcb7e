//! How streams end, and that only a whole one looks whole.

use certgate::metrics::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{NAME, Stand, backend, greeter, handed_over, is_truncated, nobody, within};

#[tokio::test]
async fn after_the_client_has_ended_the_backend_can_still_answer() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut question = String::new();
    within(backend.read_to_string(&mut question)).await.unwrap();
    assert_eq!(question, "question");
    backend.write_all(b"answer").await.unwrap();
    drop(backend);
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "answer");
    stand.ended(Outcome::Closed, 1).await;
}

#[tokio::test]
async fn after_the_backend_has_ended_the_client_can_still_send() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    backend.write_all(b"that is all").await.unwrap();
    backend.shutdown().await.unwrap();
    let mut greeting = String::new();
    // Ends only by `close_notify`; anything else is an error.
    within(client.read_to_string(&mut greeting)).await.unwrap();
    assert_eq!(greeting, "that is all");
    client.write_all(b"I have more").await.unwrap();
    client.shutdown().await.unwrap();
    let mut more = String::new();
    within(backend.read_to_string(&mut more)).await.unwrap();
    assert_eq!(more, "I have more");
    stand.ended(Outcome::Closed, 1).await;
}

#[tokio::test]
async fn a_backend_reset_is_no_clean_end_for_the_client() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    backend.write_all(b"half of ").await.unwrap();
    let mut half = [0; 8];
    within(client.read_exact(&mut half)).await.unwrap();
    backend.set_zero_linger().unwrap();
    drop(backend);
    let end = within(client.read(&mut [0; 8])).await;
    assert!(is_truncated(&end), "{end:?}");
    stand.ended(Outcome::BackendReset, 1).await;
}

#[tokio::test]
async fn a_backend_reset_right_behind_its_last_bytes_is_no_clean_end_for_the_client() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    for round in 1..=20 {
        let mut client = stand.connect().await;
        let mut backend = within(connections.recv()).await.unwrap();
        client.write_all(b"?").await.unwrap();
        within(backend.read_exact(&mut [0])).await.unwrap();
        backend.write_all(b"half of ").await.unwrap();
        backend.set_zero_linger().unwrap();
        drop(backend);
        let mut received = Vec::new();
        let end = within(client.read_to_end(&mut received)).await;
        assert!(is_truncated(&end), "{end:?} after {received:?}");
        stand.ended(Outcome::BackendReset, round).await;
    }
}

#[tokio::test]
async fn a_client_reset_is_no_clean_end_for_the_backend() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    client.write_all(b"half of ").await.unwrap();
    within(backend.read_exact(&mut [0; 8])).await.unwrap();
    client.get_ref().0.set_zero_linger().unwrap();
    drop(client);
    let end = within(backend.read(&mut [0; 8])).await;
    assert!(is_truncated(&end), "{end:?}");
    stand.ended(Outcome::ClientReset, 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_without_close_notify_is_no_clean_end_for_the_backend() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    client.write_all(b"half of ").await.unwrap();
    within(backend.read_exact(&mut [0; 8])).await.unwrap();
    // FIN without an alert.
    let (tcp, _) = client.get_mut();
    tcp.shutdown().await.unwrap();
    let end = within(backend.read(&mut [0; 8])).await;
    assert!(is_truncated(&end), "{end:?}");
    stand.ended(Outcome::ClientTruncated, 1).await;
}

#[tokio::test]
async fn a_record_that_does_not_open_ends_the_connection_with_an_alert() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    let (tcp, _) = client.get_mut();
    tcp.write_all(b"\x17\x03\x03\x00\x20garbage garbage garbage garbage!")
        .await
        .unwrap();
    let end = within(client.read(&mut [0; 8])).await.unwrap_err();
    assert!(end.to_string().contains("BadRecordMac"), "{end}");
    assert!(is_truncated(&within(backend.read(&mut [0; 8])).await));
    drop(client);
    stand.ended(Outcome::ClientProtocolError, 1).await;
}

#[tokio::test]
async fn the_answer_of_a_backend_that_refuses_an_upload_reaches_the_client() {
    let address = backend(|mut stream| async move {
        stream.read_exact(&mut [0; 5]).await.unwrap();
        stream.write_all(b"413 too much").await.unwrap();
        // Closed with unread input: FIN, then a reset for whatever still comes.
    })
    .await;
    let stand = Stand::new(&[address]);
    let client = stand.connect().await;
    let (mut read, mut write) = tokio::io::split(client);
    let upload = tokio::spawn(async move {
        let block = vec![0; 64 * 1024];
        while write.write_all(&block).await.is_ok() {}
    });
    let mut answer = [0; 12];
    within(read.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"413 too much");
    within(upload).await.unwrap();
}

#[tokio::test]
async fn with_every_server_down_the_client_sees_no_clean_end() {
    let stand = Stand::new(&[nobody().await, nobody().await]);
    let mut client = stand.connect().await;
    let end = within(client.read(&mut [0; 8])).await;
    assert!(is_truncated(&end), "{end:?}");
    stand.ended(Outcome::BackendUnavailable, 1).await;
}

#[tokio::test]
async fn openssl_sees_a_clean_end_in_both_versions() {
    let stand = Stand::new(&[greeter("hello and goodbye").await]);
    let address = stand.address();
    for (closed, version) in [(1, "-tls1_2"), (2, "-tls1_3")] {
        let output = tokio::task::spawn_blocking(move || {
            std::process::Command::new("openssl")
                .args(["s_client", "-quiet", version, "-servername", NAME, "-connect"])
                .arg(address.to_string())
                .stdin(std::process::Stdio::null())
                .output()
                .unwrap()
        });
        let output = within(output).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello and goodbye");
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(
            !said.contains("unexpected eof") && !said.contains("errno"),
            "{said}"
        );
        stand.ended(Outcome::Closed, closed).await;
    }
}
