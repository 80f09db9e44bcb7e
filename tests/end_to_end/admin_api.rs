//! The admin API around its resources: who is let in, what is kept of it, and what bad requests are told.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use certgate::admin::{Client, ClientError, Credentials, api};
use serde_json::Value;
use tokio::process::Command;

use crate::gateway::{Gateway, Home, PATIENCE, free_address, run};
use crate::peer::backend;
use crate::reload::{client_of, config, reloaded};

const OPERATE: &str = "8f1d0a3c5b7e9246d8f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6";
const READ: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f908f1d0a3c5b7e9246d8f0a1b2c3d4e5f6";
const OTHER: &str = "c3d4e5f60718293a4b5c6d7e8f908f1d0a3c5b7e9246d8f0a1b2c3d4e5f60a1b2";

fn token(home: &Home, name: &str, secret: &str) -> String {
    let path = home.write(name, &format!("{secret}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    path.display().to_string()
}

/// A gateway whose API is on its socket and on a TCP address, with a token for each right.
async fn with_tokens(home: &Home, address: SocketAddr, more: &str) -> (Gateway, String) {
    let (operate, read) = (token(home, "operate", OPERATE), token(home, "read", READ));
    let admin = format!(
        "[admin]\nlisten = [\"unix:store/admin.sock\", \"{address}\"]\n{more}\
         [admin.tokens.deploy]\nfile = {operate:?}\nrights = \"operate\"\n\
         [admin.tokens.board]\nfile = {read:?}\nrights = \"read\"\n"
    );
    let text = config(free_address(), backend("hello").await, &admin);
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    (gateway, address.to_string())
}

/// Asks with curl: the status, and the body as JSON where it is that.
async fn asked(arguments: &[&str]) -> (u16, Value) {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--write-out",
            "\n%{content_type}\n%{http_code}",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (rest, code) = text.rsplit_once('\n').expect("a status");
    let (body, kind) = rest.rsplit_once('\n').expect("a kind");
    let code = code.parse().expect("a status");
    if code >= 400 {
        assert_eq!(kind, "application/problem+json", "{arguments:?}: {body}");
    }
    (code, serde_json::from_str(body).unwrap_or_default())
}

fn request(domain: &str) -> api::CertificateRequest {
    api::CertificateRequest {
        domains: vec![domain.parse().expect("a name")],
        issuer: None,
        key_type: Default::default(),
        tags: Default::default(),
    }
}

#[tokio::test]
async fn a_change_is_in_the_audit_with_who_and_what_was_before_and_after_over_a_kill() {
    let home = Home::new();
    let text = config(free_address(), backend("hello").await, "");
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    let shop = "shop".parse().expect("a name");
    let client = gateway.client();
    client
        .request(&shop, &request("a.example.test"))
        .await
        .expect("taken");
    client
        .request(&shop, &request("b.example.test"))
        .await
        .expect("taken");
    gateway.kill().await;

    let gateway = home.start(&text).await;
    let records = gateway.client().audit(None, 10).await.expect("the trail");
    let [first, second] = records.as_slice() else {
        panic!("{records:#?}")
    };
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(first.resource, "/v1/certificates/shop");
    assert_eq!(
        (first.outcome, first.status),
        (api::AuditOutcome::Done, Some(200))
    );
    assert_eq!(first.caller.pid, Some(std::process::id().cast_signed()));
    assert!(first.caller.name.starts_with("user:") && first.caller.uid.is_some());
    assert_eq!(first.before, None);
    let domains = |shown: &Option<Value>| shown.as_ref().expect("shown")["domains"].to_string();
    assert!(domains(&first.after).contains("a.example.test"));
    assert!(domains(&second.before).contains("a.example.test"));
    assert!(domains(&second.after).contains("b.example.test"));

    let socket = gateway.socket().display().to_string();
    let (code, shown, errors) = run(&["audit", "--after", "1", "--admin", &socket]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(
        shown.contains("/v1/certificates/shop") && shown.contains("done"),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(home.log().contains("a change was asked for at the admin API"));
}

#[tokio::test]
async fn who_may_only_look_is_refused_a_change_and_the_refusal_is_in_the_audit() {
    let home = Home::new();
    let (gateway, address) = with_tokens(&home, free_address(), "").await;
    let client = |name: &str| {
        let credentials = Credentials {
            token_file: Some(home.path(name)),
            ..Credentials::default()
        };
        Client::remote(&format!("http://{address}"), &credentials).expect("a client")
    };
    let localhost = "localhost".parse().expect("a name");
    client("read").status().await.expect("it may look");
    client("read")
        .export(&localhost, false)
        .await
        .expect("a chain is no secret");
    let mut refused = Vec::new();
    refused.push(client("read").renew(&localhost).await.err());
    refused.push(client("read").export(&localhost, true).await.err());
    for refused in refused {
        let Some(ClientError::Refused { problem }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(problem.status, 403, "{problem}");
    }
    client("operate").renew(&localhost).await.expect("it may change");

    let records = gateway.client().audit(None, 10).await.expect("the trail");
    let told: Vec<_> = records
        .iter()
        .map(|record| (record.caller.name.as_str(), record.action.as_str(), record.status))
        .collect();
    let expected = [
        ("token:board", "renew", Some(403)),
        ("token:board", "export", Some(403)),
        ("token:deploy", "renew", Some(202)),
    ];
    assert_eq!(told, expected);
    assert!(records.iter().all(|record| record.caller.address.is_some()));
}

#[tokio::test]
async fn without_a_token_tcp_tells_only_that_the_gateway_lives() {
    let home = Home::new();
    let (gateway, address) = with_tokens(&home, free_address(), "").await;
    let url = |path: &str| format!("http://{address}{path}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(asked(&[&url(path)]).await.0, 200, "{path}");
    }
    let stranger = format!("Authorization: Bearer {OTHER}");
    for path in ["/metrics", "/v1/status", "/v1/audit", "/v1/openapi.json"] {
        assert_eq!(asked(&[&url(path)]).await.0, 401, "{path}");
        assert_eq!(asked(&["-H", &stranger, &url(path)]).await.0, 401, "{path}");
    }
    let (status, _) = asked(&["-X", "POST", &url("/v1/certificates/localhost/renew")]).await;
    assert_eq!(status, 401);
    assert_eq!(gateway.client().audit(None, 10).await.expect("the trail"), []);
    let holder = format!("Authorization: Bearer {READ}");
    assert_eq!(asked(&["-H", &holder, &url("/metrics")]).await.0, 200);
    assert!(!home.log().contains(OTHER) && !home.log().contains(READ));
}

#[tokio::test]
async fn a_token_that_was_changed_counts_from_the_reload_on() {
    let home = Home::new();
    let (gateway, address) = with_tokens(&home, free_address(), "").await;
    let url = format!("http://{address}/v1/status");
    let (before, after) = (
        format!("Authorization: Bearer {READ}"),
        format!("Authorization: Bearer {OTHER}"),
    );
    assert_eq!(asked(&["-H", &before, &url]).await.0, 200);
    token(&home, "read", OTHER);
    assert_eq!(reloaded(&gateway).await, None);
    assert_eq!(asked(&["-H", &before, &url]).await.0, 401);
    assert_eq!(asked(&["-H", &after, &url]).await.0, 200);
}

#[tokio::test]
async fn the_command_line_works_over_tls_with_a_certificate_of_the_store() {
    let home = Home::new();
    // `localhost`, which its certificate is for, is this address.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    drop(listener);
    let (gateway, address) = with_tokens(&home, address, "certificate = \"localhost\"\n").await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let root = home.write("root.pem", &root).display().to_string();
    let token = home.path("read").display().to_string();
    let call = async |host: &str, more: &[&str]| {
        let url = format!("https://{}", address.replace("127.0.0.1", host));
        run(&[&["status", "--output", "json", "--admin", &url], more].concat()).await
    };
    let (code, shown, errors) = call("localhost", &["--token-file", &token, "--ca-file", &root]).await;
    assert_eq!(code, 0, "{errors}");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["pid"].as_u64(), Some(u64::from(gateway.pid())));
    for (host, more, expected) in [
        (
            "127.0.0.1",
            &["--token-file", &token, "--ca-file", &root][..],
            "not valid for name",
        ),
        ("localhost", &["--token-file", &token], "--ca-file"),
        ("localhost", &["--ca-file", &root], "--token-file"),
    ] {
        let (code, _, errors) = call(host, more).await;
        assert!(code == 1 && errors.contains(expected), "{errors}");
    }
    // Nothing is answered in the clear there.
    let clear = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "30",
            &format!("http://{address}/healthz"),
        ])
        .output()
        .await
        .expect("curl runs");
    assert!(!clear.status.success());
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_change_nothing() {
    let home = Home::new();
    let gateway = home
        .start(&config(free_address(), backend("hello").await, ""))
        .await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    let json = "Content-Type: application/json";
    let large = home.write(
        "large",
        &format!("{{\"domains\": [\"{}\"]}}", "a".repeat(1 << 20)),
    );
    let large = format!("@{}", large.display());
    let shop = "http://certgate/v1/certificates/shop";
    let put = |body| vec!["-X", "PUT", "-H", json, "--data-binary", body, shop];
    for (arguments, expected) in [
        (put("{"), 400),
        (put("[]"), 422),
        (put("{\"domains\": 7}"), 422),
        (
            put("{\"domains\": [\"a.example.test\"], \"colour\": \"red\"}"),
            422,
        ),
        (
            put("{\"domains\": [\"a.example.test\"], \"tags\": {\"n\": 1e999}}"),
            400,
        ),
        (put("{\"domains\": []}"), 400),
        (put("{\"certificate_pem\": \"x\", \"key_pem\": \"y\"}"), 400),
        (put(&large), 413),
        (
            vec![
                "-X",
                "PUT",
                "-H",
                "Content-Type: text/plain",
                "--data",
                "{}",
                shop,
            ],
            415,
        ),
        (vec!["-X", "PATCH", shop], 405),
        (vec!["http://certgate/v1/nothing"], 404),
        (vec!["http://certgate/v1/issuers/%C2%9D/root"], 404),
        (vec!["http://certgate/v1/certificates/%FF"], 400),
        (vec!["http://certgate/v1/certificates/shop"], 404),
        (vec!["http://certgate/v1/audit?limit=99999999999999999999"], 400),
        (vec!["http://certgate/v1/audit?limit=0"], 400),
        (vec!["http://certgate/v1/audit?colour=red"], 400),
        (
            vec!["http://certgate/v1/certificates/localhost/export?with_key=maybe"],
            400,
        ),
    ] {
        let (status, problem) = asked(&[&["--unix-socket", &socket], &arguments[..]].concat()).await;
        assert_eq!(status, expected, "{:.100?}: {problem}", arguments);
        assert_eq!(problem["status"], expected);
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "{problem}"
        );
    }
    let names: Vec<_> = gateway.client().certificates().await.expect("a list");
    assert_eq!(names.len(), 1, "something was changed");
    let records = gateway.client().audit(None, 100).await.expect("the trail");
    assert_eq!(records.len(), 9, "each request for a change is in the audit");
    let refused = |record: &api::AuditRecord| record.outcome == api::AuditOutcome::Refused;
    assert!(
        records
            .iter()
            .all(|record| refused(record) && record.detail.is_some())
    );

    let output = Command::new("curl")
        .args([
            "--silent",
            "--include",
            "--unix-socket",
            &socket,
            "-X",
            "DELETE",
            "http://certgate/v1/status",
        ])
        .output()
        .await
        .expect("curl runs");
    let head = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    assert!(head.contains("allow: get,head"), "{head}");
}

#[tokio::test]
async fn who_watches_the_events_sees_what_is_audited() {
    let home = Home::new();
    let gateway = home
        .start(&config(free_address(), backend("hello").await, ""))
        .await;
    client_of(&gateway).await;
    let mut watching = Command::new("curl")
        .args(["--silent", "--no-buffer", "--include", "--unix-socket"])
        .arg(gateway.socket())
        .arg("http://certgate/v1/events")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("curl runs");
    let mut output = watching.stdout.take().expect("a pipe");
    let mut seen = String::new();
    until(&mut output, &mut seen, "text/event-stream").await;
    let localhost = "localhost".parse().expect("a name");
    gateway.client().renew(&localhost).await.expect("taken");
    until(&mut output, &mut seen, "event: audit").await;
    until(&mut output, &mut seen, "\"action\":\"renew\"").await;
}

async fn until(output: &mut (impl tokio::io::AsyncRead + Unpin), seen: &mut String, wanted: &str) {
    use tokio::io::AsyncReadExt;
    let read = async {
        let mut buffer = [0; 4096];
        while !seen.contains(wanted) {
            let read = output.read(&mut buffer).await.expect("a stream");
            assert_ne!(read, 0, "it has ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    let done = tokio::time::timeout(PATIENCE, read).await;
    done.unwrap_or_else(|_| panic!("no `{wanted}` is seen"));
}

/// Schemathesis, made from the OpenAPI document, against the gateway itself. Where it cannot be had, that is said, and
/// is a failure in CI.
#[tokio::test]
async fn no_request_that_schemathesis_makes_up_is_answered_in_an_undocumented_way() {
    let Some(schemathesis) = schemathesis().await else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{SCHEMATHESIS} cannot be installed"
        );
        eprintln!("skipped: {SCHEMATHESIS} cannot be installed here");
        return;
    };
    let home = Home::new();
    let (gateway, address) = with_tokens(&home, free_address(), "").await;
    let output = Command::new(schemathesis)
        .args([
            "run",
            &format!("http://{address}/v1/openapi.json"),
            "--no-color",
            "--seed",
            "1",
        ])
        .args(["-H", &format!("Authorization: Bearer {OPERATE}")])
        // It does not end.
        .args(["--exclude-path", "/v1/events"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance",
        ])
        .args([
            "--checks",
            "response_headers_conformance,response_schema_conformance,unsupported_method",
        ])
        .args([
            "--phases",
            "coverage,fuzzing",
            "--max-time",
            "45",
            "--request-timeout",
            "20",
        ])
        .args(["--continue-on-failure", "--suppress-health-check", "all"])
        .args(["--generation-database", "none"])
        .current_dir(home.path(""))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE * 2, output).await;
    let output = output.expect("it ends").expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // It has come through to the handlers, and the gateway still serves.
    assert!(
        !gateway
            .client()
            .audit(None, 1)
            .await
            .expect("the trail")
            .is_empty(),
        "{text}"
    );
    gateway.client().status().await.expect("a status");
}

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// The program, installed once into the target folder.
async fn schemathesis() -> Option<PathBuf> {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SCHEMATHESIS);
    let program = environment.join("bin/schemathesis");
    let works = async || {
        Command::new(&program)
            .arg("--version")
            .output()
            .await
            .is_ok_and(|o| o.status.success())
    };
    if works().await {
        return Some(program);
    }
    let python = Command::new("python3")
        .arg("-m")
        .arg("venv")
        .arg(&environment)
        .output()
        .await;
    python.ok().filter(|output| output.status.success())?;
    let install = Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", SCHEMATHESIS])
        .output()
        .await;
    install.ok().filter(|output| output.status.success())?;
    works().await.then_some(program)
}
