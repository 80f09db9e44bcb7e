//! How many connections the system lets the gateway have.

use std::fs;

use tokio::process::Command;

use crate::gateway::{Home, certgate, free_address, redirecting};

#[tokio::test]
async fn the_limit_of_open_files_is_raised_to_what_the_system_allows() {
    let home = Home::new();
    let address = free_address();
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            r#"ulimit -S -n 200 && ulimit -H -n 2000 && exec "$@""#,
            "sh",
        ])
        .arg(certgate());
    let gateway = home.launch_by(shell, &redirecting(address));
    gateway.answered().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).expect("it runs");
    let open_files = limits.lines().find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = open_files.expect("a line").split_whitespace().collect();
    assert_eq!(words[3..5], ["2000", "2000"], "{limits}");
    assert!(gateway.terminate().await.success());
    assert!(
        home.log()
            .contains("raised the limit of open files from=200 to=2000"),
        "{}",
        home.log()
    );
}
