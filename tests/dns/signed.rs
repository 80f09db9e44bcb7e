//! Zones that are signed, one of them wrongly, and a resolver that checks signatures: BIND in all parts.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use certgate::config::GatewayConfig;
use certgate::dns::{Conditions, DnsChecker, DomainVerdict, Obstacle, Verdict};
use certgate::name::{DnsName, NamePattern};
use hickory_resolver::proto::rr::RecordType;
use tempfile::TempDir;

use crate::support::primary::ask;
use crate::support::process::{Process, two_free_addresses};
use crate::{NOW, OURS, obstacles, remedy};

/// Everything is below it; the resolver trusts its key.
const PARENT: &str = "test";
const GOOD: &str = "good.test";
/// Its address was changed after it was signed.
const BROKEN: &str = "broken.test";
/// Its server has lost it.
const LOST: &str = "lost.test";

const PATIENCE: Duration = Duration::from_secs(60);

struct Signed {
    _authority: Process,
    _resolver: Process,
    _folder: TempDir,
    authority: SocketAddr,
    resolver: SocketAddr,
}

impl Signed {
    fn start() -> Self {
        // Ports are free when chosen and may be taken a moment later, so a failed start is tried again.
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let anchor = zones(folder.path());
            let (authority, resolver) = two_free_addresses();
            let mut speaks = named(folder.path(), "authority", authority, &authority_config());
            let mut resolves = named(
                folder.path(),
                "resolver",
                resolver,
                &resolver_config(authority, &anchor),
            );
            // Without being told to recurse, the resolver only shows that it is there.
            let answer = |at| ask(at, &format!("www.{GOOD}"), RecordType::A);
            let holds = || answer(authority).is_some_and(|answer| !answer.answers.is_empty());
            if speaks.is_ready(PATIENCE, holds) && resolves.is_ready(PATIENCE, || answer(resolver).is_some())
            {
                return Self {
                    _authority: speaks,
                    _resolver: resolves,
                    _folder: folder,
                    authority,
                    resolver,
                };
            }
            eprintln!("{}\n{}", speaks.log(), resolves.log());
        }
        panic!("BIND was not ready in five attempts");
    }

    async fn check(&self, zone: &str) -> DomainVerdict {
        let zones = [GOOD, BROKEN, LOST].map(|zone| (DnsName::parse(zone).unwrap(), vec![self.authority]));
        let gateway = GatewayConfig {
            addresses: vec![OURS.parse().unwrap()],
            resolvers: vec![self.resolver],
            name_servers: BTreeMap::from(zones),
            ..GatewayConfig::default()
        };
        let names = [NamePattern::parse(&format!("www.{zone}")).unwrap()];
        let checker = DnsChecker::new(Some(&gateway));
        let mut verdicts = checker.check_all(&names, &Conditions::default(), NOW).await;
        verdicts.pop().unwrap()
    }
}

#[tokio::test]
async fn a_resolver_that_checks_signatures_tells_a_broken_zone_from_a_good_and_a_lost_one() {
    let signed = Signed::start();
    let good = signed.check(GOOD).await;
    assert_eq!(good.verdict, Verdict::Go, "{good}");

    let broken = signed.check(BROKEN).await;
    assert_eq!(broken.verdict.to_string(), "stop", "{broken}");
    let is_bogus = |obstacle: &Obstacle| matches!(obstacle, Obstacle::BadSignatures { zone, ds, .. } if zone == BROKEN && ds.len() == 1);
    assert!(obstacles(&broken).iter().any(is_bogus), "{broken}");
    assert!(
        broken
            .reason_text
            .contains("the signatures of the zone broken.test do not verify")
            && broken
                .reason_text
                .contains("sign it anew, or take its DS record away until then"),
        "{broken}"
    );
    assert!(
        remedy(&broken)
            .iter()
            .any(|change| change.starts_with("remove: broken.test. IN DS ")),
        "{broken}"
    );

    let lost = signed.check(LOST).await;
    assert_eq!(lost.verdict.to_string(), "wait", "{lost}");
    assert!(lost.reason_text.contains("SERVFAIL"), "{lost}");
    assert!(!lost.reason_text.contains("signatures"), "{lost}");
}

/// Signs the zones, and gives the key to trust as `trust-anchors` has it.
fn zones(folder: &Path) -> String {
    let head = "$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A 127.0.0.1\n";
    for (zone, address) in [(GOOD, OURS), (BROKEN, "192.0.2.1")] {
        fs::write(folder.join(zone), format!("{head}www IN A {address}\n")).unwrap();
        sign(folder, zone, &[]);
    }
    let signed = folder.join(format!("{BROKEN}.signed"));
    let text = fs::read_to_string(&signed).unwrap();
    assert!(text.contains("192.0.2.1"));
    fs::write(&signed, text.replace("192.0.2.1", OURS)).unwrap();

    let delegation = |zone: &str| {
        let label = zone.split('.').next().unwrap();
        format!("{label} IN NS ns1.{zone}.\nns1.{label} IN A 127.0.0.1\n")
    };
    let delegations: String = [GOOD, BROKEN, LOST].map(delegation).concat();
    fs::write(folder.join(PARENT), format!("{head}{delegations}")).unwrap();
    // With the DS records of those below that are signed.
    sign(folder, PARENT, &["-g"])
}

/// Signs the zone file called as the zone; the result is beside it, `.signed`. Gives the key.
fn sign(folder: &Path, zone: &str, more: &[&str]) -> String {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .current_dir(folder)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{program} does not start ({error}); ./tests/run installs it"));
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let key = run(
        "dnssec-keygen",
        &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone],
    );
    let signed = format!("{zone}.signed");
    let arguments = [&["-S", "-z", "-o", zone, "-f", &signed], more, &[zone]].concat();
    run("dnssec-signzone", &arguments);
    let record = fs::read_to_string(folder.join(format!("{}.key", key.trim()))).unwrap();
    let record = record.lines().find(|line| !line.starts_with(';')).unwrap();
    let (_, data) = record.split_once(" DNSKEY ").unwrap();
    let mut fields = data.split_whitespace();
    let numbers: Vec<_> = fields.by_ref().take(3).collect();
    format!(
        "\"{zone}\" static-key {} \"{}\";",
        numbers.join(" "),
        fields.collect::<String>()
    )
}

fn authority_config() -> String {
    let zones = [PARENT, GOOD, BROKEN, LOST]
        .map(|zone| format!("zone \"{zone}\" {{ type primary; file \"{zone}.signed\"; }};\n"));
    format!("recursion no; dnssec-validation no; }};\n{}", zones.concat())
}

fn resolver_config(authority: SocketAddr, anchor: &str) -> String {
    format!(
        "recursion yes; forward only; forwarders {{ {} port {}; }}; dnssec-validation yes; }};\n\
         trust-anchors {{ {anchor} }};\n",
        authority.ip(),
        authority.port()
    )
}

fn named(folder: &Path, name: &str, address: SocketAddr, config: &str) -> Process {
    let shown = folder.display();
    let config = format!(
        "options {{ directory \"{shown}\"; pid-file \"{shown}/{name}.pid\"; session-keyfile \"{shown}/{name}.key\";\n\
         lock-file none; listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }}; notify no; allow-query {{ any; }};\n\
         {config}controls {{ }};\n",
        address.port(),
        address.ip(),
    );
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, config).unwrap();
    let mut command = Command::new("/usr/sbin/named");
    command.args(["-g", "-n", "1", "-c"]).arg(file);
    Process::start(&mut command, folder.join(format!("{name}.log")))
}
