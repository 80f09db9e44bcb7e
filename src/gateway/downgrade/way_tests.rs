//! Servers that are reached with a client certificate only: who would lead there without one, and what is said of it.

use serde_json::{Value, json};

use super::place::MOST;
use super::tests::{Gateway, file, found, known, listener};
use super::*;
use crate::gateway::three_way::{FileResources, changes};

fn to(group: &str, authentication: &str, port: u16) -> Value {
    json!({ "authentication": authentication, "port": port, "server_group": group })
}

fn servers(addresses: &[&str]) -> Value {
    json!({ "servers": addresses })
}

fn written(tables: &[(String, Value)]) -> FileResources {
    file(tables.iter().map(|(name, keys)| (name.as_str(), keys.clone())))
}

fn web() -> (&'static str, Value) {
    ("listeners/web", to("app", "mutual", 1))
}

#[test]
fn a_listener_without_client_certificates_beside_a_mutual_one_is_a_downgrade_once_and_then_told() {
    let beside = ("listeners/web2", to("app", "one-way", 2));
    let (first, both, last) = (
        file([web()]),
        file([web(), beside.clone()]),
        file([beside.clone()]),
    );
    let mut gateway = Gateway::default();
    gateway.has(&first);
    let refused = gateway.refuses(&both);
    assert_eq!(
        refused,
        [
            "listener `web2` would lead to app.example:80 beside listener `web`, which has authentication `mutual` in force, and \
             the file says `one-way`"
        ]
    );
    gateway.has(&both);
    assert_eq!(gateway.refuses(&both), [""; 0], "once allowed it stays so");
    assert_eq!(gateway.refuses(&last), [""; 0], "it leads there already");
    assert_eq!(
        loosened(&known([web(), beside.clone()]), &known([beside.clone()])),
        [
            "listener `web`, which has authentication `mutual`, leads to app.example:80 no more; without a client certificate \
             listener `web2` goes on leading there"
        ]
    );
    // Two that were always there are nobody's business, and neither is one that guards.
    assert_eq!(
        loosened(&known([web(), beside.clone()]), &known([web(), beside])),
        [""; 0]
    );
    let guard = ("listeners/web2", to("app", "mutual", 2));
    assert_eq!(found(&known([web()]), &known([web(), guard.clone()])), []);
    assert_eq!(loosened(&known([web(), guard.clone()]), &known([guard])), [""; 0]);
}

#[test]
fn who_comes_by_another_mutual_listener_is_told_unless_one_of_them_let_it_in() {
    let mutual = |name: &'static str, bundle: &str, port: u16| {
        let mut keys = to("app", "mutual", port);
        keys["client_ca"] = json!(bundle);
        (name, keys)
    };
    let one = mutual("listeners/web", "one", 1);
    let bundles = [
        (
            "ca-bundles/one",
            json!({ "files": ["a.pem"], "crl_files": ["a.crl"] }),
        ),
        ("ca-bundles/two", json!({ "files": ["b.pem"] })),
        ("ca-bundles/both", json!({ "files": ["a.pem", "b.pem"] })),
    ];
    let all = |listeners: Vec<(&'static str, Value)>| known(listeners.into_iter().chain(bundles.clone()));
    let two = mutual("listeners/web2", "two", 2);
    let says = "listener `web2`: clients of CA file `b.pem` come to app.example:80 from now on";
    let (first, both) = (all(vec![one.clone()]), all(vec![one.clone(), two.clone()]));
    assert_eq!(loosened(&first, &both), [says], "beside it");
    assert_eq!(loosened(&first, &all(vec![two.clone()])), [says], "renamed");
    assert_eq!(loosened(&both, &both), [""; 0]);
    let unchecked = mutual("listeners/web2", "both", 2);
    let without =
        "listener `web2`: clients come without a look at CRL file `a.crl` to app.example:80 from now on";
    assert_eq!(
        loosened(&first, &all(vec![one.clone(), unchecked])),
        [without, says]
    );
    let three = mutual("listeners/web3", "two", 3);
    assert_eq!(
        loosened(&both, &all(vec![one, two, three])),
        [""; 0],
        "nobody new"
    );
}

#[test]
fn servers_are_known_by_their_addresses_whatever_everything_is_called() {
    let app = ("server-groups/app", servers(&["10.0.0.1:80", "10.0.0.2:80"]));
    let before = known([web(), app.clone()]);
    for (addresses, expected) in [
        (json!(["10.0.0.2:80"]), 1),
        (
            json!([{ "address": "[::ffff:10.0.0.1]:080", "weight": 2 }, "10.0.0.9:80"]),
            1,
        ),
        (json!(["10.0.0.1:81", "10.0.0.3:80"]), 0),
    ] {
        let shop = ("listeners/shop", to("house", "one-way", 2));
        let house = ("server-groups/house", json!({ "servers": addresses }));
        for after in [
            known([shop.clone(), house.clone()]),
            known([web(), app.clone(), shop.clone(), house.clone()]),
        ] {
            let found = found(&before, &after);
            assert_eq!(found.len(), expected, "{found:?}");
        }
    }
}

#[test]
fn a_way_is_opened_by_another_group_by_another_server_in_it_and_by_a_listener_switched_on() {
    let app = ("server-groups/app", servers(&["10.0.0.1:80"]));
    let public = ("server-groups/public", servers(&["10.0.0.2:80"]));
    let open = |group: &str, enabled: bool| {
        let mut keys = to(group, "one-way", 2);
        keys["enabled"] = json!(enabled);
        ("listeners/open", keys)
    };
    let both = ("server-groups/public", servers(&["10.0.0.2:80", "10.0.0.1:80"]));
    let all = |group: &(&'static str, Value), open: (&'static str, Value)| {
        file([web(), app.clone(), group.clone(), open])
    };
    for (before, after) in [
        (
            all(&public, open("public", true)),
            all(&public, open("app", true)),
        ),
        (
            all(&public, open("public", true)),
            all(&both, open("public", true)),
        ),
        (
            all(&both, open("public", false)),
            all(&both, open("public", true)),
        ),
    ] {
        let mut gateway = Gateway::default();
        gateway.has(&before);
        assert_eq!(gateway.refuses(&after).len(), 1, "{after:?}");
        // A start leaves it where it led, and is no reason to forget the difference.
        gateway.starts(&after);
        let keys = gateway.keys("open").expect("it is there");
        assert_eq!((keys["enabled"] == json!(true), demand(keys)), {
            let was = before[&listener_id("open")]["enabled"] == json!(true);
            (was, "one-way".to_owned())
        });
        let led = ways::Ways::of(&gateway.records);
        assert!(!led.is_open("10.0.0.1:80"), "{after:?}");
        assert!(!changes(&gateway.records, &after).is_empty());
        assert_eq!(gateway.refuses(&after).len(), 1);
        gateway.has(&after);
        assert_eq!(gateway.refuses(&after), [""; 0]);
    }
}

#[test]
fn a_new_listener_beside_a_mutual_one_asks_the_same_at_a_start() {
    let mut gateway = Gateway::default();
    gateway.has(&file([web()]));
    let later = file([web(), ("listeners/web2", to("app", "one-way", 2))]);
    gateway.starts(&later);
    assert_eq!(gateway.keys("web2").map(demand).as_deref(), Some("mutual"));
    // For itself, as it is mutual by now, and beside the other one.
    assert_eq!(gateway.refuses(&later).len(), 2);
}

#[test]
fn servers_of_a_listener_that_has_gone_are_remembered_until_each_was_let_to_another() {
    let app = ("server-groups/app", servers(&["10.0.0.1:80", "10.0.0.2:80"]));
    let to_one = |name: &'static str, group: &'static str, port: u16, address: &str| {
        let name = format!("listeners/{name}");
        let listener = (name, to(group, "one-way", port));
        let group = (format!("server-groups/{group}"), servers(&[address]));
        [listener, group]
    };
    let one = to_one("one", "first", 2, "10.0.0.1:80");
    let two = to_one("two", "second", 3, "10.0.0.2:80");
    let mut gateway = Gateway::default();
    gateway.has(&file([web(), app]));
    gateway.has(&file([]));
    let refused = gateway.refuses(&written(&one));
    assert!(
        refused.len() == 1 && refused[0].contains("would lead to 10.0.0.1:80 instead of listener `web`"),
        "{refused:?}"
    );
    gateway.has(&written(&one));
    let both = [one, two].concat();
    assert_eq!(gateway.refuses(&written(&both)).len(), 1);
    gateway.has(&written(&both));
    assert_eq!(gateway.left.len(), 0);
}

#[test]
fn of_more_places_than_anybody_needs_those_left_first_are_forgotten() {
    let mut gateway = Gateway::default();
    let last = u16::try_from(MOST).expect("a port") + 2;
    for port in 1..=last {
        gateway.now = i64::from(port);
        gateway.has(&file([("listeners/web", listener("mutual", port))]));
    }
    assert_eq!(gateway.left.len(), MOST);
    let shop = |port| file([("listeners/shop", listener("one-way", port))]);
    assert_eq!(gateway.refuses(&shop(1)), [""; 0]);
    assert_eq!(gateway.refuses(&shop(2)).len(), 1);
    assert_eq!(gateway.refuses(&shop(last - 1)).len(), 1);
}
