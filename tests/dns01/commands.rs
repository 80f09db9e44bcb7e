//! Commands in the convention of lego's `exec` provider.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certgate::config::{DnsProvider, ExecConfig};
use tempfile::TempDir;

use crate::support::primary::Kind;
use crate::world::{ONE, World, ZONE, primary};

/// A command that does `script`, and a world that calls it.
fn calling(primary: &crate::support::primary::Primary, raw: bool, script: &str) -> (World, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let command = executable(folder.path(), script);
    let mut world = World::of(primary);
    world.config.provider = DnsProvider::Exec(ExecConfig { command, raw });
    (world, folder)
}

fn executable(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("dns.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

const RECORDS_ARGUMENTS: &str =
    "for argument; do printf '<%s>' \"$argument\"; done >> \"$(dirname \"$0\")/called\"
echo >> \"$(dirname \"$0\")/called\"";

#[tokio::test]
async fn a_command_is_called_as_lego_calls_it() {
    let primary = primary(Kind::Bind);
    for (raw, expected) in [
        (
            false,
            format!(
                "<present><_acme-challenge.example.test.><{ONE}>\n<cleanup><_acme-challenge.example.test.><{ONE}>\n"
            ),
        ),
        (
            true,
            ["present", "cleanup"]
                .map(|action| {
                    format!(
                        "<{action}><--><example.test><evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ>\
                         <evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI>\n"
                    )
                })
                .concat(),
        ),
    ] {
        let (world, folder) = calling(&primary, raw, RECORDS_ARGUMENTS);
        world.place(ZONE, ONE).await.unwrap();
        world.dns01().remove(ONE).await;
        assert_eq!(
            fs::read_to_string(folder.path().join("called")).unwrap(),
            expected
        );
        assert_eq!(world.known().await, 0);
    }
}

#[tokio::test]
async fn a_command_that_fails_is_quoted() {
    let primary = primary(Kind::Bind);
    let (world, _folder) = calling(&primary, false, "echo trying; echo 'no such zone' >&2; exit 3");
    let error = world.place(ZONE, ONE).await.unwrap_err();
    assert!(
        error.contains(
            "dns.sh present` for _acme-challenge.example.test ended with exit status: 3: no such zone"
        ),
        "{error}"
    );
    let (world, _folder) = calling(&primary, false, "head -c 1000000 /dev/zero | tr '\\0' x; exit 1");
    let error = world.place(ZONE, ONE).await.unwrap_err();
    assert!(error.len() < 1000 && error.ends_with("xxx"), "{}", error.len());
}

#[tokio::test]
async fn nothing_that_a_command_has_started_outlives_an_attempt_that_is_given_up() {
    let primary = primary(Kind::Bind);
    let (world, folder) = calling(
        &primary,
        false,
        "[ \"$1\" = present ] || exit 0\nsleep 600 &\necho $! > \"$(dirname \"$0\")/started.new\"\n\
         mv \"$(dirname \"$0\")/started.new\" \"$(dirname \"$0\")/started\"\nwait",
    );
    let started = folder.path().join("started");
    let begun = async {
        while !started.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        placed = world.place(ZONE, ONE) => panic!("it ended: {placed:?}"),
        () = begun => {}
    }
    let process = fs::read_to_string(&started).unwrap();
    let state = PathBuf::from(format!("/proc/{}/stat", process.trim()));
    // Gone, or dead and not yet waited for by whoever has to.
    let is_dead = || fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z "));
    let died = async {
        while !is_dead() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let died = tokio::time::timeout(Duration::from_secs(60), died).await;
    assert!(died.is_ok(), "it goes on");
    world.dns01().remove(ONE).await;
    assert_eq!(world.known().await, 0);
}

#[tokio::test]
async fn a_rehearsal_looks_for_the_command_and_does_not_call_it() {
    let primary = primary(Kind::Bind);
    let (mut world, folder) = calling(&primary, false, RECORDS_ARGUMENTS);
    let way = world.rehearse(ZONE).await.unwrap();
    assert!(way.contains("dns.sh present` would be called for"), "{way}");
    assert!(!folder.path().join("called").exists());
    world.config.provider = DnsProvider::Exec(ExecConfig {
        command: folder.path().join("gone.sh"),
        raw: false,
    });
    let error = world.rehearse(ZONE).await.unwrap_err();
    assert!(error.contains("would not start"), "{error}");
}
