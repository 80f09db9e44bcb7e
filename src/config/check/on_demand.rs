//! `on_demand` in `[listeners.NAME]`.

use std::time::Duration;

use super::Checker;
use crate::certificate::{KeyType, ON_DEMAND_DIRECTORY};
use crate::config::OnDemandConfig;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::period::Period;
use crate::config::reader::Key;
use crate::config::source::{Located, Place};
use crate::config::suggestion;
use crate::config::value::Integer;
use crate::config::written::{Listener, OnDemand};

impl Checker<'_> {
    /// What is obtained on demand; `None` when that was not written in a usable way.
    pub(super) fn on_demand(
        &mut self,
        name: &Located<String>,
        listener: &Listener,
    ) -> Option<Option<OnDemandConfig>> {
        let (written, place) = match &listener.on_demand {
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(written, place) => (&written.value, place),
        };
        self.allows_something(written, place);
        self.only_names(written)?;
        let wait = self.wait(listener, written);
        let issuers = self.on_demand_issuers(&name.value, written, place);
        let limit = |key: &Key<Integer<1, 10_000>>, default: usize| match key {
            Key::Absent => Some(default),
            key => usize::try_from(key.value()?.value.0).ok(),
        };
        Some(Some(OnDemandConfig {
            ask: match &written.ask {
                Key::Invalid => return None,
                ask => ask.value().map(|ask| ask.value.0.clone()),
            },
            names: written
                .names
                .items()
                .iter()
                .map(|item| item.value.clone())
                .collect(),
            except: match &written.except {
                Key::Invalid => return None,
                except => except.items().iter().map(|item| item.value.clone()).collect(),
            },
            issuers: issuers?,
            key_type: written.key_type.or(KeyType::default())?,
            wait: wait?,
            denied_ttl: written.denied_ttl.or(Period(Duration::from_secs(600)))?.0,
            unused_after: written.unused_after.or(Period(30 * DAY))?.0,
            max_asks_per_minute: limit(&written.max_asks_per_minute, 600)?,
            max_orders_per_hour: limit(&written.max_orders_per_hour, 60)?,
        }))
    }

    /// Reports a certificate directory whose entries could not be told from those obtained on demand.
    pub(super) fn reserved_directory(&mut self) {
        let directories = &self.document.certificate_directories;
        if let Some(entry) = directories.entry(ON_DEMAND_DIRECTORY) {
            let message = format!("a certificate directory cannot be called `{ON_DEMAND_DIRECTORY}`");
            self.report.push(
                Diagnostic::new(Code::InvalidValue, message)
                    .at(
                        &entry.name.place,
                        "so are the certificates called that handshakes ask for",
                    )
                    .help("give it another name"),
            );
        }
    }

    /// Without a rule, anybody could have anything ordered.
    fn allows_something(&mut self, written: &OnDemand, place: &Place) {
        if written.ask.is_absent() && written.names.is_absent() {
            self.report.push(
                Diagnostic::new(Code::MissingKey, "`on_demand` says neither `ask` nor `names`")
                    .at(place, "allows nothing")
                    .help(
                        "add `ask`, the URL that says which names may be obtained, or list them as `names`",
                    ),
            );
        }
    }

    /// Clients ask for names, never for addresses.
    fn only_names(&mut self, written: &OnDemand) -> Option<()> {
        self.certifiable("`names` of `on_demand`", written.names.items());
        let mut items = written.names.items().iter();
        let Some(item) = items.find(|item| item.value.address().is_some()) else {
            return Some(());
        };
        let message = format!("`names` of `on_demand` has the IP address `{}`", item.value);
        self.report.push(
            Diagnostic::new(Code::InvalidValue, message)
                .at(&item.place, "not a DNS name")
                .help("clients send no addresses as server names; list the address in the `domains` of a certificate"),
        );
        None
    }

    fn wait(&mut self, listener: &Listener, written: &OnDemand) -> Option<Duration> {
        let timeout = listener.handshake_timeout.or(Period(Duration::from_secs(10)))?.0;
        let (wait, place) = match &written.wait {
            Key::Absent => return Some((timeout * 4 / 5).min(Duration::from_secs(8))),
            Key::Invalid => return None,
            Key::Present(wait, place) => (wait.value.0, place),
        };
        if wait < timeout {
            return Some(wait);
        }
        let message = format!("`wait` is not less than `handshake_timeout`, which is {timeout:?}");
        self.report.push(
            Diagnostic::new(Code::OutOfRange, message)
                .at(place, "too long")
                .help("the rest of the handshake needs time, too: make `handshake_timeout` longer, or `wait` shorter"),
        );
        None
    }

    fn on_demand_issuers(
        &mut self,
        listener: &str,
        written: &OnDemand,
        place: &Place,
    ) -> Option<Vec<String>> {
        let issuers = &self.document.issuers;
        if written.issuer.is_absent() {
            let mut names = issuers.names();
            if let (Some(only), None) = (names.next(), names.next()) {
                return Some(vec![only.to_owned()]);
            }
            let help = match issuers.is_empty() {
                true => "add `issuer`, and the issuer itself as [issuers.NAME]".to_owned(),
                false => format!("add `issuer`; there are: {}", suggestion::list(issuers.names())),
            };
            let table = format!("listeners.{listener}.on_demand");
            self.missing("issuer", &table, place, help);
            return None;
        }
        let items = &written.issuer.value()?.value.0;
        self.no_repetition("`issuer`", items.iter().map(|item| (&item.value, &item.place)));
        let known: Vec<_> = items
            .iter()
            .map(|item| {
                let is_known = self.refers(issuers, "issuers", "issuer", &item.value, &item.place);
                is_known.then(|| item.value.clone())
            })
            .collect();
        known.into_iter().collect()
    }
}

const DAY: Duration = Duration::from_secs(86_400);
