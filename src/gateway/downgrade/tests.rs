//! Which downgrades are found, what is remembered of them, and what a start does about them.

use serde_json::{Value, json};

use super::*;
use crate::config::RuntimeChanges;
use crate::gateway::three_way::{FileResources, apply, changes};
use crate::inventory::LeftPlaces;

fn object(keys: Value) -> ResourceTable {
    match keys {
        Value::Object(table) => table,
        other => panic!("no table: {other}"),
    }
}

/// Resources by what they are called, as a file says them. A server group that it only names has one server, called so.
pub(super) fn file<'n>(tables: impl IntoIterator<Item = (&'n str, Value)>) -> FileResources {
    let id = |name: &str| ResourceId::try_from(name.to_owned()).expect("a name");
    let tables = tables.into_iter();
    let mut file: FileResources = tables.map(|(name, keys)| (id(name), object(keys))).collect();
    let groups: Vec<_> = file.values().filter_map(ways::group_id).collect();
    for group in groups {
        let servers = json!({ "servers": [format!("{}.example:80", group.name)] });
        file.entry(group).or_insert_with(|| object(servers));
    }
    file
}

/// What is known once such a file has been applied.
pub(super) fn known<'n>(tables: impl IntoIterator<Item = (&'n str, Value)>) -> ResourceRecords {
    apply(&ResourceRecords::new(), &file(tables))
}

pub(super) fn listener(authentication: &str, port: u16) -> Value {
    json!({ "authentication": authentication, "port": port })
}

pub(super) fn found(before: &ResourceRecords, after: &ResourceRecords) -> Vec<Downgrade> {
    let (records, left) = (before, &LeftPlaces::new());
    downgrades(ResourceState { records, left }, after)
}

/// What is known of a gateway over time.
#[derive(Default)]
pub(super) struct Gateway {
    pub(super) records: ResourceRecords,
    pub(super) left: LeftPlaces,
    /// What time it is, in seconds.
    pub(super) now: i64,
}

impl Gateway {
    fn state(&self) -> ResourceState<'_> {
        ResourceState {
            records: &self.records,
            left: &self.left,
        }
    }

    pub(super) fn refuses(&self, tables: &FileResources) -> Vec<String> {
        let after = apply(&self.records, tables);
        let found = downgrades(self.state(), &after).into_iter();
        found.map(|found| found.to_string()).collect()
    }

    /// Applies a file, allowed to or not.
    pub(super) fn has(&mut self, tables: &FileResources) {
        let after = apply(&self.records, tables);
        self.left = left_places(self.state(), &after, Timestamp::from_unix_seconds(self.now));
        self.records = after;
    }

    pub(super) fn starts(&mut self, tables: &FileResources) {
        let mut after = apply(&self.records, tables);
        keep_authentication(self.state(), &mut after);
        self.left = left_places(self.state(), &after, Timestamp::from_unix_seconds(self.now));
        self.records = after;
    }

    pub(super) fn keys(&self, name: &str) -> Option<&ResourceTable> {
        super::listener(&self.records, name)
    }
}

#[test]
fn less_authentication_is_found_and_more_is_not() {
    let words = ["one-way", "observe", "mutual"];
    for (strict, before) in words.iter().enumerate() {
        for (wanted, after) in words.iter().enumerate() {
            let web = |word, port| known([("listeners/web", listener(word, port))]);
            let found = found(&web(before, 1), &web(after, 2));
            assert_eq!(!found.is_empty(), wanted < strict, "{before} to {after}");
        }
    }
    let silent = known([("listeners/web", json!({ "port": 1 }))]);
    let found = found(&known([("listeners/web", listener("mutual", 1))]), &silent);
    let wanted = "one-way".to_owned();
    assert_eq!(found[0].loss, Loss::Authentication { wanted });
}

#[test]
fn a_weaker_listener_that_was_beside_a_stricter_one_is_no_downgrade_until_it_gets_weaker() {
    let local = |beside: &str| ("listeners/local", listener(beside, 1));
    let side_by_side = |beside: &str| known([("listeners/web", listener("mutual", 1)), local(beside)]);
    let before = side_by_side("observe");
    assert_eq!(found(&before, &side_by_side("observe")), []);
    assert_eq!(found(&before, &side_by_side("mutual")), []);
    assert_eq!(found(&before, &side_by_side("one-way")).len(), 2);
    // Whoever was let in by the stricter one comes to the other then.
    assert_eq!(found(&before, &known([local("observe")])).len(), 1);
    let switched = |web: bool, local: bool| {
        let keys = |authentication: &str, enabled: bool| json!({ "authentication": authentication, "port": 1, "enabled": enabled });
        let web = ("listeners/web", keys("mutual", web));
        known([web, ("listeners/local", keys("observe", local))])
    };
    for (before, after, expected) in [
        ((true, true), (false, true), 1),
        ((false, true), (true, true), 0),
        ((true, false), (true, true), 1),
        ((true, true), (true, false), 0),
    ] {
        let found = found(&switched(before.0, before.1), &switched(after.0, after.1));
        assert_eq!(found.len(), expected, "{before:?} to {after:?}");
    }
}

#[test]
fn a_downgrade_is_found_however_a_place_is_written_and_in_what_belongs_to_authentication() {
    let mutual = json!({ "address": "127.0.0.1", "port": 443, "authentication": "mutual" });
    let listed =
        json!({ "port": 443, "authentication": "mutual", "allow_clients": { "dns": ["a.example"] } });
    let accepting = json!({ "port": 443, "authentication": "mutual", "expired_crl": "accept" });
    for (before, name, after, expected) in [
        (
            &mutual,
            "shop",
            json!({ "address": "0.0.0.0", "port": 443 }),
            true,
        ),
        (&mutual, "shop", json!({ "address": "::", "port": 443 }), true),
        (
            &mutual,
            "shop",
            json!({ "address": "::ffff:127.0.0.1", "port": 443 }),
            true,
        ),
        (&mutual, "shop", json!({ "port": 443 }), true),
        (&mutual, "shop", json!({ "port": 444 }), false),
        (
            &mutual,
            "shop",
            json!({ "address": "127.0.0.2", "port": 443 }),
            false,
        ),
        (
            &mutual,
            "web",
            json!({ "address": "127.0.0.2", "port": 8443 }),
            true,
        ),
        (&mutual, "shop", listener("mutual", 443), false),
        (&listed, "web", listener("mutual", 443), true),
        (&mutual, "web", accepting, true),
    ] {
        let after = known([(format!("listeners/{name}").as_str(), after)]);
        let found = found(&known([("listeners/web", before.clone())]), &after);
        assert_eq!(!found.is_empty(), expected, "{before} {name} {after:?}");
    }
}

#[test]
fn a_place_that_a_mutual_listener_has_left_is_kept_from_a_weaker_one_until_that_is_allowed() {
    let web =
        json!({ "address": "127.0.0.1", "port": 443, "authentication": "mutual", "server_group": "app" });
    let shop = |keys: Value| file([("listeners/shop", keys)]);
    for (later, refused) in [
        (json!({ "address": "127.0.0.1", "port": 443 }), true),
        (
            json!({ "address": "0.0.0.0", "port": 443, "authentication": "observe" }),
            true,
        ),
        (json!({ "port": 443, "protocol": "http" }), true),
        (json!({ "port": 444, "server_group": "app" }), true),
        (json!({ "port": 444, "server_group": "other" }), false),
        (json!({ "address": "127.0.0.2", "port": 443 }), false),
        (listener("mutual", 443), false),
    ] {
        let mut gateway = Gateway::default();
        gateway.has(&file([("listeners/web", web.clone())]));
        gateway.has(&file([]));
        // Whatever else is applied meanwhile.
        gateway.has(&file([("server-groups/more", json!({}))]));
        let found = gateway.refuses(&shop(later.clone()));
        assert_eq!(!found.is_empty(), refused, "{later}: {found:?}");
        let says = ["`shop`", "`web`", "`mutual`", "1970-01-01T00:00:00Z"];
        assert!(
            found
                .iter()
                .all(|line| says.iter().all(|part| line.contains(part))),
            "{found:?}"
        );

        gateway.has(&shop(later.clone()));
        assert_eq!(
            gateway.refuses(&shop(later.clone())),
            [""; 0],
            "once allowed it stays so"
        );
        let settled = refused || listener("mutual", 443) == later;
        assert_eq!(gateway.left.is_empty(), settled, "{later}");
    }
    // By its own name it is the same listener, wherever it comes back.
    let mut gateway = Gateway::default();
    gateway.has(&file([("listeners/web", web)]));
    gateway.has(&file([]));
    let back = file([("listeners/web", json!({ "port": 8443 }))]);
    assert_eq!(gateway.refuses(&back).len(), 1);
}

#[test]
fn a_place_is_left_by_moving_too_and_who_has_a_part_of_it_does_not_guard_the_rest() {
    let mut gateway = Gateway::default();
    gateway.has(&file([("listeners/web", listener("mutual", 443))]));
    gateway.has(&file([("listeners/web", listener("mutual", 8443))]));
    let part = json!({ "address": "127.0.0.1", "port": 443, "authentication": "mutual" });
    let both = |more: Vec<(&'static str, Value)>| {
        let web = ("listeners/web", listener("mutual", 8443));
        file([web, ("listeners/part", part.clone())].into_iter().chain(more))
    };
    gateway.has(&both(Vec::new()));
    let rest = json!({ "address": "127.0.0.2", "port": 443 });
    assert_eq!(gateway.refuses(&both(vec![("listeners/shop", rest)])).len(), 1);
    gateway.has(&file([("listeners/web", listener("mutual", 443))]));
    // The place that it came back from is left now.
    assert_eq!(gateway.left.keys().collect::<Vec<_>>(), ["8443/::"]);
}

#[test]
fn one_that_was_let_into_a_part_of_a_place_stays_there_and_hinders_nothing() {
    let web = json!({ "authentication": "mutual", "client_ca": "partners", "port": 443 });
    let part = |authentication: &str, bundle: &str| {
        let keys = json!({ "address": "127.0.0.1", "port": 443, "authentication": authentication, "client_ca": bundle });
        ("listeners/part", keys)
    };
    let bundles = |listeners: Vec<(&'static str, Value)>| {
        let bundle = |name| (name, json!({ "files": [format!("{name}.pem")] }));
        let bundles = ["ca-bundles/partners", "ca-bundles/staff"].map(bundle);
        file(bundles.into_iter().chain(listeners))
    };
    let beside = bundles(vec![part("mutual", "staff")]);
    for was_there in [true, false] {
        let mut gateway = Gateway::default();
        let mut first = vec![("listeners/web", web.clone())];
        first.extend(was_there.then(|| part("mutual", "staff")));
        gateway.has(&bundles(first));
        if !was_there {
            gateway.has(&bundles(Vec::new()));
            let says = "the file would admit clients of CA file `ca-bundles/staff.pem`";
            let refused = gateway.refuses(&beside);
            assert!(refused.len() == 1 && refused[0].ends_with(says), "{refused:?}");
        }
        gateway.has(&beside);
        assert_eq!(gateway.left.keys().collect::<Vec<_>>(), ["443/::"]);
        assert_eq!(gateway.refuses(&beside), [""; 0], "whatever else is applied");
        gateway.starts(&beside);
        assert!(gateway.keys("part").is_some(), "a start takes nobody away");

        let weaker = bundles(vec![part("observe", "staff")]);
        assert!(!gateway.refuses(&weaker).is_empty());
        let shop = ("listeners/shop", listener("one-way", 443));
        let rest = bundles(vec![part("mutual", "staff"), shop]);
        assert!(!gateway.refuses(&rest).is_empty(), "the rest is remembered");
    }
}

#[test]
fn a_listener_renamed_and_moved_at_once_is_known_by_its_servers() {
    let to = |group: &str, authentication: &str, port: u16| json!({ "authentication": authentication, "port": port, "server_group": group });
    let web = ("listeners/web", to("app", "mutual", 1));
    let before = known([web.clone()]);
    for (shop, expected) in [
        (to("app", "one-way", 2), 1),
        (to("app", "observe", 2), 1),
        (to("app", "mutual", 2), 0),
        (to("other", "one-way", 2), 0),
    ] {
        let after = known([("listeners/shop", shop.clone())]);
        assert_eq!(found(&before, &after).len(), expected, "{shop}");
    }
    let shop = ("listeners/shop", to("app", "one-way", 2));
    let mut disabled = web;
    disabled.1["enabled"] = json!(false);
    assert_eq!(found(&before, &known([disabled, shop])).len(), 1);
}

#[test]
fn what_one_file_may_not_undo_two_may_not_either() {
    let web = |allowed: Value| json!({ "authentication": "mutual", "client_ca": "partners", "port": 1, "allow_clients": allowed });
    let both = |allowed: Value, bundle: Value| {
        file([("listeners/web", web(allowed)), ("ca-bundles/partners", bundle)])
    };
    let (one, two) = (
        json!({ "dns": ["a.example"] }),
        json!({ "dns": ["a.example", "b.example"] }),
    );
    let with_crl = json!({ "files": ["a.pem"], "crl_files": ["a.crl"] });
    let without = json!({ "files": ["a.pem"] });
    for (later, says) in [
        (both(one.clone(), without.clone()), Some("CRL file `a.crl`")),
        (both(two, with_crl.clone()), Some("b.example")),
        (both(one.clone(), with_crl.clone()), None),
    ] {
        let mut gateway = Gateway::default();
        gateway.has(&both(one.clone(), with_crl.clone()));
        gateway.has(&file([("ca-bundles/partners", without.clone())]));
        let found = gateway.refuses(&later);
        match says {
            Some(says) => assert!(found.iter().any(|line| line.contains(says)), "{found:?}"),
            None => assert_eq!(found, [""; 0]),
        }
        let mut started = Gateway::default();
        started.has(&both(one.clone(), with_crl.clone()));
        started.has(&file([("ca-bundles/partners", without.clone())]));
        started.starts(&later);
        assert_eq!(started.keys("web").is_none(), says.is_some(), "{later:?}");
    }
}

#[test]
fn crls_left_out_are_a_downgrade_and_others_in_their_place_are_not() {
    let scene = |authentication: &str, bundle: Value| {
        let web = json!({ "authentication": authentication, "client_ca": "partners", "port": 1 });
        known([("listeners/web", web), ("ca-bundles/partners", bundle)])
    };
    let before = json!({ "files": ["a.pem", "b.pem"], "crl_files": ["a.crl", "b.crl"] });
    for (bundle, expected) in [
        (
            json!({ "files": ["a.pem", "b.pem"], "crl_files": ["a.crl"] }),
            Some("CRL file `b.crl`"),
        ),
        (
            json!({ "files": ["a.pem", "b.pem"] }),
            Some("CRL file `a.crl`, CRL file `b.crl`"),
        ),
        (
            json!({ "files": ["a.pem", "b.pem"], "crl_files": ["c.crl", "a.crl"] }),
            None,
        ),
        (
            json!({ "files": ["a.pem", "b.pem"], "crl_files": ["a.crl"], "crl_urls": ["http://b/"] }),
            None,
        ),
        // Whose it was is not known.
        (
            json!({ "files": ["a.pem"], "crl_files": ["a.crl"] }),
            Some("CRL file `b.crl`"),
        ),
    ] {
        let found = found(&scene("mutual", before.clone()), &scene("mutual", bundle.clone()));
        let said: Vec<_> = found.iter().map(ToString::to_string).collect();
        match expected {
            Some(crls) => assert!(said.iter().any(|line| line.ends_with(crls)), "{said:?}"),
            None => assert!(said.is_empty(), "{bundle}: {said:?}"),
        }
        let observing = super::downgrades(
            Gateway {
                records: scene("observe", before.clone()),
                ..Gateway::default()
            }
            .state(),
            &scene("observe", bundle),
        );
        assert_eq!(observing, []);
    }
}

#[test]
fn what_was_tightened_at_run_time_is_not_undone_by_a_file_and_what_the_file_said_may_be_changed_there() {
    let mutual = |allowed: &[&str]| json!({ "authentication": "mutual", "client_ca": "partners", "port": 1, "allow_clients": { "dns": allowed } });
    let tables = |allowed: &[&str], files: &[&str]| {
        file([
            ("listeners/web", mutual(allowed)),
            ("ca-bundles/partners", json!({ "files": files })),
        ])
    };
    let mut gateway = Gateway::default();
    gateway.has(&tables(&["a.example"], &["a.pem"]));
    let wider = tables(&["a.example", "b.example"], &["a.pem", "b.pem"]);
    assert_eq!(gateway.refuses(&wider), [""; 0], "the file alone has changed");
    let after = apply(&gateway.records, &wider);
    assert_eq!(
        loosened(&gateway.records, &after),
        [
            "listener `web`: clients of CA file `b.pem` are admitted from now on",
            "listener `web`: clients with dns `b.example` are admitted from now on"
        ]
    );
    gateway.has(&wider);

    for (id, tighter, says) in [
        (
            "listeners/web",
            mutual(&["a.example"]),
            "clients with dns `b.example`",
        ),
        (
            "ca-bundles/partners",
            json!({ "files": ["a.pem"] }),
            "clients of CA file `b.pem`",
        ),
    ] {
        let id = ResourceId::try_from(id.to_owned()).expect("a name");
        let mut changed = Gateway {
            records: gateway.records.clone(),
            ..Gateway::default()
        };
        let record = changed.records.get_mut(&id).expect("it is there");
        record.live = Live::Set(object(tighter));
        // The same text leaves the change alone, another one would undo it.
        assert_eq!(changed.refuses(&wider), [""; 0]);
        let mut again = wider.clone();
        let table = again.get_mut(&id).expect("it is there");
        table.insert("tags".into(), json!({ "a": "b" }));
        let found = changed.refuses(&again);
        assert!(
            found.len() == 1
                && found[0].contains("undo what was changed at run time")
                && found[0].ends_with(says),
            "{found:?}"
        );
        changed.starts(&again);
        assert_eq!(changed.refuses(&again).len(), 1, "a start keeps the change");
    }
}

#[test]
fn whoever_takes_a_place_at_a_start_asks_what_was_asked_there() {
    for (name, port) in [("web", 1), ("web", 2), ("shop", 1)] {
        let mut gateway = Gateway::default();
        gateway.has(&file([("listeners/web", listener("mutual", 1))]));
        let later = file([(format!("listeners/{name}").as_str(), listener("one-way", port))]);
        gateway.starts(&later);
        assert_eq!(
            gateway.keys(name),
            Some(&object(listener("mutual", port))),
            "{name}"
        );
        let differs = changes(&gateway.records, &later);
        assert_ne!(differs, RuntimeChanges::new(), "{name} is shown to differ");
        assert_eq!(gateway.refuses(&later).len(), 1, "{name} is refused by a reload");
    }
}

#[test]
fn a_start_asks_by_the_bundle_there_was_and_opens_nothing_that_cannot_ask() {
    let mutual = json!({ "authentication": "mutual", "client_ca": "partners", "port": 1 });
    let bundle = json!({ "files": ["a.pem"], "crl_files": ["a.crl"] });
    let before = file([("listeners/web", mutual), ("ca-bundles/partners", bundle.clone())]);
    let partners = ResourceId::new(ResourceKind::CaBundle, "partners");
    let open = file([("listeners/shop", listener("one-way", 1))]);

    let mut gateway = Gateway::default();
    gateway.has(&before);
    gateway.starts(&open);
    assert_eq!(gateway.keys("shop").map(demand).as_deref(), Some("mutual"));
    assert_eq!(gateway.records[&partners].in_force(), Some(&object(bundle)));

    // Gone with its bundle, nobody can be asked any more.
    for second in [
        open,
        file([("listeners/shop", json!({ "protocol": "http", "port": 1 }))]),
    ] {
        let mut gateway = Gateway::default();
        gateway.has(&before);
        gateway.has(&file([]));
        gateway.starts(&second);
        assert_eq!(gateway.keys("shop"), None);
        assert_eq!(gateway.left.len(), 1);
        assert_eq!(gateway.refuses(&second).len(), 1);
    }
}
