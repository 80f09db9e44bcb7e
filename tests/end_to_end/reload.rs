//! SIGHUP and SIGTERM: two phases, nothing interrupted, nothing half done.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::{Gateway, Home, PATIENCE, free_address, run};
use crate::peer::{TlsClient, backend};

/// One local CA, one listener `web` for localhost, in front of `server`; `more` is appended.
pub(crate) fn config(listen: SocketAddr, server: SocketAddr, more: &str) -> String {
    format!(
        "[issuers.internal]\nkind = \"local-ca\"\ncommon_name = \"Test CA\"\n\
         [certificates.localhost]\ndomains = [\"localhost\"]\nissuer = \"internal\"\n\
         [server_groups.app]\nservers = [\"{server}\"]\n\
         [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"localhost\"]\nserver_group = \"app\"\n{more}",
        listen.ip(),
        listen.port()
    )
}

/// A client that trusts the gateway's local CA.
pub(crate) async fn client_of(gateway: &Gateway) -> TlsClient {
    gateway.published("localhost").await;
    TlsClient::trusting(&gateway.client().local_ca_root("internal").await.expect("a root"))
}

/// Sends SIGHUP and waits for the outcome: why it was refused, if it was.
pub(crate) async fn reloaded(gateway: &Gateway) -> Option<String> {
    let before = gateway
        .client()
        .status()
        .await
        .expect("a status")
        .last_reload
        .map(|reload| reload.at);
    gateway.signal("HUP");
    let newer = |status: &certgate::admin::api::Status| {
        status
            .last_reload
            .as_ref()
            .is_some_and(|reload| Some(reload.at) != before)
    };
    let status = gateway.status_until("has reloaded", newer).await;
    status.last_reload.expect("just seen").error
}

#[tokio::test]
async fn a_reload_moves_new_connections_and_leaves_open_ones_alone() {
    let listen = free_address();
    let home = Home::new();
    let echo = echo().await;
    let gateway = home.start(&config(listen, echo, "")).await;
    let client = client_of(&gateway).await;
    let mut open = client.connect(listen, "localhost").await.expect("connected");
    open.write_all(b"before").await.expect("written");

    let added = free_address();
    let more = format!(
        "[server_groups.other]\nservers = [\"{}\"]\n[listeners.more]\naddress = \"{}\"\nport = {}\n\
         certificates = [\"localhost\"]\nserver_group = \"other\"\n",
        backend("other").await,
        added.ip(),
        added.port()
    );
    home.configure(&config(listen, backend("new").await, &more));
    assert_eq!(reloaded(&gateway).await, None);

    let (answer, _) = client.ask(listen, "localhost").await.expect("served");
    assert!(answer.ends_with("new"), "{answer}");
    let (answer, _) = client.ask(added, "localhost").await.expect("served");
    assert!(answer.ends_with("other"), "{answer}");
    open.write_all(b" and after").await.expect("written");
    let mut echoed = [0; 16];
    open.read_exact(&mut echoed)
        .await
        .expect("the connection goes on");
    assert_eq!(&echoed, b"before and after");

    home.configure(&config(listen, echo, ""));
    assert_eq!(reloaded(&gateway).await, None);
    // Its worker closes the socket a moment later.
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        match TcpStream::connect(added).await {
            Ok(_) => assert!(Instant::now() < deadline, "the removed listener is still there"),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_so() {
    let (listen, server) = (free_address(), backend("old").await);
    let home = Home::new();
    let gateway = home.start(&config(listen, server, "")).await;
    let client = client_of(&gateway).await;

    let taken = TcpListener::bind(free_address()).await.expect("bound");
    let taken = taken
        .local_addr()
        .map(|address| (address, taken))
        .expect("an address");
    let occupied = format!(
        "[listeners.more]\naddress = \"{}\"\nport = {}\ncertificates = [\"localhost\"]\nserver_group = \"app\"\n",
        taken.0.ip(),
        taken.0.port()
    );
    for (more, expected) in [
        ("[listeners.web2]\nport = 99999\n", "certgate.toml"),
        ("this is not TOML", "certgate.toml"),
        (occupied.as_str(), "listener `more` cannot listen"),
    ] {
        let elsewhere = backend("new").await;
        home.configure(&config(listen, elsewhere, more));
        let error = reloaded(&gateway).await.expect("refused");
        assert!(error.contains(expected), "{error}");
        let (answer, _) = client.ask(listen, "localhost").await.expect("still served");
        assert!(answer.ends_with("old"), "{answer}");
        let socket = gateway.socket().display().to_string();
        let (_, output, _) = run(&["status", "--admin", &socket]).await;
        assert!(output.contains("refused, nothing was changed"), "{output}");
    }
    assert!(gateway.terminate().await.success());
    assert!(home.log().contains("nothing was changed"), "{}", home.log());
}

#[tokio::test]
async fn two_listeners_swap_their_addresses_in_one_reload() {
    let (first, second) = (free_address(), free_address());
    let (one, two) = (backend("one").await, backend("two").await);
    let both = |web: SocketAddr, more: SocketAddr| {
        let more = format!(
            "[server_groups.other]\nservers = [\"{two}\"]\n[listeners.more]\naddress = \"{}\"\nport = {}\n\
             certificates = [\"localhost\"]\nserver_group = \"other\"\n",
            more.ip(),
            more.port()
        );
        config(web, one, &more)
    };
    let home = Home::new();
    let gateway = home.start(&both(first, second)).await;
    let client = client_of(&gateway).await;
    home.configure(&both(second, first));
    assert_eq!(reloaded(&gateway).await, None);
    for (address, expected) in [(first, "two"), (second, "one")] {
        let (answer, _) = client.ask(address, "localhost").await.expect("served");
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_listener_on_all_addresses_moves_to_one_of_them_and_back() {
    let home = Home::new();
    let port = std::net::TcpListener::bind("0.0.0.0:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port that is free on every address")
        .port();
    let (all, one) = (([0, 0, 0, 0], port).into(), ([127, 0, 0, 1], port).into());
    let server = backend("A").await;
    let gateway = home.start(&config(all, server, "")).await;
    let client = client_of(&gateway).await;
    for address in [one, all] {
        home.configure(&config(address, server, ""));
        assert_eq!(reloaded(&gateway).await, None);
        client.ask(one, "localhost").await.expect("served");
    }
}

#[tokio::test]
async fn a_listener_on_one_address_stands_beside_one_on_all() {
    let one = free_address();
    let all = SocketAddr::from(([0, 0, 0, 0], one.port()));
    let other = SocketAddr::from(([127, 0, 0, 1], one.port()));
    let more = format!(
        "[server_groups.other]\nservers = [\"{}\"]\n[listeners.all]\naddress = \"{}\"\nport = {}\n\
         certificates = [\"localhost\"]\nserver_group = \"other\"\n",
        backend("all").await,
        all.ip(),
        all.port()
    );
    let home = Home::new();
    let gateway = home.start(&config(one, backend("one").await, &more)).await;
    let client = client_of(&gateway).await;
    for (address, expected) in [(one, "one"), (other, "all")] {
        let (answer, _) = client.ask(address, "localhost").await.expect("served");
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_listener_on_one_address_comes_beside_one_on_all_while_that_serves() {
    let one = free_address();
    let all = SocketAddr::from(([0, 0, 0, 0], one.port()));
    let home = Home::new();
    let gateway = home.start(&config(all, backend("all").await, "")).await;
    let client = client_of(&gateway).await;
    let more = format!(
        "[server_groups.other]\nservers = [\"{}\"]\n[listeners.one]\naddress = \"{}\"\nport = {}\n\
         certificates = [\"localhost\"]\nserver_group = \"other\"\n",
        backend("one").await,
        one.ip(),
        one.port()
    );
    home.configure(&config(all, backend("all").await, &more));
    assert_eq!(reloaded(&gateway).await, None);
    let other = SocketAddr::from(([127, 0, 0, 1], one.port()));
    for (address, expected) in [(one, "one"), (other, "all")] {
        let (answer, _) = client.ask(address, "localhost").await.expect("served");
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn an_address_that_another_gateway_serves_is_refused_and_never_shared() {
    let (listen, server) = (free_address(), backend("first").await);
    let (home, other) = (Home::new(), Home::new());
    let gateway = home.start(&config(listen, server, "")).await;
    let client = client_of(&gateway).await;
    let mut second = other.launch(&config(listen, backend("second").await, ""));
    assert_eq!(second.ended().await.code(), Some(1));
    let log = other.log();
    assert!(
        log.contains(&format!("listener `web` cannot listen on {listen}")) && log.contains("ss -ltnp"),
        "{log}"
    );
    for _ in 0..8 {
        let (answer, _) = client.ask(listen, "localhost").await.expect("served");
        assert!(answer.ends_with("first"), "{answer}");
    }
}

#[tokio::test]
async fn sigterm_lets_open_connections_finish() {
    let listen = free_address();
    let home = Home::new();
    let mut gateway = home.start(&config(listen, echo().await, "")).await;
    let client = client_of(&gateway).await;
    let mut open = client.connect(listen, "localhost").await.expect("connected");
    open.write_all(b"hello").await.expect("written");
    let mut echoed = [0; 5];
    open.read_exact(&mut echoed).await.expect("echoed");

    gateway.signal("TERM");
    while TcpStream::connect(listen).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    open.write_all(b"again").await.expect("written");
    open.read_exact(&mut echoed)
        .await
        .expect("the open connection goes on");
    assert_eq!(&echoed, b"again");
    open.shutdown().await.expect("closed");
    assert_eq!(open.read(&mut echoed).await.expect("a clean end"), 0);
    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn the_drain_has_a_deadline() {
    let listen = free_address();
    let home = Home::new();
    let more = "[runtime]\ndrain_timeout = \"1s\"\n";
    let gateway = home.start(&config(listen, echo().await, more)).await;
    let client = client_of(&gateway).await;
    let mut open = client.connect(listen, "localhost").await.expect("connected");
    assert!(gateway.terminate().await.success());
    // Cut, and visibly so: no close_notify.
    assert!(open.read(&mut [0; 1]).await.is_err());
    assert!(home.log().contains("cut"), "{}", home.log());
}

/// A backend that sends back what it gets, and closes when the client does.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}
