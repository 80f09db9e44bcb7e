//! The admin API around its resources: who is let in, what is kept of it, and what bad requests are told.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use certgate::admin::{ClientError, api};
use certgate::config::{ResourceId, ResourceKind};
use certgate_store::{Batch, EmbeddedStore, Expect, Store};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::admin_tcp::{OPERATE, with_tokens};
use crate::gateway::{Home, PATIENCE, free_address, run};
use crate::pair::Authority;
use crate::peer::backend;
use crate::reload::{client_of, config};
use crate::runtime::{Stage, table};

/// Asks with curl: the status, and the body as JSON where it is that.
pub(crate) async fn asked(arguments: &[&str]) -> (u16, Value) {
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
async fn what_was_passed_over_is_in_the_audit_and_of_what_is_large_its_length_and_digest() {
    let stage = Stage::new("").await;
    let client = stage.gateway.client();
    let shop = "shop".parse().expect("a name");
    client
        .request_even_if(&shop, &request("a.example.test"), api::Objection::Dns)
        .await
        .expect("taken");
    client
        .renew_even_if(&shop, api::Objection::Dns)
        .await
        .expect("taken");
    let certificates: String = (0..100).map(|_| Authority::new().root()).collect();
    assert!(certificates.len() > 32 << 10);
    let keys = table(json!({ "certificates_pem": certificates }));
    let id = ResourceId::new(ResourceKind::CaBundle, "many");
    client.create_resource(&id, &keys).await.expect("made");

    let records = client.audit(None, 10).await.expect("the trail");
    let actions: Vec<_> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["put?even_if=dns", "renew?even_if=dns", "put"]);
    let after = records[2].after.as_ref().expect("what there is");
    let said = after["certificates_pem"].as_str().expect("a text");
    let length = format!("[{} octets, SHA-256 ", certificates.len());
    assert!(said.starts_with(&length) && said.len() < 200, "{after}");
}

#[tokio::test]
async fn a_change_that_cannot_be_written_into_the_audit_is_not_made() {
    let home = Home::new();
    let text = config(free_address(), backend("hello").await, "");
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    assert!(gateway.terminate().await.success());
    // The number after the newest, which cannot be read, is taken.
    let store = EmbeddedStore::open(&home.path("store"), Default::default())
        .expect("the store")
        .0;
    let mut batch = Batch::new();
    for key in ["audit/00000000000000000001", "audit/99999999999999999999"] {
        batch = batch.put(key, b"{}", Expect::Absent);
    }
    store.commit(batch).await.expect("written");
    drop(store);

    let gateway = home.start(&text).await;
    let shop = "shop".parse().expect("a name");
    let asked = gateway.client().request(&shop, &request("a.example.test")).await;
    let Err(ClientError::Refused { problem }) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!(problem.status, 503, "{problem}");
    assert!(problem.detail.contains("so nothing was done"), "{problem}");
    let listed = gateway.client().certificates().await.expect("a list");
    assert_eq!(listed.len(), 1, "it was done all the same");
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
        (put("[]"), 400),
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
        (vec!["-X", "PATCH", shop], 415),
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
    assert_eq!(records.len(), 10, "each request for a change is in the audit");
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

/// Schemathesis, made from the OpenAPI document, against the gateway itself. Left out only by somebody's own will.
#[tokio::test]
async fn no_request_that_schemathesis_makes_up_is_answered_in_an_undocumented_way() {
    if std::env::var_os(WITHOUT_SCHEMATHESIS).is_some() {
        eprintln!("left out: {WITHOUT_SCHEMATHESIS} is set");
        return;
    }
    let schemathesis = schemathesis().await.unwrap_or_else(|why| {
        panic!(
            "{SCHEMATHESIS} cannot be installed from PyPI: {why}\nset {WITHOUT_SCHEMATHESIS}=1 to do without this test"
        )
    });
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
const WITHOUT_SCHEMATHESIS: &str = "CERTGATE_WITHOUT_SCHEMATHESIS";

/// The program, installed once into the target folder; or why it cannot be.
async fn schemathesis() -> Result<PathBuf, String> {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SCHEMATHESIS);
    let program = environment.join("bin/schemathesis");
    if done(Command::new(&program).arg("--version")).await.is_ok() {
        return Ok(program);
    }
    done(Command::new("python3").args(["-m", "venv"]).arg(&environment)).await?;
    done(Command::new(environment.join("bin/pip")).args(["install", "--quiet", SCHEMATHESIS])).await?;
    done(Command::new(&program).arg("--version")).await?;
    Ok(program)
}

/// Runs a program; if it fails, what it says.
async fn done(program: &mut Command) -> Result<(), String> {
    let output = program.stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| format!("{:?}: {error}", program.as_std().get_program()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
    }
}
