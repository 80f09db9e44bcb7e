//! The files a configuration is made of, and places in them.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use crate::config::diagnostic::{Code, Diagnostic, Position, Report};

/// Every file that was read, in name order.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(Vec<Arc<Source>>);

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path as the operator would write it.
    pub(super) name: String,
    /// What it holds.
    pub(super) text: String,
    /// Whether it is what was said of a resource at run time.
    pub(super) is_change: bool,
    directory: PathBuf,
    /// The offset at which each line begins.
    lines: Vec<usize>,
}

/// Some octets of one file.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    /// Which file.
    pub(super) file: usize,
    start: usize,
    end: usize,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    /// What was written.
    pub(super) value: T,
    /// Where.
    pub(super) place: Place,
}

impl Sources {
    /// Reads the file at `path`, or every `*.toml` of the directory there. What cannot be read is reported.
    pub(super) fn read(path: &Path, report: &mut Report) -> Self {
        let files = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => match toml_files(path) {
                Ok(files) => files,
                Err(error) => {
                    report.push(unreadable(path, &error));
                    Vec::new()
                }
            },
            Ok(_) => vec![path.to_owned()],
            Err(error) => {
                report.push(unreadable(path, &error));
                return Self::default();
            }
        };
        if files.is_empty() && !report.has_errors() {
            report.push(
                Diagnostic::new(
                    Code::Unreadable,
                    format!("the directory `{}` holds no configuration", path.display()),
                )
                .help("put at least one file whose name ends in `.toml` there"),
            );
        }
        let mut sources = Self::default();
        for file in files {
            match fs::read(&file) {
                Ok(octets) => match String::from_utf8(octets) {
                    Ok(text) => sources.add(&file, text),
                    Err(error) => report.push(not_utf8(&file, &error)),
                },
                Err(error) => report.push(unreadable(&file, &error)),
            }
        }
        sources
    }

    /// Adds a file's text; `path` says what relative paths in it are relative to.
    pub(super) fn add(&mut self, path: &Path, mut text: String) {
        // A byte order mark is not a character of the first line; columns are counted without it.
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        self.push(path.display().to_string(), text, directory, false);
    }

    /// Adds what was said of a resource at run time; relative paths in it start where those of the first file do.
    pub(super) fn add_change(&mut self, title: String, text: String) {
        let first = self.0.first().map(|source| source.directory.clone());
        self.push(title, text, first.unwrap_or_default(), true);
    }

    fn push(&mut self, name: String, text: String, directory: PathBuf, is_change: bool) {
        let newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        self.0.push(Arc::new(Source {
            name,
            lines: std::iter::once(0).chain(newlines).collect(),
            text,
            is_change,
            directory,
        }));
    }

    /// The files.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().map(Arc::as_ref)
    }

    /// The file of `place`.
    pub(super) fn source(&self, place: &Place) -> Option<&Source> {
        self.0.get(place.file).map(Arc::as_ref)
    }

    /// What a path written at `place` means: relative ones start at the directory of their file.
    pub(super) fn resolve(&self, path: &Located<PathBuf>) -> PathBuf {
        match self.source(&path.place) {
            Some(source) if path.value.is_relative() => {
                // `./x` and `x` are shown alike in messages and in `status`.
                let directory = source.directory.strip_prefix(".").unwrap_or(&source.directory);
                directory.join(path.value.strip_prefix(".").unwrap_or(&path.value))
            }
            _ => path.value.clone(),
        }
    }

    /// The place as file, line and column.
    pub(super) fn position(&self, place: &Place) -> Option<Position> {
        let source = self.source(place)?;
        let line = source.line(place);
        let before = source.text.get(*source.lines.get(line - 1)?..place.start)?;
        Some(Position {
            path: source.name.clone(),
            line,
            column: before.chars().count() + 1,
        })
    }
}

impl Source {
    /// The line on which `place` begins, from 1.
    pub(super) fn line(&self, place: &Place) -> usize {
        self.lines.partition_point(|start| *start <= place.start)
    }

    /// The unquoted word after a `=` at which `place` begins.
    pub(super) fn bare_word(&self, place: &Place) -> Option<&str> {
        let before = self.text.get(..place.start)?.trim_end_matches([' ', '\t']);
        let word = self.text.get(place.start..)?;
        let end = word.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '#'));
        let word = word.get(..end.unwrap_or(word.len()))?;
        (before.ends_with('=') && word.starts_with(char::is_alphabetic)).then_some(word)
    }

    /// `span` as octets that exist and do not cut a character: what a renderer may be given.
    pub(super) fn clamp(&self, place: &Place) -> Range<usize> {
        let boundary = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = boundary(place.start);
        start..boundary(place.end).max(start)
    }
}

impl Place {
    /// `span` of the file with the number `file`.
    pub(super) fn new(file: usize, span: Range<usize>) -> Self {
        Self {
            file,
            start: span.start,
            end: span.end,
        }
    }
}

impl<T> Located<T> {
    /// The same place with another value.
    pub(super) fn with<U>(&self, value: U) -> Located<U> {
        Located {
            value,
            place: self.place.clone(),
        }
    }
}

/// Says in the operator's words why a file could not be read.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "certgate is not permitted to read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "a part of its path is not a directory".to_owned(),
        _ => error.to_string(),
    }
}

fn toml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // Editors leave hidden files behind while they save.
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn not_utf8(path: &Path, error: &FromUtf8Error) -> Diagnostic {
    let sound = error.as_bytes().get(..error.utf8_error().valid_up_to());
    let before = String::from_utf8_lossy(sound.unwrap_or_default());
    let (line, column) = match before.rsplit_once('\n') {
        Some((above, left)) => (above.matches('\n').count() + 2, left.chars().count() + 1),
        None => (1, before.chars().count() + 1),
    };
    Diagnostic::new(
        Code::Unreadable,
        format!(
            "{}:{line}:{column}: no character of UTF-8 begins here",
            path.display()
        ),
    )
    .help("TOML is UTF-8; save the file in that encoding")
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::new(
        Code::Unreadable,
        format!(
            "cannot read the configuration `{}`: {}",
            path.display(),
            reason(error)
        ),
    )
}
