//! Challenges, and what the server finds when it looks (RFC 8555 §7.5.1, §8.3).

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::jws::{Jws, thumbprint};
use super::protocol::{Protocol, Reply, answer_json, problem};
use super::{Asked, Validation};

impl Protocol {
    pub(super) fn challenge(&self, index: usize, kind: &str) -> Value {
        let authorization = &self.authorizations[index];
        let url = format!("{}/challenge/{index}/{kind}", self.base);
        let mut object = json!({"type": kind, "url": url, "token": authorization.token, "status": "pending"});
        match &authorization.tried {
            Some((tried, _)) if *tried != kind => {}
            Some((_, Err(reason))) => {
                object["status"] = json!("invalid");
                object["error"] = problem("unauthorized", reason);
            }
            Some((_, Ok(()))) if authorization.status == "pending" => object["status"] = json!("processing"),
            Some((_, Ok(()))) => object["status"] = json!("valid"),
            None => {}
        }
        object
    }
}

/// The client says that a challenge is answered: look.
pub(super) async fn tried(protocol: &Mutex<Protocol>, asked: &Asked, index: usize, kind: &str) -> Reply {
    let (validation, name, token, thumbprint) = {
        let mut protocol = protocol.lock().unwrap();
        let jws = Jws::parse(&asked.body).ok_or((400, "malformed", "this is no JWS".to_owned()))?;
        let account =
            protocol
                .verify(&jws, asked)?
                .ok_or((401, "unauthorized", "an account is needed".to_owned()))?;
        let authorization = &protocol.authorizations[index];
        if authorization.tried.is_some() || authorization.status != "pending" {
            return Err((400, "malformed", "the challenge is not pending".into()));
        }
        let (name, token) = (authorization.name.clone(), authorization.token.clone());
        (
            protocol.behaviour.validation,
            name,
            token,
            thumbprint(&protocol.accounts[account].point),
        )
    };
    let outcome = match (validation, kind) {
        (Validation::Http01 { port }, "http-01") => {
            fetch(port, &name, &token, &format!("{token}.{thumbprint}")).await
        }
        _ => Ok(()),
    };
    let mut protocol = protocol.lock().unwrap();
    let outcome = match protocol.behaviour.failing.contains(&name) {
        true => Err(format!("{name} fails always")),
        false => outcome,
    };
    let validating = protocol.behaviour.validating;
    let authorization = &mut protocol.authorizations[index];
    let kind = authorization.kinds.iter().find(|offered| **offered == kind);
    let kind = *kind.ok_or((404, "malformed", "there is no such challenge".to_owned()))?;
    authorization.status = match &outcome {
        Ok(()) if validating => "pending",
        Ok(()) => "valid",
        Err(_) => "invalid",
    };
    authorization.tried = Some((kind, outcome));
    let mut object = protocol.challenge(index, kind);
    // Most servers answer before they have looked.
    object.as_object_mut().unwrap().remove("error");
    object["status"] = json!("processing");
    Ok(answer_json(200, &object))
}

async fn fetch(port: u16, name: &str, token: &str, expected: &str) -> Result<(), String> {
    let exchange = async {
        let mut tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        tcp.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = exchange.await.map_err(|error| error.to_string())?;
    match text.starts_with("HTTP/1.1 200") && text.trim_end().ends_with(expected) {
        true => Ok(()),
        false => Err(format!("got {text:?}")),
    }
}
