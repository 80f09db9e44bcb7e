//! What the configuration promises: every broken file gives exactly the diagnostics beside it, and every good one
//! means what it says.

#[path = "config/hooks.rs"]
mod hooks;
#[path = "config/keys.rs"]
mod keys;

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certgate::certificate::{CertificateName, KeyType};
use certgate::config::{
    self, AdminRights, AlpnMismatch, Authentication, CertificateSelector, ChallengeType, Code, Diagnostics,
    DnsChecks, DnsProvider, Environment, HmacAlgorithm, IssuerConfig, Loaded, LogFormat, Protocol, Severity,
    UnknownSni,
};
use certgate::name::DnsName;

/// Relative, so that no machine's paths are in what is expected: tests run in the package's directory.
const FIXTURES: &str = "tests/fixtures/config";

fn load(path: impl AsRef<Path>) -> Result<Loaded, Diagnostics> {
    let environment = Environment {
        state_directory: None,
        cores: 4,
    };
    // A checkout keeps no modes, and whether a token is private is one of the things that are looked at.
    for (secret, mode) in [
        ("acme-dns.json", 0o600),
        ("admin.token", 0o600),
        ("board.token", 0o600),
        ("hmac.token", 0o600),
        ("pager.token", 0o600),
        ("open.token", 0o644),
        ("tsig.key", 0o600),
        ("weak.token", 0o600),
    ] {
        let path = format!("{FIXTURES}/tokens/{secret}");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    config::load(path.as_ref(), &environment)
}

fn fixtures(directory: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(Path::new(FIXTURES).join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "expected"))
        .collect();
    paths.sort();
    paths
}

/// A problem is a file, or a directory of several; what is said of it stands beside it.
#[test]
fn every_broken_configuration_gives_exactly_the_diagnostics_beside_it() {
    let paths = fixtures("broken");
    as_beside(&paths, |path| match load(path) {
        Err(diagnostics) => diagnostics,
        Ok(_) => panic!("{} is taken, but lies among the broken ones", path.display()),
    });
    assert!(paths.len() >= 45, "only {} broken fixtures", paths.len());
}

#[test]
fn every_odd_configuration_is_taken_with_exactly_the_warnings_beside_it() {
    as_beside(&fixtures("odd"), |path| match load(path) {
        Err(diagnostics) => panic!("{diagnostics}"),
        Ok(loaded) => loaded.warnings,
    });
}

fn as_beside(paths: &[PathBuf], found: impl Fn(&Path) -> Diagnostics) {
    let bless = std::env::var_os("CERTGATE_BLESS").is_some();
    let mut differences = Vec::new();
    for path in paths {
        let beside = path.with_extension("expected");
        let found = format!("{}\n", found(path));
        if bless {
            fs::write(&beside, &found).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            differences.push(format!(
                "{}: expected\n{expected}\nfound\n{found}",
                path.display()
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_code_has_a_configuration_that_shows_it() {
    let expected: String = ["broken", "odd"]
        .into_iter()
        .flat_map(fixtures)
        .map(|path| fs::read_to_string(path.with_extension("expected")).unwrap())
        .collect();
    for code in Code::ALL {
        assert!(
            expected.contains(&format!("[{}]: ", code.as_str())),
            "no fixture shows {code:?}"
        );
    }
}

#[test]
fn every_valid_configuration_is_taken_without_a_word() {
    for path in fixtures("valid") {
        match load(&path) {
            Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}", loaded.warnings),
            Err(diagnostics) => panic!("{diagnostics}"),
        }
    }
}

/// With the files that they name beside them.
#[test]
fn every_example_is_taken_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sites")).unwrap();
    for file in ["pem/bought.pem", "pem/bought.key", "tokens/tsig.key"] {
        let path = Path::new(FIXTURES).join(file);
        let beside = directory.path().join(path.file_name().unwrap());
        fs::copy(path, &beside).unwrap();
        fs::set_permissions(beside, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let key = directory.path().join("zerossl.key");
    fs::copy(Path::new(FIXTURES).join("tokens/hmac.token"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut examples = 0;
    for entry in fs::read_dir("examples").unwrap() {
        let entry = entry.unwrap();
        let beside = directory.path().join(entry.file_name());
        fs::copy(entry.path(), &beside).unwrap();
        match load(&beside) {
            Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}", loaded.warnings),
            Err(diagnostics) => panic!("{diagnostics}"),
        }
        examples += 1;
    }
    assert!(examples >= 3);
}

#[test]
fn every_provider_of_dns_01_means_what_it_says() {
    let everything = load("tests/fixtures/config/valid/everything.toml").unwrap();
    let dns = |issuer: &str| match &everything.config.issuers[issuer] {
        IssuerConfig::Acme(acme) => (acme.challenges.len(), *acme.dns.clone().unwrap()),
        other => panic!("{other:?}"),
    };
    let seconds = |issuer| (dns(issuer).0, dns(issuer).1.propagation_timeout.as_secs());
    assert_eq!([seconds("updates"), seconds("command")], [(1, 300), (2, 120)]);
    assert!(matches!(dns("updates").1.provider, DnsProvider::Rfc2136(found)
        if found.server.to_string() == "10.0.0.53:53" && found.tsig.name.as_str() == "certgate"
            && found.tsig.algorithm == HmacAlgorithm::Sha512 && found.tsig.key_file.ends_with("tokens/tsig.key")));
    assert!(matches!(dns("command").1.provider, DnsProvider::Exec(found)
        if found.raw && found.command.ends_with("dns.sh")));
    assert!(matches!(dns("delegated").1.provider, DnsProvider::AcmeDns(found)
        if found.server == "https://auth.example.org" && found.accounts_file.as_ref().is_some_and(|file| file.ends_with("acme-dns.json"))));
}

#[test]
fn every_key_means_what_it_says() {
    let config = load("tests/fixtures/config/valid/everything.toml")
        .unwrap()
        .config;
    assert_eq!(config.store.path, Path::new("/var/lib/certgate"));
    let checks = |name: &str| config.dns_checks(&CertificateName::parse(name).unwrap());
    for name in ["www", "www.rsa", "www.spare", "www.rsa.spare"] {
        assert_eq!(checks(name), (DnsChecks::Advisory, Some("team=web")), "{name}");
    }
    assert_eq!(
        checks("another"),
        (DnsChecks::Enforce, Some("certgate-verify=5f1c0a7e"))
    );
    let gateway = config.gateway.unwrap();
    assert_eq!(gateway.addresses.len(), 2);
    assert_eq!(gateway.hostname.unwrap().as_str(), "edge.example.net");
    assert_eq!(
        gateway
            .resolvers
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["127.0.0.1:53", "[2001:db8::53]:53"]
    );
    let corp = &gateway.name_servers["corp.example"];
    assert_eq!(
        corp.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.53:53", "10.0.1.53:5353"]
    );
    assert_eq!(
        (config.runtime.workers, config.runtime.drain_timeout),
        (2, Duration::from_secs(60))
    );
    assert_eq!(config.log.level, tracing::Level::DEBUG);
    assert_eq!(
        (config.log.format, config.log.connections),
        (LogFormat::Json, false)
    );
    assert_eq!(
        config.admin.socket.as_deref(),
        Some(Path::new("/run/certgate/admin.sock"))
    );
    assert_eq!(config.admin.addresses, ["0.0.0.0:9180".parse().unwrap()]);
    assert_eq!(config.admin.certificate.unwrap().as_str(), "www");
    assert_eq!(config.admin.client_ca.as_deref(), Some("partners"));
    let tokens = config.admin.tokens.iter();
    let tokens: Vec<_> = tokens.map(|token| (token.name.as_str(), token.rights)).collect();
    assert_eq!(
        tokens,
        [("admin", AdminRights::Operate), ("board", AdminRights::Read)]
    );
    let IssuerConfig::Acme(acme) = &config.issuers["letsencrypt"] else {
        panic!("{:?}", config.issuers)
    };
    assert_eq!(acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(acme.contact, ["mailto:ops@example.com"]);
    assert_eq!(acme.profile.as_deref(), Some("classic"));
    assert_eq!(acme.preferred_chain.as_deref(), Some("ISRG Root X1"));
    assert_eq!(acme.external_account.as_ref().unwrap().key_id, "kid-1");
    assert_eq!(acme.challenges, [ChallengeType::Http01, ChallengeType::TlsAlpn01]);
    let letsencrypt = DnsName::parse("letsencrypt.org").unwrap();
    assert_eq!(acme.caa_identities, std::slice::from_ref(&letsencrypt));
    assert_eq!(acme.known_caa_identity(), Some(letsencrypt));
    assert_eq!(
        acme.root_ca_file.as_deref(),
        Some(Path::new("tests/fixtures/config/valid/../pem/root.pem"))
    );
    let IssuerConfig::LocalCa(local) = &config.issuers["internal"] else {
        panic!("{:?}", config.issuers)
    };
    assert_eq!(local.common_name, "Example Internal CA");
    assert_eq!(local.permitted_domains.len(), 2);
    assert_eq!(local.certificate_lifetime, Duration::from_secs(12 * 3600));
    let [wiki, www, www_rsa, www_rsa_spare, www_spare] = &config.certificates[..] else {
        panic!("{:?}", config.certificates)
    };
    assert!(wiki.domains[1].is_wildcard());
    assert_eq!(www.domains[0].to_string(), "www.example.com");
    assert_eq!(www.issuers, ["letsencrypt", "internal"]);
    assert_eq!((www.key_type, www.reuse_key), (KeyType::EcdsaP256, true));
    assert_eq!(
        (www_rsa.name.as_str(), www_rsa.key_type),
        ("www.rsa", KeyType::Rsa2048)
    );
    assert_eq!(www_rsa.domains, www.domains);
    for (spare, primary) in [(www_spare, www), (www_rsa_spare, www_rsa)] {
        assert_eq!(spare.name, primary.name.spare().unwrap());
        assert_eq!(spare.spare_of.as_ref(), Some(&primary.name));
        assert_eq!(
            (&spare.issuers[..], spare.key_type),
            (&["reserve".to_owned()][..], primary.key_type)
        );
        assert_eq!(spare.domains, primary.domains);
    }
    assert_eq!(www.tags["team"], "web");
    let [bought] = &config.certificate_files[..] else {
        panic!("{:?}", config.certificate_files)
    };
    assert_eq!(bought.name, CertificateName::parse("bought").unwrap());
    assert!(bought.certificate_file.ends_with("bought.pem"));
    assert!(bought.key_file.as_ref().unwrap().ends_with("bought.key"));
    assert!(config.certificate_directories["sites"].ends_with("sites"));
    let partners = &config.ca_bundles["partners"];
    assert!(partners.files[0].ends_with("root.pem") && partners.crl_files[0].ends_with("root.crl"));
    assert!(
        partners
            .crls_pem
            .as_ref()
            .is_some_and(|crls| crls.contains("X509 CRL"))
    );
    assert_eq!(partners.crl_urls[1], "https://pki.example.com/other.crl");
    assert_eq!(partners.crl_refresh, Duration::from_secs(1800));
    let servers = &config.server_groups["app"].servers;
    let weights: Vec<_> = servers
        .iter()
        .map(|server| (server.address.as_str(), server.weight))
        .collect();
    assert_eq!(
        weights,
        [
            ("10.0.0.11:8080", 1),
            ("app2.internal:8080", 2),
            ("[2001:db8::1]:8080", 1)
        ]
    );
}

#[test]
fn every_key_of_a_listener_means_what_it_says() {
    let config = load("tests/fixtures/config/valid/everything.toml")
        .unwrap()
        .config;
    let web = &config.listeners["web"];
    assert_eq!(web.address, "0.0.0.0:443".parse().unwrap());
    assert_eq!(web.protocol, Protocol::Tls);
    let named = |name| CertificateSelector::Named(CertificateName::parse(name).unwrap());
    let sites = CertificateSelector::Directory("sites/".into());
    assert_eq!(
        web.certificates,
        [
            named("www"),
            named("www.rsa"),
            named("bought"),
            sites,
            named("wiki")
        ]
    );
    assert_eq!(web.unknown_sni, UnknownSni::Refuse);
    let on_demand = web.on_demand.as_ref().unwrap();
    assert_eq!(on_demand.ask.as_deref(), Some("http://127.0.0.1:9000/allowed"));
    assert_eq!(on_demand.names[0].to_string(), "*.shops.example.com");
    assert_eq!(
        on_demand.except,
        [DnsName::parse("internal.example.com").unwrap()]
    );
    assert_eq!(on_demand.issuers, ["letsencrypt"]);
    assert_eq!(on_demand.key_type, KeyType::EcdsaP384);
    let seconds = [on_demand.wait, on_demand.denied_ttl, on_demand.unused_after].map(|time| time.as_secs());
    assert_eq!(seconds, [5, 60, 60 * 86_400]);
    assert_eq!(
        (on_demand.max_asks_per_minute, on_demand.max_orders_per_hour),
        (100, 10)
    );
    assert_eq!(web.policy, "house");
    assert_eq!(web.alpn, [&b"h2"[..], b"http/1.1", b"http/1.0"]);
    assert_eq!(web.alpn_mismatch, AlpnMismatch::Continue);
    assert_eq!(
        web.authentication,
        Authentication::Mutual {
            client_ca: "partners".into()
        }
    );
    assert_eq!(web.server_group.as_deref(), Some("app"));
    let seconds = [web.idle_timeout, web.handshake_timeout, web.connect_timeout].map(|time| time.as_secs());
    assert_eq!(seconds, [600, 8, 2]);
    assert_eq!(web.max_connections, Some(100_000));
    assert_eq!(web.tags["env"], "prod");
}

#[test]
fn what_is_not_written_has_the_documented_default() {
    let config = load("tests/fixtures/config/valid/several-files").unwrap().config;
    assert_eq!(config.store.path, Path::new("./certgate-data"));
    assert_eq!(
        config.admin.socket.as_deref(),
        Some(Path::new("./certgate-data/admin.sock"))
    );
    assert!(config.gateway.is_none());
    assert_eq!(
        (config.runtime.workers, config.runtime.drain_timeout),
        (4, Duration::from_secs(30))
    );
    assert_eq!(config.log.level, tracing::Level::INFO);
    assert_eq!(
        (config.log.format, config.log.connections),
        (LogFormat::Text, true)
    );
    let IssuerConfig::LocalCa(local) = &config.issuers["internal"] else {
        panic!("{:?}", config.issuers)
    };
    assert_eq!(local.common_name, "certgate internal");
    assert_eq!(local.certificate_lifetime, Duration::from_secs(90 * 86_400));
    assert_eq!(config.certificates[0].key_type, KeyType::EcdsaP256);
    let web = &config.listeners["web"];
    assert_eq!(web.address, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8443)));
    assert_eq!(
        (web.unknown_sni, web.alpn_mismatch),
        (UnknownSni::Default, AlpnMismatch::Alert)
    );
    assert_eq!(
        (web.policy.as_str(), &web.authentication),
        ("intermediate", &Authentication::OneWay)
    );
    assert!(web.alpn.is_empty() && web.max_connections.is_none() && web.tags.is_empty());
    let seconds = [web.idle_timeout, web.handshake_timeout, web.connect_timeout].map(|time| time.as_secs());
    assert_eq!(seconds, [900, 10, 5]);
    let redirect = &config.listeners["redirect"];
    assert_eq!(redirect.protocol, Protocol::Http);
    assert!(redirect.certificates.is_empty() && redirect.server_group.is_none());
}

#[test]
fn the_named_alpn_lists_have_exactly_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("certgate.toml");
    let example = fs::read_to_string("examples/local-ca.toml").unwrap();
    for (name, protocols) in [
        ("HTTP1Only", &["http/1.1", "http/1.0"][..]),
        ("HTTP2Only", &["h2"]),
        ("HTTP2Optional", &["http/1.1", "http/1.0", "h2"]),
        ("HTTP2Preferred", &["h2", "http/1.1", "http/1.0"]),
        ("None", &[]),
    ] {
        fs::write(&file, format!("{example}alpn = \"{name}\"\n")).unwrap();
        let config = load(&file).unwrap().config;
        let protocols: Vec<_> = protocols.iter().map(|protocol| protocol.as_bytes()).collect();
        assert_eq!(config.listeners["app"].alpn, protocols, "{name}");
    }
}

#[test]
fn the_store_is_where_systemd_says_unless_the_file_says_otherwise() {
    let store = |path: &str, state_directory: &str| {
        let environment = Environment {
            state_directory: Some(OsStr::new(state_directory)),
            cores: 1,
        };
        config::load(&Path::new(FIXTURES).join(path), &environment)
            .unwrap()
            .config
            .store
            .path
    };
    assert_eq!(
        store("valid/smallest.toml", "/var/lib/certgate"),
        Path::new("/var/lib/certgate")
    );
    assert_eq!(
        store("valid/smallest.toml", "/var/lib/one:/var/lib/two"),
        Path::new("/var/lib/one")
    );
    assert_eq!(store("valid/smallest.toml", ""), Path::new("./certgate-data"));
    assert_eq!(
        store("valid/everything.toml", "/elsewhere"),
        Path::new("/var/lib/certgate")
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let diagnostics = load("no/such/certgate.toml").unwrap_err();
    assert_eq!(
        diagnostics.to_string(),
        "error[unreadable]: cannot read the configuration `no/such/certgate.toml`: there is no such file"
    );
}

/// Editors and CI read the parts rather than the picture.
#[test]
fn a_finding_can_be_taken_apart() {
    let diagnostics = load("tests/fixtures/config/broken/errors-and-warnings.toml").unwrap_err();
    assert_eq!(
        (
            diagnostics.count(Severity::Error),
            diagnostics.count(Severity::Warning)
        ),
        (1, 2)
    );
    let error = diagnostics
        .iter()
        .find(|found| found.severity() == Severity::Error)
        .unwrap();
    assert_eq!(error.code(), Code::MissingKey);
    assert_eq!(error.code().as_str(), "missing-key");
    let position = error.position().unwrap();
    assert_eq!((position.line, position.column), (20, 1));
    assert!(position.path.ends_with("errors-and-warnings.toml"));
    assert!(error.suggestion().unwrap().starts_with("add `client_ca`"));
}
