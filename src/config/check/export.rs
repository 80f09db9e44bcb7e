//! `[[certificates.NAME.export]]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::unistd::{Group, User};

use super::Checker;
use super::hook::COMMAND_TIMEOUT;
use crate::certificate::CertificateName;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::export::ExportConfig;
use crate::config::period::Period;
use crate::config::reader::Key;
use crate::config::source::{Located, Place};
use crate::config::text::Mode;
use crate::config::written::Export;

impl Checker<'_> {
    /// What certificates are written as files; no two of them to the same place.
    pub(super) fn exports(&mut self) -> Option<BTreeMap<CertificateName, Vec<ExportConfig>>> {
        let document = self.document;
        let mut taken = BTreeMap::<PathBuf, &Place>::new();
        let (mut all, mut sound) = (BTreeMap::new(), true);
        for (name, certificate) in document.certificates.tables() {
            sound &= !matches!(certificate.export, Key::Invalid);
            let mut exports = Vec::new();
            let second = certificate.key_type.value();
            let second = second
                .and_then(|types| types.value.0.get(1))
                .map(|item| item.value);
            for export in certificate.export.items() {
                if let Some(written) = export.value.directory.value() {
                    let directory = self.sources.resolve(written);
                    let beside = second.map(|key_type| directory.join(key_type.family()));
                    for directory in [Some(directory), beside].into_iter().flatten() {
                        sound &= self.takes_place(&mut taken, directory, written);
                    }
                }
                match self.export(&export.value) {
                    Some(export) => exports.push(export),
                    None => sound = false,
                }
            }
            if exports.is_empty() {
                continue;
            }
            let name = CertificateName::parse(&name.value).ok()?;
            if let Some(key_type) = second {
                let beside = exports.iter().map(|export| export.for_second(key_type));
                all.insert(name.companion(key_type).ok()?, beside.collect());
            }
            all.insert(name, exports);
        }
        sound.then_some(all)
    }

    /// Whether no other export has `directory`; reports it when one has.
    fn takes_place<'d>(
        &mut self,
        taken: &mut BTreeMap<PathBuf, &'d Place>,
        directory: PathBuf,
        written: &'d Located<PathBuf>,
    ) -> bool {
        let Some(first) = taken.insert(directory, &written.place) else {
            return true;
        };
        let shown = written.value.display();
        self.report.push(
            Diagnostic::new(
                Code::ListedTwice,
                format!("two exports have the directory `{shown}`"),
            )
            .at(&written.place, "the second one")
            .and(first, "the first one")
            .help("give each export a directory of its own"),
        );
        false
    }

    fn export(&mut self, export: &Export) -> Option<ExportConfig> {
        let owner = self.account(&export.owner, "user", |name| {
            let user = User::from_name(name).ok()?;
            user.map(|user| user.uid.as_raw())
        });
        let group = self.account(&export.group, "group", |name| {
            let group = Group::from_name(name).ok()?;
            group.map(|group| group.gid.as_raw())
        });
        let command = match &export.command {
            Key::Absent => Some(None),
            Key::Invalid => None,
            written => self.argv(written).map(Some),
        };
        let key_mode = self.key_mode(&export.key_mode);
        Some(ExportConfig {
            directory: self.sources.resolve(export.directory.value()?),
            owner: owner?,
            group: group?,
            mode: export.mode.or(Mode(0o644))?.0,
            key_mode: key_mode?,
            command: command?,
            timeout: export.timeout.or(Period(COMMAND_TIMEOUT))?.0,
        })
    }

    fn key_mode(&mut self, written: &Key<Mode>) -> Option<u32> {
        let mode = written.or(Mode(0o600))?.0;
        match written.value() {
            Some(written) if mode & 0o007 != 0 => {
                self.report.push(
                    Diagnostic::new(
                        Code::NotAllowed,
                        format!("`key_mode` {mode:04o} shows the private key to every user of the machine"),
                    )
                    .at(&written.place, "not for a key")
                    .help("write \"0640\", and as `group` the group whose programs need it"),
                );
                None
            }
            _ => Some(mode),
        }
    }

    /// The number of a user or a group; a number itself is taken as it is.
    fn account(
        &mut self,
        written: &Key<String>,
        kind: &str,
        find: impl Fn(&str) -> Option<u32>,
    ) -> Option<Option<u32>> {
        let Located { value: name, place } = match written {
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(name, _) => name,
        };
        if let Some(number) = name.parse().ok().or_else(|| find(name)) {
            return Some(Some(number));
        }
        self.report.push(
            Diagnostic::new(
                Code::DanglingName,
                format!("there is no {kind} `{name}` on this machine"),
            )
            .at(place, format!("no such {kind}"))
            .help(format!("name a {kind} of this machine, or its number")),
        );
        None
    }
}
