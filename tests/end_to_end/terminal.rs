//! What people see: on a terminal of their size, and in a pipe that somebody closes.

use std::process::Stdio;

use certgate::admin::api;
use tokio::process::Command;

use crate::gateway::{Home, PATIENCE, certgate, free_address};
use crate::peer::backend;
use crate::reload::{client_of, config};

/// What a command of the program shows on a terminal with so many columns.
async fn on_terminal(columns: usize, arguments: &str) -> String {
    let line = format!("stty cols {columns} rows 50; exec {} {arguments}", certgate());
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .expect("it ends")
        .expect("script is installed");
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

/// A configuration with long names, an issuer that cannot be reached, and a file that is no certificate.
fn crowded(home: &Home, more: &str) -> String {
    std::fs::create_dir(home.path("sites")).expect("a directory");
    home.write("sites/broken-by-somebody.pem", "nothing of the kind\n");
    format!(
        "[issuers.unreachable]\nkind = \"acme\"\ndirectory = \"https://127.0.0.1:1/directory\"\nagree_to_terms = true\n\
         [certificates.shop]\nissuer = \"unreachable\"\n\
         domains = [\"a-very-long-name-for-a-shop.department.company.example.com\", \"b.example.com\"]\n\
         [certificate_directories.sites]\npath = \"sites\"\n{more}"
    )
}

#[tokio::test]
async fn status_fits_the_terminal_and_a_long_reason_does_not_break_the_table() {
    let (home, listen, refusing) = (Home::new(), free_address(), free_address());
    let text = config(listen, refusing, &crowded(&home, ""));
    let text = text.replace(
        "certificates = [\"localhost\"]",
        "certificates = [\"localhost\", \"shop\", \"sites/*\"]",
    );
    let gateway = home.start(&text).await;
    client_of(&gateway)
        .await
        .ask(listen, "localhost")
        .await
        .expect_err("no backend");
    let has_failed = |status: &api::Status| {
        status
            .certificates
            .iter()
            .any(|c| c.state == "backing-off" && c.reason.is_some())
    };
    let status = gateway.status_until("has failed to obtain one", has_failed).await;
    let reason = status
        .certificates
        .iter()
        .find_map(|c| c.reason.clone())
        .expect("a reason");
    let socket = gateway.socket().display();
    for columns in [80, 200] {
        for command in ["status", "cert list", "cert show shop"] {
            let shown = on_terminal(columns, &format!("{command} --admin {socket}")).await;
            let longest = shown
                .lines()
                .map(|line| line.chars().count())
                .max()
                .unwrap_or_default();
            assert!(longest <= columns, "{longest} of {columns} columns:\n{shown}");
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words(&shown).contains(&words(&reason)), "{shown}");
            if command != "cert show shop" {
                // One line for each certificate: every row begins with a name and ends with a time.
                let table: Vec<_> = shown
                    .lines()
                    .skip_while(|line| !line.starts_with("CERTIFICATE "))
                    .take_while(|line| !line.is_empty())
                    .collect();
                assert_eq!(table.len(), 3, "{shown}");
                assert!(
                    table[1].starts_with("localhost ") && table[2].starts_with("shop "),
                    "{shown}"
                );
                assert!(table[2].contains("backing-off"), "{shown}");
                assert_eq!(
                    table[2].contains("company.example.com +1"),
                    columns == 200,
                    "{shown}"
                );
            }
            if command == "status" {
                assert!(
                    shown.contains("AUTHENTICATION") && shown.contains("broken-by-somebody.pem"),
                    "{shown}"
                );
                assert!(shown.contains("Connection refused"), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn progress_is_a_spinner_on_a_terminal_and_lines_without_one() {
    let (home, listen) = (Home::new(), free_address());
    let gateway = home.start(&config(listen, backend("hello").await, "")).await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    let shown = on_terminal(
        80,
        &format!("cert request shop --domain shop.test --admin {socket}"),
    )
    .await;
    assert!(shown.contains('\r') && shown.contains('\u{1b}'), "{shown:?}");
    // The spinner leaves nothing behind: the certificate is all that is left.
    let left = shown.rsplit('\r').next().unwrap_or_default();
    let left = left.trim_start_matches("\u{1b}[2K").trim_start();
    assert!(left.starts_with("certificate   shop\n"), "{shown:?}");
    assert!(left.contains("state         valid"), "{shown:?}");

    let request = [
        "cert",
        "request",
        "blog",
        "--domain",
        "blog.test",
        "--admin",
        &socket,
    ];
    let (code, output, errors) = crate::gateway::run(&request).await;
    assert_eq!(code, 0, "{errors}");
    assert!(
        errors.lines().count() > 1 && errors.lines().all(|line| line.starts_with("blog: ")),
        "{errors}"
    );
    assert!(
        !format!("{output}{errors}").contains(['\r', '\u{1b}']),
        "{output:?} {errors:?}"
    );
}

#[tokio::test]
async fn a_closed_pipe_is_no_error() {
    let (home, listen) = (Home::new(), free_address());
    let gateway = home.start(&config(listen, backend("hello").await, "")).await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    for command in [
        "cert list",
        "status",
        "cert show localhost --output json",
        "schema",
        "man",
        "completions bash",
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(certgate())
            .args(command.split(' '))
            .env("CERTGATE_ADMIN", &socket)
            .stdout(writer)
            .output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .expect("it ends")
            .expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
    }
}

#[tokio::test]
async fn the_demo_shows_its_log_only_when_asked() {
    for (arguments, has_log) in [
        (["demo", "--once"].as_slice(), false),
        (&["demo", "--once", "--verbose"], true),
    ] {
        let (code, output, errors) = crate::gateway::run(arguments).await;
        assert_eq!(code, 0, "{errors}");
        assert!(output.contains("All 8 were verified and answered"), "{output}");
        assert_eq!(errors.contains("INFO"), has_log, "{errors}");
        assert_eq!(errors.is_empty(), !has_log, "{errors}");
    }
}

#[tokio::test]
async fn a_demo_that_is_ended_leaves_nothing_behind() {
    let home = Home::new();
    for signal in ["INT", "TERM"] {
        let mut demo = Command::new(certgate())
            .arg("demo")
            .env("TMPDIR", home.path(""))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(
            demo.stdout.take().expect("its output"),
        ));
        let told = async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line.contains("It goes on serving") {
                    return;
                }
            }
            panic!("the demo has ended by itself");
        };
        tokio::time::timeout(PATIENCE, told).await.expect("it serves");
        let pid = demo.id().expect("it runs").to_string();
        let status = Command::new("kill")
            .args([format!("-{signal}"), pid])
            .status()
            .await;
        assert!(status.expect("kill runs").success());
        let status = tokio::time::timeout(PATIENCE, demo.wait())
            .await
            .expect("it ends");
        assert!(status.expect("a status").success());
        assert_eq!(std::fs::read_dir(home.path("")).expect("a directory").count(), 0);
    }
}
