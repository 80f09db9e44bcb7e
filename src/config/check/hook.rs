//! `[hooks.NAME]` and `[events]`.

use std::time::Duration;

use super::Checker;
use super::admin::is_strong;
use crate::command::Argv;
use crate::config::collection::List;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::hook::{Fraction, HookConfig, HookEvent, HookTarget, WebhookConfig};
use crate::config::period::Period;
use crate::config::reader::Key;
use crate::config::source::Located;
use crate::config::value::Integer;
use crate::config::written::Hook;

impl Checker<'_> {
    pub(super) fn hook(&mut self, name: &Located<String>, hook: &Hook) -> Option<HookConfig> {
        let table = format!("hooks.{}", name.value);
        let events = hook.events.items();
        self.no_repetition("`events`", events.iter().map(|item| (item.value, &item.place)));
        let certificates = self.selectors(hook.certificates.items());
        let target = match (hook.command.is_absent(), hook.url.is_absent()) {
            (true, true) => {
                let help = "add command = [\"/usr/local/bin/deploy\"], or url = \"https://…\"";
                self.missing("command", &table, &name.place, help);
                None
            }
            (false, true) => {
                let keys = [
                    ("secret_file", hook.secret_file.place()),
                    ("root_ca_file", hook.root_ca_file.place()),
                ];
                let sound = self.not_applicable(&keys, "`command`");
                let argv = self.argv(&hook.command);
                argv.filter(|_| sound).map(HookTarget::Command)
            }
            (true, false) => self.webhook(hook).map(HookTarget::Webhook),
            (false, false) => {
                self.not_applicable(&[("command", hook.command.place())], "`url`");
                None
            }
        };
        let (events, is_known) = match &hook.events {
            Key::Absent => (HookEvent::ALL.to_vec(), true),
            Key::Invalid => (Vec::new(), false),
            Key::Present(..) => (events.iter().map(|item| item.value).collect(), true),
        };
        let usual = match &target {
            Some(HookTarget::Webhook(_)) => Duration::from_secs(10),
            _ => COMMAND_TIMEOUT,
        };
        let timeout = hook.timeout.or(Period(usual))?.0;
        let attempts = hook.attempts.or(Integer(10))?.0;
        if matches!(hook.certificates, Key::Invalid) || !is_known {
            return None;
        }
        Some(HookConfig {
            target: target?,
            events,
            certificates,
            timeout,
            attempts: u32::try_from(attempts).ok()?,
        })
    }

    fn webhook(&mut self, hook: &Hook) -> Option<WebhookConfig> {
        let secret_file =
            match &hook.secret_file {
                Key::Absent => Some(None),
                Key::Invalid => None,
                Key::Present(written, _) => {
                    self.private_file(written, "secret file")
                        .and_then(|(path, octets)| {
                            if is_strong(octets.trim_ascii()) {
                                return Some(Some(path));
                            }
                            let shown = path.display();
                            self.report.push(
                    Diagnostic::new(
                        Code::InvalidValue,
                        format!("the secret file `{shown}` holds no secret of at least 32 random bytes"),
                    )
                    .at(&written.place, "this file")
                    .help(format!("make one: openssl rand -hex 32 > {shown}")),
                );
                            None
                        })
                }
            };
        let root_ca_file = match &hook.root_ca_file {
            Key::Absent => Some(None),
            Key::Invalid => None,
            Key::Present(written, _) => self.file_with_certificate(written).map(Some),
        };
        Some(WebhookConfig {
            url: hook.url.value()?.value.0.clone(),
            secret_file: secret_file?,
            root_ca_file: root_ca_file?,
        })
    }

    /// The words of a command as a program and its arguments.
    pub(super) fn argv(&mut self, command: &Key<List<String>>) -> Option<Argv> {
        let written = command.value()?;
        let words = written.value.0.iter().map(|word| word.value.clone());
        let argv = Argv::new(words.collect());
        let is_relative = |program: &str| program.contains('/') && !program.starts_with('/');
        match argv {
            Some(argv) if !is_relative(argv.program()) => Some(argv),
            _ => {
                self.report.push(
                    Diagnostic::new(Code::InvalidValue, "`command` does not begin with a program")
                        .at(&written.place, "not a program and its arguments")
                        .help("write its whole path, or its name alone where it is in $PATH, as in [\"systemctl\", \"reload\", \"nginx\"]"),
                );
                None
            }
        }
    }

    /// When it is told that a certificate is expiring, the greatest part first.
    pub(super) fn expiring(&mut self) -> Option<Vec<Fraction>> {
        let events = match &self.document.events {
            Key::Absent => return Some(Fraction::USUAL_EXPIRING.to_vec()),
            Key::Invalid => return None,
            Key::Present(events, _) => &events.value,
        };
        let list = events.expiring.items();
        self.no_repetition("`expiring`", list.iter().map(|item| (item.value, &item.place)));
        let mut expiring: Vec<_> = match &events.expiring {
            Key::Absent => Fraction::USUAL_EXPIRING.to_vec(),
            Key::Invalid => return None,
            Key::Present(..) => list.iter().map(|item| item.value).collect(),
        };
        expiring.sort_by_key(|fraction| std::cmp::Reverse(fraction.of(WHOLE)));
        Some(expiring)
    }
}

/// For a program where nothing is written.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// Long enough that no two fractions have the same part of it.
const WHOLE: Duration = Duration::from_secs(1 << 30);
