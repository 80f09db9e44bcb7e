//! The files a configuration is made of, and places in them.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::diagnostic::{Code, Diagnostic, Position, Report};

/// Every file that was read, in name order.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path as the operator would write it.
    pub(super) name: String,
    /// What it holds.
    pub(super) text: String,
    directory: PathBuf,
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
                    Err(error) => report.push(
                        Diagnostic::new(
                            Code::Unreadable,
                            format!(
                                "`{}` is not UTF-8: the octet at offset {} belongs to no character",
                                file.display(),
                                error.utf8_error().valid_up_to(),
                            ),
                        )
                        .help("TOML is UTF-8 (TOML 1.0.0, \"Spec\"); save the file in that encoding"),
                    ),
                },
                Err(error) => report.push(unreadable(&file, &error)),
            }
        }
        sources
    }

    /// Adds a file's text; `path` says what relative paths in it are relative to.
    pub(super) fn add(&mut self, path: &Path, text: String) {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        self.0.push(Source {
            name: path.display().to_string(),
            text,
            directory,
        });
    }

    /// The files.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// The file of `place`.
    pub(super) fn source(&self, place: &Place) -> Option<&Source> {
        self.0.get(place.file)
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
        let before = source.text.get(..place.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some(Position {
            path: source.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..)?.chars().count() + 1,
        })
    }

    /// Whether both places begin on the same line.
    pub(super) fn same_line(&self, one: &Place, other: &Place) -> bool {
        match (self.position(one), self.position(other)) {
            (Some(one), Some(other)) => one.path == other.path && one.line == other.line,
            _ => false,
        }
    }
}

impl Source {
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
