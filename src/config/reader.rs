//! From a TOML document to typed tables in which every value knows its place. One bad value never hides another:
//! it is reported, its key is [`Key::Invalid`], and reading goes on.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::diagnostic::{Code, Diagnostic, Report};
use crate::config::source::{Located, Place};
use crate::config::suggestion;

/// Something that can stand after `=`.
pub(super) trait Value: JsonSchema + Sized {
    /// Takes it over, or reports why not and returns `None`.
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A table whose keys are known; declared with `table!`.
pub(super) trait Table: JsonSchema + Sized {
    /// The keys that it holds.
    const KEYS: &'static [&'static str];
    /// Those that must be there.
    const REQUIRED: &'static [&'static str];
    /// Keys of other versions of certgate, which this one refuses without guessing at typing errors.
    const LATER: &'static [&'static str];
    /// Takes over every key.
    fn fill(fields: &mut Fields<'_, '_, '_>) -> Self;
}

/// What a table says under one key.
#[derive(Clone, Debug, Default)]
pub(super) enum Key<T> {
    /// Nothing.
    #[default]
    Absent,
    /// Something unusable, already reported.
    Invalid,
    /// A value; and where the key itself stands.
    Present(Located<T>, Place),
}

impl<T> Key<T> {
    /// The value, where there is a usable one.
    pub(super) fn value(&self) -> Option<&Located<T>> {
        match self {
            Self::Present(value, _) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Where the key stands, if its value is usable.
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Self::Present(_, place) => Some(place),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// The value, or `default` where nothing is written; nothing when what is written is unusable.
    pub(super) fn or(&self, default: T) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Absent => Some(default),
            Self::Invalid => None,
            Self::Present(value, _) => Some(value.value.clone()),
        }
    }

    /// Whether the key is not there at all.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Where in which file reading is, and where findings go.
pub(super) struct Reader<'a> {
    report: &'a mut Report,
    file: usize,
    path: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: usize, report: &'a mut Report) -> Self {
        Self {
            report,
            file,
            path: Vec::new(),
        }
    }

    /// `span` as a place in this file.
    pub(super) fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place::new(self.file, span)
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.report.push(diagnostic);
    }

    /// The key that is being read, for messages.
    pub(super) fn key(&self) -> String {
        match self.path.last() {
            Some(key) => format!("`{key}`"),
            None => "the configuration".to_owned(),
        }
    }

    /// The table that is being read, for messages.
    pub(super) fn table(&self) -> String {
        if self.path.is_empty() {
            "at the top level".to_owned()
        } else {
            format!("in [{}]", self.path.join("."))
        }
    }

    /// Reads what belongs to `key`.
    pub(super) fn within<R>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(key.to_owned());
        let result = read(self);
        self.path.pop();
        result
    }

    /// Reads a value and keeps its place.
    pub(super) fn located<T: Value>(&mut self, found: &Spanned<DeValue<'_>>) -> Option<Located<T>> {
        let place = self.place(found.span());
        T::read(found, self).map(|value| Located { value, place })
    }

    /// Refuses `found`, which should be `expected`: "a string", "a list".
    pub(super) fn wrong_type(&mut self, found: &Spanned<DeValue<'_>>, expected: &str) {
        let kind = match found.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let place = self.place(found.span());
        let message = format!("{} must be {expected}; found {kind}", self.key());
        self.report(Diagnostic::new(Code::WrongType, message).at(&place, format!("should be {expected}")));
    }

    /// The text of a string.
    pub(super) fn text<'v>(&mut self, found: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
        if let DeValue::String(text) = found.get_ref() {
            return Some(text);
        }
        self.wrong_type(found, "a string");
        None
    }

    /// The entries of a table.
    pub(super) fn entries<'v, 'i>(&mut self, found: &'v Spanned<DeValue<'i>>) -> Option<&'v DeTable<'i>> {
        if let DeValue::Table(table) = found.get_ref() {
            return Some(table);
        }
        self.wrong_type(found, "a table");
        None
    }

    /// Reads a table with known keys; `place` is where its absence of keys is shown.
    pub(super) fn known<T: Table>(&mut self, entries: &DeTable<'_>, place: &Place) -> T {
        for (name, _) in entries {
            let key = name.get_ref().as_ref();
            if !T::KEYS.contains(&key) {
                let place = self.place(name.span());
                self.unknown_key::<T>(key, &place);
            }
        }
        for key in T::REQUIRED.iter().filter(|key| !entries.contains_key(**key)) {
            let table = self.table();
            self.report(
                Diagnostic::new(Code::MissingKey, format!("`{key}` is missing {table}"))
                    .at(place, format!("has no `{key}`")),
            );
        }
        T::fill(&mut Fields {
            entries,
            reader: self,
        })
    }

    fn unknown_key<T: Table>(&mut self, key: &str, place: &Place) {
        let table = self.table();
        self.report(if T::LATER.contains(&key) {
            Diagnostic::new(
                Code::NotInThisVersion,
                format!("this version of certgate has no `{key}` {table}"),
            )
            .at(place, "not in this version")
            .help(format!("remove `{key}`"))
        } else {
            Diagnostic::new(Code::UnknownKey, format!("unknown key `{key}` {table}"))
                .at(place, "unknown")
                .help(suggestion::for_word(key, T::KEYS.iter().copied()))
        });
    }
}

/// The entries of one table while it is filled.
pub(super) struct Fields<'e, 'r, 'a> {
    entries: &'e DeTable<'e>,
    reader: &'r mut Reader<'a>,
}

impl Fields<'_, '_, '_> {
    /// The value of `key`.
    pub(super) fn take<T: Value>(&mut self, key: &str) -> Key<T> {
        let Some((name, found)) = self.entries.get_key_value(key) else {
            return Key::Absent;
        };
        let place = self.reader.place(name.span());
        match self.reader.within(key, |reader| reader.located(found)) {
            Some(value) => Key::Present(value, place),
            None => Key::Invalid,
        }
    }
}

/// Declares a table as it is written: its documented keys, which of them must be there (`= required`), and the
/// keys that only other versions have. Reader and JSON Schema both come from this one declaration.
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        $table:ident {
            $($(#[doc = $key_doc:literal])* $key:ident: $type:ty $(= $required:ident)?,)*
        }
        $(later $($later:ident)+)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Default, schemars::JsonSchema)]
        #[schemars(default, deny_unknown_fields)]
        #[schemars(extend("required" = <Self as $crate::config::reader::Table>::REQUIRED))]
        pub(in crate::config) struct $table {
            $($(#[doc = $key_doc])* pub(in crate::config) $key: $crate::config::reader::Key<$type>,)*
        }

        impl $crate::config::reader::Table for $table {
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];
            const REQUIRED: &'static [&'static str] =
                &[$($($crate::config::reader::table!(@$required $key),)?)*];
            const LATER: &'static [&'static str] = &[$($(stringify!($later)),+)?];

            fn fill(fields: &mut $crate::config::reader::Fields<'_, '_, '_>) -> Self {
                Self { $($key: fields.take(stringify!($key)),)* }
            }
        }

        impl $crate::config::reader::Value for $table {
            fn read(
                found: &toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let place = reader.place(found.span());
                let entries = reader.entries(found)?;
                Some(reader.known(entries, &place))
            }
        }
    };
    (@required $key:ident) => { stringify!($key) };
}
pub(in crate::config) use table;

/// A schema is that of what is inside: where something was written does not show in it.
macro_rules! transparent_schema {
    ($($wrapper:ident),*) => {$(
        impl<T: JsonSchema> JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool {
                T::inline_schema()
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                T::schema_name()
            }
            fn schema_id() -> std::borrow::Cow<'static, str> {
                T::schema_id()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                T::json_schema(generator)
            }
        }
    )*};
}
transparent_schema!(Key, Located);
