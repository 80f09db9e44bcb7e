//! What the tables of hooks and exports mean.

use std::time::Duration;

use certgate::certificate::CertificateName;
use certgate::config::{CertificateSelector, Fraction, HookEvent, HookTarget};

use crate::load;

#[test]
fn every_key_of_a_hook_and_of_an_export_means_what_it_says() {
    let config = load("tests/fixtures/config/valid/everything.toml")
        .unwrap()
        .config;
    let fractions: Vec<_> = config.expiring.iter().map(Fraction::to_string).collect();
    assert_eq!(fractions, ["1/2", "1/4"]);
    let www = CertificateName::parse("www").unwrap();

    let deploy = &config.hooks["deploy"];
    let HookTarget::Command(command) = &deploy.target else {
        panic!("{deploy:?}");
    };
    assert_eq!(command.to_string(), "/usr/local/bin/deploy --quiet");
    assert_eq!(deploy.events, [HookEvent::Obtained, HookEvent::Renewed]);
    let sites = CertificateSelector::Directory("sites/".to_owned());
    // Both kinds of its key.
    let www_rsa = CertificateName::parse("www.rsa").unwrap();
    let named = CertificateSelector::Named;
    assert_eq!(deploy.certificates, [named(www.clone()), named(www_rsa), sites]);
    assert_eq!((deploy.timeout, deploy.attempts), (Duration::from_secs(90), 3));

    let pager = &config.hooks["pager"];
    let HookTarget::Webhook(webhook) = &pager.target else {
        panic!("{pager:?}");
    };
    assert_eq!(webhook.url, "https://pager.example.com/certgate");
    assert!(
        webhook
            .secret_file
            .as_ref()
            .unwrap()
            .ends_with("tokens/pager.token")
    );
    assert!(webhook.root_ca_file.as_ref().unwrap().ends_with("pem/root.pem"));
    // What is not written.
    assert_eq!(pager.events, HookEvent::ALL);
    assert!(pager.certificates.is_empty());
    assert_eq!((pager.timeout, pager.attempts), (Duration::from_secs(10), 10));

    let [export] = &config.exports[&www][..] else {
        panic!("{:?}", config.exports);
    };
    assert_eq!(export.directory.to_str(), Some("/etc/ssl/www"));
    assert_eq!((export.owner, export.group), (Some(0), Some(0)));
    assert_eq!((export.mode, export.key_mode), (0o644, 0o640));
    assert_eq!(
        export.command.as_ref().unwrap().to_string(),
        "systemctl reload nginx"
    );
    assert_eq!(export.timeout, Duration::from_secs(120));
}
