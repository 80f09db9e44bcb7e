//! A zone with two servers, and a resolver.

use std::collections::BTreeMap;

use certgate::config::{ChallengeType, GatewayConfig};
use certgate::dns::{
    CaIdentity, Conditions, DnsChecker, DomainVerdict, Door, Doors, RecordType, Row, RowState,
};
use certgate::name::{DnsName, NamePattern};

use crate::support::name_server::NameServer;
use crate::{NOW, OURS, OURS_V6};

/// The name that most is about.
pub(crate) const WWW: &str = "www.example.com";

/// The gateway's account at the CA.
const ACCOUNT: &str = "https://ca.example/acct/7";

/// Two servers of `example.com` and one resolver.
pub(crate) struct World {
    pub(crate) ns1: NameServer,
    pub(crate) ns2: NameServer,
    pub(crate) resolver: NameServer,
    pub(crate) ownership: Option<&'static str>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let world = Self {
            ns1: NameServer::authority(11).await,
            ns2: NameServer::authority(12).await,
            resolver: NameServer::resolver(13).await,
            ownership: None,
        };
        for record in [
            "example.com NS ns1.example.com",
            "example.com NS ns2.example.com",
            "ns1.example.com A 127.0.0.11",
            "ns2.example.com A 127.0.0.12",
        ] {
            world.add(record);
        }
        world
    }

    /// Everybody knows the records.
    pub(crate) async fn with(records: &[&str]) -> Self {
        let world = Self::new().await;
        for record in records {
            world.add(record);
        }
        world
    }

    pub(crate) fn add(&self, record: &str) {
        for server in [&self.ns1, &self.ns2, &self.resolver] {
            server.add(record);
        }
    }

    pub(crate) fn gateway(&self) -> GatewayConfig {
        let zone = DnsName::parse("example.com").unwrap();
        GatewayConfig {
            addresses: vec![OURS.parse().unwrap(), OURS_V6.parse().unwrap()],
            hostname: Some(DnsName::parse("edge.example.com").unwrap()),
            resolvers: vec![self.resolver.address()],
            name_servers: BTreeMap::from([(zone, vec![self.ns1.address(), self.ns2.address()])]),
            ..GatewayConfig::default()
        }
    }

    /// The two servers as messages have them.
    pub(crate) fn shown(&self) -> [String; 2] {
        [("ns1", &self.ns1), ("ns2", &self.ns2)]
            .map(|(name, server)| format!("{name}.example.com ({})", server.address()))
    }

    pub(crate) fn conditions(&self) -> Conditions {
        Conditions {
            ca: Some(CaIdentity {
                domains: vec!["ca.example".to_owned()],
                account: Some(ACCOUNT.to_owned()),
            }),
            challenges: Some(vec![ChallengeType::TlsAlpn01, ChallengeType::Http01]),
            doors: Doors {
                http: Door::Standard,
                tls: Door::Standard,
            },
            ownership: self.ownership.map(ToOwned::to_owned),
            off: false,
            advisory: false,
        }
    }

    pub(crate) async fn check(&self) -> DomainVerdict {
        self.check_name(WWW).await
    }

    pub(crate) async fn check_name(&self, name: &str) -> DomainVerdict {
        let found = self.examine(name, &self.conditions()).await;
        rows_agree(&found);
        found
    }

    /// The same under other conditions.
    pub(crate) async fn examine(&self, name: &str, conditions: &Conditions) -> DomainVerdict {
        let checker = DnsChecker::new(Some(&self.gateway()));
        let names = [NamePattern::parse(name).unwrap()];
        let mut verdicts = checker.check_all(&names, conditions, NOW).await;
        verdicts.pop().unwrap()
    }
}

/// What the rows show is what the verdict says.
fn rows_agree(found: &DomainVerdict) {
    let any = |states: &[RowState], is_meant: &dyn Fn(&Row) -> bool| {
        let mut rows = found.rows.iter();
        rows.any(|row| is_meant(row) && states.contains(&row.state))
    };
    let bad = [RowState::Missing, RowState::Unknown, RowState::Wrong];
    let is_go = found.verdict.allows_order();
    assert_eq!(is_go, !any(&bad, &|_| true), "{found}\n{:#?}", found.rows);
    let is_caa = |row: &Row| row.record == RecordType::Caa;
    let is_for_caa = found.reason_text.contains("CAA records");
    assert_eq!(
        is_for_caa,
        any(&[RowState::Wrong], &is_caa),
        "{found}\n{:#?}",
        found.rows
    );
    assert!(
        !(is_for_caa && any(&[RowState::Right], &is_caa)),
        "{found}\n{:#?}",
        found.rows
    );
}
