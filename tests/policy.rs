//! Policies of one's own, as the configuration makes them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use certgate::config::{self, Config, Diagnostics, Environment};
use certgate::policy::{Policy, Rules, built_in};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn load(path: &Path) -> Result<Config, Diagnostics> {
    let environment = Environment {
        state_directory: None,
        cores: 1,
    };
    config::load(path, &environment).map(|loaded| loaded.config)
}

/// A configuration with `policies`, whose listener has the one called `house`.
fn with_policies(policies: &str) -> Result<Config, Diagnostics> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certgate.toml");
    let text = format!(
        "issuers.internal.kind = \"local-ca\"\n\
         certificates.www = {{ domains = [\"www.example.com\"], issuer = \"internal\" }}\n\
         server_groups.app.servers = [\"127.0.0.1:8080\"]\n\
         [listeners.web]\nport = 443\ncertificates = [\"www\"]\nserver_group = \"app\"\npolicy = \"house\"\n\
         {policies}"
    );
    fs::write(&path, text).unwrap();
    load(&path)
}

fn rules(policies: &str) -> Result<Rules, Diagnostics> {
    with_policies(policies).map(|config| config.policies["house"].rules().clone())
}

fn suites(policy: &Policy) -> Vec<&'static str> {
    policy.cipher_suites().collect()
}

#[test]
fn every_key_of_a_policy_means_what_it_says() {
    let config = load(Path::new("tests/fixtures/config/valid/everything.toml")).unwrap();
    let house = config.policy("house").unwrap();
    assert_eq!(house.name(), "house");
    assert_eq!(house.why().policy, "Our auditors allow nothing else.");
    let versions: Vec<_> = house
        .protocol_versions()
        .iter()
        .map(|version| version.version)
        .collect();
    assert_eq!(
        versions,
        [rustls::ProtocolVersion::TLSv1_3, rustls::ProtocolVersion::TLSv1_2]
    );
    assert_eq!(
        suites(house),
        [
            "TLS13_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
        ]
    );
    assert_eq!(
        house.groups().collect::<Vec<_>>(),
        ["secp256r1MLKEM768", "secp256r1"]
    );
    assert!(house.ignore_client_order());
    assert!(house.post_quantum_provider().is_some());
}

#[test]
fn what_a_policy_does_not_say_is_as_in_the_one_it_extends() {
    let config = with_policies(
        "[policies.house]\nextends = \"later\"\nversions = [\"TLSv1.2\"]\n\
         [policies.later]\nextends = \"post-quantum-preferred\"\nignore_client_order = true\n",
    )
    .unwrap();
    let base = built_in("post-quantum-preferred").unwrap();
    let later = &config.policies["later"];
    assert_eq!(suites(later), suites(base));
    assert_eq!(later.rules().groups.len(), base.rules().groups.len());
    assert!(later.ignore_client_order() && later.rules().prefer_post_quantum);
    assert_eq!(later.why().cipher_suites, base.why().cipher_suites);
    assert_eq!(later.why().ignore_client_order, "");

    let house = &config.policies["house"];
    let tls12: Vec<_> = suites(base)
        .into_iter()
        .filter(|suite| suite.starts_with("TLS_"))
        .collect();
    assert_eq!(suites(house), tls12);
    assert_eq!(
        house.groups().collect::<Vec<_>>(),
        ["X25519", "secp256r1", "secp384r1"]
    );
    assert!(house.ignore_client_order() && !house.rules().prefer_post_quantum);
}

#[test]
fn a_long_chain_of_policies_is_read_as_well_as_a_short_one() {
    let mut text = String::from("[policies.house]\nextends = \"p0\"\n");
    for number in 0..5000 {
        writeln!(text, "[policies.p{number}]\nextends = \"p{}\"", number + 1).unwrap();
    }
    text.push_str("[policies.p5000]\nextends = \"modern\"\n");
    assert_eq!(rules(&text).unwrap(), *built_in("modern").unwrap().rules());
}

#[test]
fn the_schema_completes_suites_and_groups() {
    let schema = config::json_schema().to_string();
    for name in [
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "X25519MLKEM768",
        "TLSv1.3",
    ] {
        assert!(schema.contains(&format!("{name:?}")), "{name}");
    }
}

/// The lists of a policy as they would be written.
#[derive(Clone, Debug, Default)]
struct Written {
    versions: Option<Vec<&'static str>>,
    cipher_suites: Option<Vec<&'static str>>,
    groups: Option<Vec<&'static str>>,
    ignore_client_order: Option<bool>,
}

impl Written {
    fn of(policy: &Policy) -> Self {
        let versions = policy.protocol_versions().iter();
        let version = |version: &&rustls::SupportedProtocolVersion| match version.version {
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLSv1.2",
        };
        Self {
            versions: Some(versions.map(version).collect()),
            cipher_suites: Some(suites(policy)),
            groups: Some(policy.groups().collect()),
            ignore_client_order: Some(policy.ignore_client_order()),
        }
    }

    /// What is not written here is taken over from `base`, as far as the versions use it.
    fn over(self, base: Self) -> Self {
        let versions = self.versions.or(base.versions).unwrap();
        let (new, old) = (versions.contains(&"TLSv1.3"), versions.contains(&"TLSv1.2"));
        let suite = |name: &&str| if name.starts_with("TLS13_") { new } else { old };
        let group = |name: &&str| new || !name.contains("MLKEM");
        let cut = |list: Option<Vec<_>>, keep: &dyn Fn(&&str) -> bool| -> Option<Vec<_>> {
            Some(list?.into_iter().filter(|name| keep(name)).collect())
        };
        Self {
            cipher_suites: self.cipher_suites.or_else(|| cut(base.cipher_suites, &suite)),
            groups: self.groups.or_else(|| cut(base.groups, &group)),
            versions: Some(versions),
            ignore_client_order: self.ignore_client_order.or(base.ignore_client_order),
        }
    }

    fn text(&self, extends: Option<&str>) -> String {
        let mut text = String::from("[policies.house]\n");
        if let Some(base) = extends {
            writeln!(text, "extends = {base:?}").unwrap();
        }
        for (key, list) in [
            ("versions", &self.versions),
            ("cipher_suites", &self.cipher_suites),
            ("groups", &self.groups),
        ] {
            if let Some(list) = list {
                writeln!(text, "{key} = {list:?}").unwrap();
            }
        }
        if let Some(ignore) = self.ignore_client_order {
            writeln!(text, "ignore_client_order = {ignore}").unwrap();
        }
        text
    }
}

fn some_of(
    of: &'static str,
    list: fn(&Policy) -> Vec<&'static str>,
) -> impl Strategy<Value = Option<Vec<&'static str>>> {
    let all = list(built_in(of).unwrap());
    let most = all.len();
    proptest::option::of(subsequence(all, 1..=most).prop_shuffle())
}

fn written() -> impl Strategy<Value = Written> {
    let of = "post-quantum-preferred";
    let versions = some_of(of, |policy| Written::of(policy).versions.unwrap());
    let suites = some_of(of, suites);
    let groups = some_of(of, |policy| policy.groups().collect());
    (versions, suites, groups, any::<Option<bool>>()).prop_map(
        |(versions, cipher_suites, groups, ignore_client_order)| Written {
            versions,
            cipher_suites,
            groups,
            ignore_client_order,
        },
    )
}

proptest! {
    #[test]
    fn a_policy_by_extends_equals_the_same_written_out(
        base in select(vec!["intermediate", "modern", "gcm-only", "post-quantum-required", "ELBSecurityPolicy-FS-1-2-Res-2020-10"]),
        own in written(),
    ) {
        let whole = own.clone().over(Written::of(built_in(base).unwrap()));
        match (rules(&own.text(Some(base))), rules(&whole.text(None))) {
            (Ok(extended), Ok(written)) => prop_assert_eq!(extended, written),
            (Err(_), Err(_)) => {}
            (extended, written) => prop_assert!(false, "{extended:?}\n{written:?}\n{}", whole.text(None)),
        }
    }
}
