//! `certgate policy`: what it prints, asks and refuses.

use std::process::Stdio;

use certgate::config::{ResourceId, ResourceKind};
use certgate::policy::{clients, names};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::gateway::{Home, PATIENCE, certgate, run};
use crate::runtime::{Stage, table};

/// A configuration that `check` takes, with `policy` at its listener and `policies` below.
fn config(policy: &str, policies: &str) -> String {
    format!(
        "issuers.internal.kind = \"local-ca\"\n\
         certificates.www = {{ domains = [\"www.corp.test\"], issuer = \"internal\" }}\n\
         server_groups.app.servers = [\"127.0.0.1:8080\"]\n\
         listeners.web = {{ port = 443, certificates = [\"www\"], server_group = \"app\", policy = \"{policy}\" }}\n\
         {policies}"
    )
}

const HOUSE: &str =
    "[policies.house]\nextends = \"post-quantum-preferred\"\nversions = [\"TLSv1.3\"]\nwhy = \"Ours.\"\n";

async fn json(arguments: &[&str]) -> Value {
    let (code, output, errors) = run(&[arguments, &["--output", "json"]].concat()).await;
    assert_eq!(code, 0, "{errors}");
    serde_json::from_str(&output).expect("JSON")
}

#[tokio::test]
async fn the_list_has_every_built_in_policy_and_those_of_the_file() {
    let home = Home::new();
    let file = home
        .write("c.toml", &config("house", HOUSE))
        .display()
        .to_string();
    let (code, output, _) = run(&["policy", "list"]).await;
    assert_eq!(code, 0);
    for name in names() {
        assert!(output.contains(name), "{name}: {output}");
    }
    assert!(!output.contains("house"));
    let (_, output, _) = run(&["policy", "list", "--config", &file]).await;
    let row = output
        .lines()
        .find(|line| line.starts_with("house "))
        .expect("a row");
    assert!(row.contains("TLSv1.3") && row.ends_with("configuration"), "{row}");

    let listed = json(&["policy", "list", "--config", &file]).await;
    let house = &listed.as_array().expect("a list")[0];
    assert_eq!(house["name"], "house");
    assert_eq!(house["post_quantum"], "preferred");
    assert_eq!(house["why"]["policy"], "Ours.");
}

#[tokio::test]
async fn what_is_shown_of_an_own_policy_says_the_same_when_it_is_pasted() {
    let home = Home::new();
    let file = home
        .write("c.toml", &config("house", HOUSE))
        .display()
        .to_string();
    let (code, shown, _) = run(&["policy", "show", "house", "--config", &file]).await;
    assert_eq!(code, 0);
    assert!(!shown.contains("extends"), "{shown}");
    let pasted = home
        .write("d.toml", &config("house", &shown))
        .display()
        .to_string();
    let before = json(&["policy", "show", "house", "--config", &file]).await;
    let after = json(&["policy", "show", "house", "--config", &pasted]).await;
    for key in [
        "versions",
        "cipher_suites",
        "groups",
        "post_quantum",
        "ignore_client_order",
    ] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(before["why"]["policy"], after["why"]["policy"]);

    let (_, shown, _) = run(&["policy", "show", "modern"]).await;
    assert!(shown.starts_with("# modern-2026-11\n"), "{shown}");
    assert!(shown.contains(include_str!("../../policies/modern-2026-11.toml").trim_end()));
}

#[tokio::test]
async fn explaining_tells_of_every_client_whether_it_gets_in_or_why_not() {
    let (code, output, _) = run(&["policy", "explain", "modern"]).await;
    assert_eq!(code, 0);
    for client in clients() {
        assert!(
            output.lines().any(|line| line.starts_with(&client.name)),
            "{}",
            client.name
        );
    }
    for text in [
        "modern, today modern-2026-11",
        "forward secrecy  yes",
        "post-quantum     offered",
        "it speaks TLSv1.2 at most, the policy TLSv1.3 at least",
    ] {
        assert!(output.contains(text), "{text}: {output}");
    }
    let explained = json(&["policy", "explain", "intermediate"]).await;
    let verdicts = explained["clients"].as_array().expect("a list");
    assert_eq!(verdicts.len(), clients().len());
    let of = |name: &str| {
        let found = verdicts
            .iter()
            .find(|one| one["client"].as_str().is_some_and(|n| n.starts_with(name)));
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(of("Java 7")["verdict"], "refused");
    let schannel = of("Windows 7");
    assert_eq!(schannel["verdict"], "ecdsa-only");
    assert_eq!(schannel["rsa"], Value::Null);
    assert_eq!(schannel["ecdsa"]["version"], "TLSv1.2");
    assert!(
        schannel["reason"]
            .as_str()
            .is_some_and(|reason| reason.ends_with("with an RSA certificate"))
    );
}

#[tokio::test]
async fn a_name_that_is_no_policy_is_refused_with_what_would_be_right() {
    for (name, expected) in [
        (
            "medium",
            "there is no built-in TLS security policy `medium`, and no gateway answers at",
        ),
        ("medium", "for one of a file, name that with --config"),
        (
            "tls-1-2",
            "`certgate policy import tls-1-2` shows what is missing",
        ),
    ] {
        let (code, output, errors) = run(&["policy", "explain", name]).await;
        assert_eq!((code, output.as_str()), (1, ""));
        assert!(errors.contains(expected), "{errors}");
    }
    for (name, expected) in [
        (
            "TLS13-1-2-2021-06",
            "did you mean `ELBSecurityPolicy-TLS13-1-2-2021-06`?",
        ),
        ("tls-9", "tls-1-2-fs (Huawei Cloud ELB)"),
        ("modern", "is built in and needs no import"),
    ] {
        let (code, output, errors) = run(&["policy", "import", name, "--yes"]).await;
        assert_eq!((code, output.as_str()), (1, ""));
        assert!(errors.contains(expected), "{errors}");
    }
    let (code, _, errors) = run(&["policy", "import", "tls-1-2", "--as", "modern"]).await;
    assert_eq!(code, 2);
    assert!(errors.contains("the name of another policy"), "{errors}");
}

#[tokio::test]
async fn a_policy_made_at_run_time_is_shown_explained_and_listed_as_the_gateway_has_it() {
    let mut stage = Stage::new("").await;
    let client = stage.gateway.client();
    for (name, keys) in [
        (
            "house",
            json!({ "extends": "post-quantum-preferred", "why": "Ours." }),
        ),
        ("strict", json!({ "extends": "house", "versions": ["TLSv1.3"] })),
    ] {
        let id = ResourceId::new(ResourceKind::Policy, name);
        client
            .put_resource(&id, &table(keys), None)
            .await
            .expect("a policy");
    }
    let shown = stage.done(&["policy", "show", "strict"]).await;
    assert!(
        shown.starts_with("[policies.strict]\nversions = [\"TLSv1.3\"]\n"),
        "{shown}"
    );
    let explained = stage.done(&["policy", "explain", "strict"]).await;
    for text in ["strict (gateway)", "preferred: every client", "TLSv1.3 at least"] {
        assert!(explained.contains(text), "{text}: {explained}");
    }
    let listed = stage.done(&["policy", "list", "--output", "json"]).await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let own: Vec<_> = listed.as_array().into_iter().flatten().take(2).collect();
    assert_eq!(
        (&own[0]["name"], &own[1]["name"]),
        (&json!("house"), &json!("strict"))
    );
    assert_eq!(own[0]["source"], "gateway");
    let (code, _, errors) = stage.command(&["policy", "explain", "huose"]).await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("no TLS security policy `huose`; there are: house, strict, "),
        "{errors}"
    );

    stage.gateway.signal("KILL");
    stage.gateway.ended().await;
    let (code, _, errors) = stage.command(&["policy", "show", "strict"]).await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("no built-in TLS security policy `strict`"),
        "{errors}"
    );
    let (code, output, errors) = stage.command(&["policy", "list"]).await;
    assert_eq!(code, 0);
    assert!(!output.contains("strict"), "{output}");
    assert!(errors.contains("only built-in policies are known"), "{errors}");
    stage.done(&["policy", "show", "modern"]).await;
}

#[tokio::test]
async fn an_import_without_a_terminal_is_refused_unless_it_was_agreed_to() {
    let home = Home::new();
    let import = ["policy", "import", "tls_cipher_policy_1_0"];
    let (code, output, errors) = run(&import).await;
    assert_eq!((code, output.as_str()), (1, ""));
    for text in [
        "4 of its 19 cipher suites",
        "ECDHE-RSA-AES128-SHA256",
        "DES-CBC3-SHA",
        "versions it cannot have: TLSv1.1, TLSv1\n",
        "there is no terminal to ask on",
    ] {
        assert!(errors.contains(text), "{text}: {errors}");
    }

    let (code, section, errors) = run(&[&import[..], &["--yes"]].concat()).await;
    assert_eq!(code, 0, "{errors}");
    assert!(errors.contains("4 of its 19 cipher suites"), "{errors}");
    let text = config("tls_cipher_policy_1_0-subset", &section);
    let file = home.write("c.toml", &text).display().to_string();
    let (code, _, errors) = run(&["check", "--config", &file]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{section}");

    let to = home.path("old.toml").display().to_string();
    let named = [&import[..], &["--yes", "--as", "old.clients", "--to", &to]].concat();
    let (code, output, errors) = run(&named).await;
    assert_eq!((code, output.as_str()), (0, ""), "{errors}");
    let written = std::fs::read_to_string(&to).expect("written");
    assert!(written.starts_with("[policies.\"old.clients\"]\n"), "{written}");
    let (code, _, errors) = run(&named).await;
    assert_eq!(code, 1);
    assert!(errors.contains("cannot write"), "{errors}");
}

#[tokio::test]
async fn every_import_says_what_is_missing_and_gives_a_policy_that_can_be_used() {
    let home = Home::new();
    for cloud in certgate::policy::cloud_policies() {
        let (code, output, errors) = run(&["policy", "import", &cloud.name, "--yes"]).await;
        assert_eq!(code, 0, "{errors}");
        if cloud.is_exact() {
            assert!(output.contains("it is built in"), "{output}");
            continue;
        }
        assert!(errors.contains("it is never the same policy"), "{errors}");
        let text = config(&format!("{}-subset", cloud.name), &output);
        let file = home.write("c.toml", &text).display().to_string();
        let (code, _, errors) = run(&["check", "--config", &file]).await;
        assert_eq!((code, errors.as_str()), (0, ""), "{output}");
        let by_name = home
            .write("d.toml", &config(&cloud.name, ""))
            .display()
            .to_string();
        let (code, _, errors) = run(&["check", "--config", &by_name]).await;
        assert_eq!(code, 1);
        assert!(errors.contains("error[cloud-policy]"), "{errors}");
    }
}

/// `script` gives the command a terminal, and what is written here is typed there.
#[tokio::test]
async fn on_a_terminal_an_import_asks_first() {
    for (answer, writes) in [("y\n", true), ("n\n", false), ("\n", false)] {
        let line = format!("{} policy import tls-1-2-fs", certgate());
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is installed");
        let mut keyboard = child.stdin.take().expect("a pipe");
        keyboard.write_all(answer.as_bytes()).await.expect("typed");
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output());
        let output = output.await.expect("it ends").expect("it ran");
        drop(keyboard);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("4 of its 8 cipher suites"), "{text}");
        assert!(text.contains("Make a policy of what there is? [y/N]"), "{text}");
        assert_eq!(text.contains("[policies.tls-1-2-fs-subset]"), writes, "{text}");
        assert_eq!(output.status.code(), Some(if writes { 0 } else { 1 }), "{text}");
    }
}
