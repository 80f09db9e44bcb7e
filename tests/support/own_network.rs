//! A network of a test's own, which has nothing but loopback: every address and port of 127.0.0.0/8 is free there, 53 too.

use std::any::type_name;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};

/// Runs `body` within the test `test`, which calls this, in a network namespace: as another process, since nobody leaves
/// one's own. Left out only by somebody's own will.
pub(crate) fn in_own_network<T: Fn()>(_test: T, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(body);
        return;
    }
    if std::env::var_os(WITHOUT_NAMESPACES).is_some() {
        eprintln!("left out: {WITHOUT_NAMESPACES} is set");
        return;
    }
    let (_, test) = type_name::<T>().split_once("::").expect("a path");
    let output = run(Command::new("unshare")
        .args(namespaces())
        .args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("a program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1"));
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    let [out, errors] = said;
    assert!(
        output.status.success() && out.contains("test result: ok. 1 passed"),
        "in its own network {test} has failed\n{out}\n{errors}"
    );
}

/// Port 53 of 127.0.0.`host`, which the interface is given: BIND only answers where an interface has the address.
pub(super) fn name_server_address(host: u8) -> SocketAddr {
    let ip = Ipv4Addr::new(127, 0, 0, host);
    let mut command = Command::new("ip");
    let added = run(command.args(["address", "add", &format!("{ip}/8"), "dev", "lo"]));
    assert!(
        added.status.success(),
        "{ip}: {}",
        String::from_utf8_lossy(&added.stderr)
    );
    (ip, 53).into()
}

/// What this user needs in order to have a network of one's own.
fn namespaces() -> &'static [&'static str] {
    let ways: [&[_]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let tried = ways.map(|way| (way, run(Command::new("unshare").args(way).arg("true"))));
    let allowed = tried.iter().find(|(_, output)| output.status.success());
    let Some((way, _)) = allowed else {
        let refusals = tried.map(|(way, output)| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("`unshare {}`: {}", way.join(" "), said.trim())
        });
        panic!(
            "a network namespace is not allowed here: {}\nrun this as root, allow user namespaces \
             (`sysctl kernel.unprivileged_userns_clone=1`, `sysctl kernel.apparmor_restrict_unprivileged_userns=0`), or \
             give a container CAP_SYS_ADMIN; or set {WITHOUT_NAMESPACES}=1 to do without this test",
            refusals.join("; ")
        );
    };
    way
}

fn run(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?} does not start ({error}); ./tests/run installs it"))
}

/// Set in the process that is in the namespace.
const INSIDE: &str = "CERTGATE_IN_OWN_NETWORK";
const WITHOUT_NAMESPACES: &str = "CERTGATE_WITHOUT_NAMESPACES";
