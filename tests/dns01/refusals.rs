//! Each way in which a server says no, in words.

use axum::http::StatusCode;
use axum::routing::post;
use certgate::config::{AcmeDnsConfig, DnsProvider};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::primary::{KEY, Kind, POWERLESS, Primary};
use crate::world::{ONE, OWNER, World, ZONE, primary, rfc2136};

#[tokio::test]
async fn a_wrong_key_or_clock_is_named_by_bind_and_by_knot() {
    for kind in [Kind::Bind, Kind::Knot] {
        let primary = primary(kind);
        let server = primary.address();
        for (provider, ahead, expected) in [
            (
                rfc2136(server, "nobody", primary.key_file()),
                0,
                "BADKEY, it has no key `nobody` for hmac-sha256",
            ),
            (
                rfc2136(server, KEY, primary.wrong_key_file()),
                0,
                "BADSIG, its key `certgate` is another one than that in",
            ),
            (
                rfc2136(server, KEY, primary.key_file()),
                7200,
                "BADTIME, its clock says 20",
            ),
            (rfc2136(server, POWERLESS, primary.key_file()), 0, refused(kind)),
        ] {
            let mut world = World::of(&primary).ahead(ahead);
            world.config.provider = provider;
            let error = world.place(ZONE, ONE).await.unwrap_err();
            let head = format!("{server} refuses the update of the zone example.test: {expected}");
            assert!(error.starts_with(&head), "{kind:?}: {error}\n{}", primary.log());
            world.dns01().remove(ONE).await;
        }
        assert_eq!(primary.texts(OWNER), [""; 0]);
    }
}

/// What each says to a key that may not do it.
fn refused(kind: Kind) -> &'static str {
    match kind {
        Kind::Bind => {
            "REFUSED, the key `powerless` may not change TXT records at _acme-challenge.example.test"
        }
        Kind::Knot => "BADKEY, it has no key `powerless` for hmac-sha256, or none that may change a zone",
    }
}

#[tokio::test]
async fn a_zone_that_the_server_does_not_hold_is_named() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    // Who speaks for the zone is another one than who takes updates.
    let other = Primary::start(Kind::Bind, &[("other.test", "", true)]);
    world.config.provider = rfc2136(other.address(), KEY, other.key_file());
    let error = world.place(ZONE, ONE).await.unwrap_err();
    assert!(
        error.contains("NOTAUTH, it does not hold the zone example.test"),
        "{error}"
    );
}

#[tokio::test]
async fn notzone_silence_and_answers_of_strangers_are_named() {
    let primary = primary(Kind::Bind);
    for (answers, expected) in [
        (
            Answers::Code(ResponseCode::NotZone),
            "NOTZONE, _acme-challenge.example.test is not in its zone example.test",
        ),
        (
            Answers::Code(ResponseCode::NoError),
            "is not signed with the key `certgate`",
        ),
        (
            Answers::Nothing,
            "did not answer to the update of the zone example.test",
        ),
        (
            Answers::AnotherId,
            "did not answer to the update of the zone example.test for _acme-challenge.example.test: what came is no answer to it",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut world = World::of(&primary);
        world.config.provider = rfc2136(listener.local_addr().unwrap(), KEY, primary.key_file());
        let server = tokio::spawn(serve(listener, answers));
        let error = world.place(ZONE, ONE).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        server.abort();
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_named() {
    let mut primary = primary(Kind::Bind);
    let speaks = crate::world::primary(Kind::Bind);
    let mut world = World::of(&speaks);
    world.config.provider = rfc2136(primary.address(), KEY, primary.key_file());
    primary.kill();
    let error = world.place(ZONE, ONE).await.unwrap_err();
    assert!(
        error.contains(&format!("{} did not answer", primary.address())),
        "{error}"
    );
    assert_eq!(world.known().await, 1, "what came of it is not known");
}

#[tokio::test]
async fn a_key_file_without_a_key_is_named_and_its_text_is_not() {
    let primary = primary(Kind::Bind);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    let mut world = World::of(&primary);
    world.config.provider = rfc2136(primary.address(), KEY, file.path().to_owned());
    let error = world.place(ZONE, ONE).await.unwrap_err();
    assert!(
        error.contains("there is no base64 key in it") && !error.contains("hunter2"),
        "{error}"
    );
}

#[derive(Clone, Copy)]
enum Answers {
    AnotherId,
    Code(ResponseCode),
    Nothing,
}

/// Answers updates without any signature.
async fn serve(listener: TcpListener, answers: Answers) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let length = stream.read_u16().await.unwrap();
        let mut message = vec![0; length.into()];
        stream.read_exact(&mut message).await.unwrap();
        let asked = Message::from_vec(&message).unwrap();
        let (id, code) = match answers {
            Answers::Nothing => continue,
            Answers::AnotherId => (asked.metadata.id ^ 1, ResponseCode::NoError),
            Answers::Code(code) => (asked.metadata.id, code),
        };
        let mut answer = Message::response(id, OpCode::Update);
        answer.metadata.response_code = code;
        let answer = answer.to_vec().unwrap();
        stream
            .write_u16(u16::try_from(answer.len()).unwrap())
            .await
            .unwrap();
        stream.write_all(&answer).await.unwrap();
    }
}

#[tokio::test]
async fn an_acme_dns_that_registers_nobody_is_told_with_what_can_be_done() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, axum::Router::new()).await });
    world.config.provider = DnsProvider::AcmeDns(AcmeDnsConfig {
        server,
        accounts_file: None,
    });
    let error = world.place(ZONE, ONE).await.unwrap_err();
    for part in [
        "asked for an account, it answered 404 Not Found",
        "`accounts_file`",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_account_that_acme_dns_lets_nobody_use_is_told_with_what_there_is_to_look_at() {
    let primary = Primary::start(
        Kind::Bind,
        &[(ZONE, "_acme-challenge IN CNAME values.example.test.", true)],
    );
    let mut world = World::of(&primary);
    let account = r#"{"username": "u", "password": "hunter2", "fulldomain": "values.example.test", "subdomain": "values"}"#;
    let app = axum::Router::new()
        .route(
            "/register",
            post(async || (StatusCode::CREATED, account.to_owned())),
        )
        .route(
            "/update",
            post(async || (StatusCode::UNAUTHORIZED, r#"{"error":"forbidden"}"#)),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    world.config.provider = DnsProvider::AcmeDns(AcmeDnsConfig {
        server,
        accounts_file: None,
    });
    let error = world.place(ZONE, ONE).await.unwrap_err();
    for part in ["it answered 401 Unauthorized", "`allowfrom`"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}
