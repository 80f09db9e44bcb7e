//! What is wrong with a configuration, where, and what would be right.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::config::source::{Place, Sources};

/// Everything that was found in one run, by file and position; errors and warnings together.
#[derive(Clone)]
pub struct Diagnostics {
    sources: Arc<Sources>,
    found: Vec<Diagnostic>,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    code: Code,
    message: String,
    primary: Option<(Place, String)>,
    secondary: Option<(Place, String)>,
    help: Option<String>,
    position: Option<Position>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The configuration is not taken.
    Error,
    /// It is taken, and perhaps not what was meant.
    Warning,
}

/// A place for people and editors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// The file, as it was named.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $word:literal $severity:ident,)*) => {
        /// What kind of finding it is: a word that stays the same from version to version.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $code,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The word that stands in brackets in the output.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $word,)* }
            }

            /// How bad this kind of finding is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// Two listeners on one address and port.
    AddressInUse = "address-in-use" Error,
    /// A challenge that CAs look for on a port on which nothing listens here.
    ChallengePort = "challenge-port" Warning,
    /// The name of a policy of a cloud load balancer, which certgate has only in part.
    CloudPolicy = "cloud-policy" Error,
    /// A name that nothing has.
    DanglingName = "dangling-name" Error,
    /// The same thing in two files.
    DefinedTwice = "defined-twice" Error,
    /// A list that must hold something.
    EmptyList = "empty-list" Error,
    /// A policy that is its own base.
    ExtendsItself = "extends-itself" Error,
    /// A CA that only takes accounts bound to one of its customers.
    ExternalAccountNeeded = "external-account-needed" Warning,
    /// A text that is not what the key holds.
    InvalidValue = "invalid-value" Error,
    /// An IP address, which DNS-01 does not prove (RFC 8738 §7).
    IpAddressNotByDns01 = "ip-address-not-by-dns-01" Error,
    /// The same item twice in a list.
    ListedTwice = "listed-twice" Error,
    /// A key that is needed here.
    MissingKey = "missing-key" Error,
    /// A certificate that is both issued and read from files.
    MixedSources = "mixed-sources" Error,
    /// Challenges that no listener could answer.
    NoListenerForChallenge = "no-listener-for-challenge" Error,
    /// A word that is not among the allowed ones.
    NotAllowed = "not-allowed" Error,
    /// A file without what it is there for.
    NoCertificateInFile = "no-certificate-in-file" Error,
    /// Nothing to serve.
    NoListener = "no-listener" Error,
    /// A key that does not go with the kind, protocol or source chosen beside it.
    NotApplicable = "not-applicable" Error,
    /// A name that no public CA signs for.
    NotAPublicName = "not-a-public-name" Error,
    /// Something that another version of certgate has.
    NotInThisVersion = "not-in-this-version" Error,
    /// A number or a duration that is too small or too large.
    OutOfRange = "out-of-range" Error,
    /// A domain that the local CA may not sign for.
    OutsidePermittedDomains = "outside-permitted-domains" Error,
    /// The ALPN protocol that only challenges may use.
    ReservedAlpn = "reserved-alpn" Error,
    /// Not TOML.
    Syntax = "syntax" Error,
    /// The CA's terms of service were not agreed to.
    TermsNotAgreed = "terms-not-agreed" Error,
    /// More names than a CA puts into one certificate.
    TooManyDomains = "too-many-domains" Error,
    /// A key that nothing reads.
    UnknownKey = "unknown-key" Error,
    /// The configuration itself, or a part of it, cannot be read.
    Unreadable = "unreadable" Error,
    /// A file that the configuration names cannot be read.
    UnreadableFile = "unreadable-file" Error,
    /// A policy with which no handshake could succeed, or with parts that none could use.
    UnusablePolicy = "unusable-policy" Error,
    /// Something that is defined and then used by nothing.
    Unused = "unused" Warning,
    /// A wildcard, which only DNS-01 can prove.
    WildcardNeedsDns01 = "wildcard-needs-dns-01" Error,
    /// A key that has no effect beside the others.
    WithoutEffect = "without-effect" Warning,
    /// A value of another type.
    WrongType = "wrong-type" Error,
}

impl Diagnostics {
    pub(super) fn new(sources: Arc<Sources>, report: Report) -> Self {
        let mut found = report.found;
        for diagnostic in &mut found {
            diagnostic.position = diagnostic
                .primary
                .as_ref()
                .and_then(|(place, _)| sources.position(place));
        }
        found.sort_by(|one, other| {
            let key = |of: &Diagnostic| of.primary.as_ref().map(|(place, _)| place.clone());
            key(one).cmp(&key(other))
        });
        Self { sources, found }
    }

    /// The findings, by file and position; those without a position first.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.found.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|found| found.severity() == severity).count()
    }

    /// All of them as text, each with the line it is about; with colours for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let rendered: Vec<_> = self
            .iter()
            .map(|found| renderer.render(&[self.group(found)]))
            .collect();
        rendered.join("\n\n")
    }

    fn group<'a>(&'a self, found: &'a Diagnostic) -> Group<'a> {
        let level = match found.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&found.message).id(found.code.as_str()));
        if let Some((place, label)) = &found.primary {
            let same_file = |other: &&(Place, String)| other.0.file == place.file;
            let here = found.secondary.as_ref().filter(same_file);
            let elsewhere = found.secondary.as_ref().filter(|other| !same_file(other));
            if let Some(source) = self.sources.source(place) {
                let mut snippet = Snippet::source(&source.text).path(&source.name).annotation(
                    AnnotationKind::Primary
                        .span(source.clamp(place))
                        .label(label.as_str()),
                );
                if let Some((place, label)) = here {
                    snippet = snippet.annotation(
                        AnnotationKind::Context
                            .span(source.clamp(place))
                            .label(label.as_str()),
                    );
                }
                group = group.element(snippet);
            }
            if let Some((place, label)) = elsewhere
                && let Some(source) = self.sources.source(place)
            {
                group = group.element(
                    Snippet::source(&source.text).path(&source.name).annotation(
                        AnnotationKind::Context
                            .span(source.clamp(place))
                            .label(label.as_str()),
                    ),
                );
            }
        }
        if let Some(help) = &found.help {
            group = group.element(Level::HELP.message(help));
        }
        group
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.found).finish()
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: printable(&message.into()),
            primary: None,
            secondary: None,
            help: None,
            position: None,
        }
    }

    /// Underlines `place` and writes `label` there.
    pub(super) fn at(mut self, place: &Place, label: impl Into<String>) -> Self {
        self.primary = Some((place.clone(), printable(&label.into())));
        self
    }

    /// Shows a second place.
    pub(super) fn and(mut self, place: &Place, label: impl Into<String>) -> Self {
        self.secondary = Some((place.clone(), printable(&label.into())));
        self
    }

    /// Says what would be right.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into()));
        self
    }

    /// The stable word for this kind of finding.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether the configuration is refused because of it.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// What was found.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right.
    pub fn suggestion(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Where; absent when a whole file is the matter.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// Collects findings while a configuration is read and checked.
#[derive(Default)]
pub(super) struct Report {
    found: Vec<Diagnostic>,
}

impl Report {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|found| found.severity() == Severity::Error)
    }

    /// Drops the findings whose place `unwanted` picks.
    pub(super) fn forget(&mut self, unwanted: impl Fn(&Place) -> bool) {
        self.found
            .retain(|found| !found.primary.as_ref().is_some_and(|(place, _)| unwanted(place)));
    }
}

/// Values from the file stand in messages: no line breaks or control sequences from there reach the terminal, and
/// no megabyte either.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(SHOWN_MAX));
    for c in text.chars() {
        if shown.len() >= SHOWN_MAX {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Octets of one message; every message of certgate's own is much shorter.
const SHOWN_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_a_word_of_its_own() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(
            words
                .iter()
                .all(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
        );
    }

    #[test]
    fn nothing_from_the_file_controls_the_terminal() {
        let found = Diagnostic::new(Code::NotAllowed, "a\u{1b}[31mb\nc");
        assert_eq!(found.message(), "a\\u{1b}[31mb\\nc");
        let found = Diagnostic::new(Code::NotAllowed, "a".repeat(1_000_000));
        assert!(found.message().len() < 3000);
    }
}
