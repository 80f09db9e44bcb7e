//! What a crash has left in a zone when the issuer that has put it there has gone from the file meanwhile, or cannot
//! reach the zone any more.

use certgate::admin::api::Status;

use super::killed::{killed, without_an_order};
use super::{OWNER, Pair, Scene, ZONE};
use crate::gateway::{Gateway, run};
use crate::support::primary::{Kind, Primary};
use crate::support::secondary::Secondary;

/// A zone with two records of a life that was killed; the file of that life; and the lines for them in zone-file form.
struct Left {
    scene: Scene,
    primary: Primary,
    _lagging: Secondary,
    config: String,
    lines: Vec<String>,
}

impl Left {
    async fn new() -> Self {
        let pair = Pair::new(Kind::Bind);
        let config = pair.config("").await;
        let Pair {
            primary,
            lagging,
            scene,
        } = pair;
        killed(&scene, &config, OWNER, &[&primary]).await;
        let texts = primary.texts(OWNER).into_iter();
        Self {
            scene,
            primary,
            _lagging: lagging,
            config,
            lines: texts.map(|text| format!("{OWNER}. IN TXT \"{text}\"")).collect(),
        }
    }

    /// The file without the issuer that has put the records there.
    fn orphaned(&self) -> String {
        let config = without_an_order(&self.config);
        let (before, rest) = config.split_once("[issuers.pebble]").expect("an issuer");
        let (_, after) = rest.split_once("[certificates.www]").expect("a certificate");
        format!("{before}[certificates.www]{after}")
    }

    /// The line of the issuer with the provider's settings.
    fn issuer(&self, name: &str) -> String {
        let (_, rest) = self.config.split_once("[issuers.pebble]").expect("an issuer");
        let (issuer, _) = rest.split_once("[certificates.www]").expect("a certificate");
        format!("[issuers.{name}]{issuer}")
    }

    /// How often `status` tells of each record.
    fn told(&self, status: &Status) -> Vec<usize> {
        let count = |line: &String| {
            let warnings = status.warnings.iter();
            warnings.filter(|warning| warning.contains(line.as_str())).count()
        };
        self.lines.iter().map(count).collect()
    }

    async fn reload(&self, gateway: &Gateway, config: &str) {
        self.scene.home.configure(config);
        gateway.signal("HUP");
    }

    async fn is_told(&self, gateway: &Gateway) -> Status {
        let told = |status: &Status| self.told(status) == [1, 1];
        gateway.status_until("tells of both records", told).await
    }

    async fn is_no_longer_told(&self, gateway: &Gateway) {
        let told = |status: &Status| self.told(status) == [0, 0];
        gateway.status_until("tells of them no more", told).await;
    }
}

#[tokio::test]
async fn records_of_an_issuer_that_is_gone_are_shown_until_another_with_the_same_provider_removes_them() {
    let left = Left::new().await;
    let orphaned = left.orphaned();
    let gateway = left.scene.home.start(&orphaned).await;
    let status = left.is_told(&gateway).await;
    let provider = format!("updates of {} with the key `certgate`", left.primary.address());
    let warning = status
        .warnings
        .iter()
        .find(|warning| warning.contains(&left.lines[0]));
    let warning = warning.expect("just seen");
    for part in ["`pebble`", "zone example.test", provider.as_str()] {
        assert!(warning.contains(part), "{warning}");
    }
    let socket = gateway.socket().display().to_string();
    let (_, shown, _) = run(&["status", "--admin", &socket]).await;
    assert!(left.lines.iter().all(|line| shown.contains(line)), "{shown}");
    assert_eq!(left.primary.texts(OWNER).len(), 2);

    let successor = orphaned + &left.issuer("successor");
    left.reload(&gateway, &successor).await;
    left.primary.texts_become(OWNER, 0).await;
    left.is_no_longer_told(&gateway).await;
}

#[tokio::test]
async fn records_of_an_issuer_that_is_gone_are_removed_when_it_is_back() {
    let left = Left::new().await;
    let gateway = left.scene.home.start(&left.orphaned()).await;
    left.is_told(&gateway).await;
    assert!(gateway.terminate().await.success());
    assert_eq!(left.primary.texts(OWNER).len(), 2);
    let gateway = left.scene.home.start(&without_an_order(&left.config)).await;
    left.primary.texts_become(OWNER, 0).await;
    left.is_no_longer_told(&gateway).await;
}

#[tokio::test]
async fn a_record_that_was_removed_by_hand_is_shown_no_more() {
    let left = Left::new().await;
    let orphaned = left.orphaned();
    let gateway = left.scene.home.start(&orphaned).await;
    left.is_told(&gateway).await;
    left.primary.change(ZONE, &format!("delete {OWNER}. TXT"));
    left.primary.texts_become(OWNER, 0).await;
    left.reload(&gateway, &orphaned).await;
    left.is_no_longer_told(&gateway).await;
}

#[tokio::test]
async fn records_that_the_server_does_not_let_go_are_shown_with_the_reason_until_it_does() {
    let left = Left::new().await;
    let right = without_an_order(&left.config);
    let (key, wrong) = (left.primary.key_file(), left.primary.wrong_key_file());
    let refused = right.replace(&format!("{key:?}"), &format!("{wrong:?}"));
    let gateway = left.scene.home.start(&refused).await;
    let status = left.is_told(&gateway).await;
    let reason = format!(
        "{} refuses the update of the zone example.test",
        left.primary.address()
    );
    assert!(
        status.warnings.iter().any(|warning| warning.contains(&reason)),
        "{:?}",
        status.warnings
    );
    left.reload(&gateway, &right).await;
    left.primary.texts_become(OWNER, 0).await;
    left.is_no_longer_told(&gateway).await;
}
