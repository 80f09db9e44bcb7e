//! What holds for every route of the API, whichever are added: the list of them is the API's own.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::admin_tcp::{READ, with_tokens};
use crate::gateway::{Gateway, Home, free_address};
use crate::runtime::request;

/// One method of one path, with names of what is there.
struct Operation {
    line: String,
    takes_body: Option<String>,
    is_open: bool,
}

impl Operation {
    /// Everything that the document of a running gateway has.
    async fn all(socket: &Path) -> Vec<Self> {
        let (status, _, document) = request(socket, "GET /v1/openapi.json", &[], b"").await;
        assert_eq!(status, 200);
        let paths = document["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods.iter().map(move |(method, operation)| {
                let content = operation["requestBody"]["content"].as_object();
                let media_types = content.map(|content| content.keys().next().expect("a kind"));
                Self {
                    line: format!("{} {}", method.to_ascii_uppercase(), real(path)),
                    takes_body: media_types.cloned(),
                    is_open: operation["security"].is_null(),
                }
            })
        });
        let all: Vec<_> = operations.collect();
        assert!(all.len() > 60, "{}", all.len());
        all
    }

    /// Whether it needs the right to operate.
    fn changes(&self) -> bool {
        let looks = ["POST /v1/dns-checks", "POST /v1/listeners/web/explain"];
        !self.line.starts_with("GET ") && !looks.contains(&self.line.as_str())
    }
}

/// The path with names of what the gateway has, so that everything could be done.
fn real(path: &str) -> String {
    let name = match path.split('/').nth(2) {
        Some("ca-bundles") => "partners",
        Some("certificates") => "localhost",
        Some("hooks") => "pager",
        Some("issuers") => "internal",
        Some("policies") => "house",
        Some("server-groups") => "app",
        _ => "web",
    };
    let path = path.replace("{name}", name).replace("{serial}", "00");
    assert!(!path.contains('{'), "a name of {path} is not known to this test");
    path
}

/// A gateway with one of everything.
async fn with_everything(home: &Home) -> (Gateway, SocketAddr) {
    let address = free_address();
    let root = crate::pair::Authority::new().root();
    home.write("partners.pem", &root);
    let more = "[ca_bundles.partners]\nfiles = [\"partners.pem\"]\n\
                [policies.house]\nextends = \"intermediate\"\n\
                [hooks.pager]\ncommand = [\"/bin/true\"]\nevents = [\"failed\"]\n";
    let (gateway, _) = with_tokens(home, address, more).await;
    (gateway, address)
}

/// Everything that can be changed, as it is.
async fn state(gateway: &Gateway) -> Vec<Value> {
    let kinds = [
        "ca-bundles",
        "certificates",
        "issuers",
        "listeners",
        "policies",
        "server-groups",
        "hooks",
    ];
    let mut all = Vec::new();
    for kind in kinds {
        let (status, _, found) = request(gateway.socket(), &format!("GET /v1/{kind}"), &[], b"").await;
        assert_eq!(status, 200, "{kind}");
        all.push(found);
    }
    all
}

#[tokio::test]
async fn no_route_passes_over_what_it_does_not_know() {
    let home = Home::new();
    let (gateway, _) = with_everything(&home).await;
    let before = state(&gateway).await;
    for operation in Operation::all(gateway.socket()).await {
        let media_type = operation.takes_body.as_deref();
        let headers = media_type.map(|media_type| ("content-type", media_type));
        let headers: Vec<_> = headers.into_iter().collect();
        let (line, body) = (&operation.line, media_type.map_or("", |_| "{}"));
        let refused = async |line: &str, headers: &[(&str, &str)], body: &str, says: &str| {
            let (status, _, problem) = request(gateway.socket(), line, headers, body.as_bytes()).await;
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(
                status == 400 && detail.contains(says),
                "{line}: {status} {detail}"
            );
        };
        refused(&format!("{line}?dry_runn=true"), &headers, body, "`dry_runn`").await;
        match media_type {
            None => {
                let json = [("content-type", "application/json")];
                refused(line, &json, "{\"dry_run\":true}", "takes no body").await;
            }
            Some(_) => {
                let twice = "{\"a\":{\"dry_run\":true,\"dry_run\":false}}";
                refused(line, &headers, twice, "`dry_run` stands twice").await;
            }
        }
    }
    assert_eq!(state(&gateway).await, before);
}

#[tokio::test]
async fn whoever_may_only_look_is_refused_each_change_and_that_is_in_the_audit() {
    let home = Home::new();
    let (gateway, address) = with_everything(&home).await;
    let before = state(&gateway).await;
    let mut refused = Vec::new();
    for operation in Operation::all(gateway.socket()).await {
        let line = operation.line.as_str();
        let media_type = operation.takes_body.as_deref();
        if operation.is_open {
            assert_eq!(called(address, line, None, media_type).await, 200, "{line}");
            continue;
        }
        assert_eq!(called(address, line, None, media_type).await, 401, "{line}");
        if operation.changes() {
            assert_eq!(called(address, line, Some(READ), media_type).await, 403, "{line}");
            refused.push(line.to_owned());
        }
    }
    let with_key = "GET /v1/certificates/localhost/export?with_key=true";
    assert_eq!(called(address, with_key, Some(READ), None).await, 403);
    refused.push(with_key.to_owned());
    assert_eq!(state(&gateway).await, before);

    assert!(refused.len() > 30, "{refused:#?}");
    let records = gateway.client().audit(None, 1000).await.expect("the trail");
    assert_eq!(records.len(), refused.len());
    for (record, line) in records.iter().zip(&refused) {
        let (method, path) = line.split_once(' ').expect("a method");
        assert_eq!(
            (record.caller.name.as_str(), record.status),
            ("token:board", Some(403)),
            "{line}"
        );
        assert!(
            record.method == method && path.starts_with(&record.resource),
            "{line}: {record:?}"
        );
    }
}

/// The status that a request on TCP gets.
async fn called(address: SocketAddr, line: &str, token: Option<&str>, media_type: Option<&str>) -> u16 {
    let mut head = format!("{line} HTTP/1.1\r\nhost: certgate\r\nconnection: close\r\n");
    if let Some(token) = token {
        head.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    head.push_str(&match media_type {
        Some(media_type) => format!("content-type: {media_type}\r\ncontent-length: 2\r\n\r\n{{}}"),
        None => "\r\n".to_owned(),
    });
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.unwrap_or_else(|| panic!("{line}: {answer}"))
}
