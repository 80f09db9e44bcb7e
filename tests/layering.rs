//! The plan of the house, as a test: who may use whom, how long a file may be, and what only one file may do.
//!
//! A room is `src/room.rs` with `src/room/`. The plan below holds every arrow between rooms that is allowed;
//! another one is a decision, and it is made here, where a reader of the change sees it.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms it may use, from the ground up; `*`: every one listed before it. `store` is the
/// member crate, which knows none of them.
const PLAN: &str = "
    store:
    cause:
    command:
    name:
    clock:
    pem:
    metrics:        name clock
    web:            cause pem
    certificate:    name clock pem
    policy:
    config:         command name clock certificate policy

    on_demand:      name clock metrics certificate config
    tls:            name clock metrics certificate policy config on_demand
    record:
    backend:        name clock metrics certificate policy config
    http:           name clock metrics certificate policy config tls backend
    listener:       name clock metrics certificate policy config on_demand tls record backend http

    inventory:      name clock certificate config store
    dns:            name clock metrics config inventory
    dns01:          cause command name clock web config inventory dns
    issuer:         cause name clock metrics web certificate config store inventory
    renewal:        cause name clock metrics certificate config store inventory dns issuer
    hooks:          cause command name clock metrics web certificate config store inventory
    export:         cause command clock metrics certificate config store inventory hooks

    publish:        cause name clock metrics certificate config store inventory issuer tls http
    admin:          *
    gateway:        *
    cli:            *
";

/// Names that say nothing about what lives in a room.
const NAMELESS: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "types", "util", "utils",
];

/// The wall: lines of a file, its tests included.
const WALL: usize = 500;

/// The one file that reads wall time.
const CLOCK: &str = "src/clock.rs";

#[test]
fn the_house_follows_its_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["src", "store", "tests"] {
        collect(&root.join(folder), &mut sources);
    }
    assert!(sources.len() > 10, "found only {sources:?}");
    let mut violations = Vec::new();
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        let inside = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        violations.extend(violations_of(&inside, &text));
    }
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn each_planted_violation_is_found() {
    for (path, text, expected) in [
        (
            "src/tls/table.rs",
            "use crate::inventory::Inventory;",
            "tls may not use inventory",
        ),
        (
            "src/tls.rs",
            "fn f() { crate::renewal::plan(); }",
            "tls may not use renewal",
        ),
        (
            "src/http.rs",
            "use crate::{clock::Clock, listener::Workers};",
            "http may not use listener",
        ),
        (
            "src/http.rs",
            "use crate::{\n    name::{DnsName, cli},\n    publish,\n};",
            "http may not use publish",
        ),
        (
            "src/backend/pick.rs",
            "use super::super::dns::DnsChecker;",
            "backend may not use dns",
        ),
        (
            "src/backend.rs",
            "use super::gateway;",
            "backend may not use gateway",
        ),
        (
            "src/listener.rs",
            "use certgate_store::Store;",
            "listener may not use store",
        ),
        (
            "src/name.rs",
            "use crate :: config::Config;",
            "name may not use config",
        ),
        ("src/attic.rs", "", "attic is not in the plan"),
        ("src/dns.rs", "use crate::attic::Box;", "dns may not use attic"),
        ("src/dns/utils.rs", "", "says nothing about what lives there"),
        ("tests/common/mod.rs", "", "says nothing about what lives there"),
        (
            "src/renewal/plan.rs",
            "let now = std::time::SystemTime::now();",
            "reads wall time",
        ),
        ("store/src/lib.rs", "unsafe { drop(()) }", "`unsafe`"),
        ("tests/gateway.rs", &"// a line\n".repeat(501), "501 lines"),
    ] {
        let found = violations_of(path, text);
        assert!(
            matches!(&found[..], [only] if only.contains(expected)),
            "{path}: {text:.60}: {found:?}, expected: {expected}"
        );
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (path, text) in [
        (
            "src/tls/table.rs",
            "use crate::{name::DnsName, tls::Selection, config::*};",
        ),
        (
            "src/tls/table.rs",
            "// use crate::inventory;\n/* crate::cli /* unsafe */ crate::dns */",
        ),
        (
            "src/tls/table.rs",
            r###"let s = "unsafe crate::dns \" crate::cli"; let r = r#"crate::" dns"#;"###,
        ),
        (
            "src/tls/table.rs",
            "fn f<'a>(c: char) -> &'a str { if c == '\"' { \"crate::dns\" } else { \"\" } }",
        ),
        (
            "src/tls/table.rs",
            "mod tests { use super::super::Selection; use super::dns; }",
        ),
        ("src/clock.rs", "SystemTime::now().into()"),
        ("src/main.rs", "fn main() { certgate::cli::run() }"),
        ("tests/renewal.rs", "use certgate::inventory::Inventory;"),
        ("src/dns.rs", &"// a line\n".repeat(500)),
    ] {
        assert_eq!(violations_of(path, text), [""; 0], "{path}: {text:.80}");
    }
}

#[test]
fn every_arrow_of_the_plan_points_down() {
    let plan = plan();
    for (position, (room, uses)) in plan.iter().enumerate() {
        for used in uses {
            let below = plan[..position].iter().any(|(below, _)| below == used);
            assert!(below, "{room} uses {used}, which does not stand below it");
        }
    }
}

fn plan() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut plan: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in PLAN.lines().filter(|line| !line.trim().is_empty()) {
        let (room, uses) = line.split_once(':').unwrap();
        let uses = match uses.trim() {
            "*" => plan.iter().map(|(below, _)| *below).collect(),
            names => names.split_whitespace().collect(),
        };
        plan.push((room.trim(), uses));
    }
    plan
}

fn collect(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "target" {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

fn violations_of(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > WALL {
        found.push(format!("{path}: {lines} lines; {WALL} are allowed"));
    }
    for part in path.trim_end_matches(".rs").split('/') {
        if NAMELESS.contains(&part) {
            found.push(format!("{path}: `{part}` says nothing about what lives there"));
        }
    }
    let tokens = tokens(text);
    if tokens.iter().any(|token| token == "unsafe") {
        found.push(format!("{path}: `unsafe`"));
    }
    let reads_time = |window: &[String]| {
        let asks = ["now", "now_local", "now_utc"].contains(&window[2].as_str());
        ["SystemTime", "OffsetDateTime"].contains(&window[0].as_str()) && window[1] == "::" && asks
    };
    if path != CLOCK && tokens.windows(3).any(reads_time) {
        found.push(format!("{path}: reads wall time; only {CLOCK} does"));
    }
    if let Some((room, depth)) = room_of(path) {
        match plan().iter().find(|(name, _)| *name == room) {
            None => found.push(format!("{path}: {room} is not in the plan")),
            Some((_, allowed)) => {
                let mut used = rooms_used(&tokens, depth);
                used.sort();
                used.dedup();
                used.retain(|other| other != room && !allowed.contains(&other.as_str()));
                found.extend(
                    used.iter()
                        .map(|other| format!("{path}: {room} may not use {other}")),
                );
            }
        }
    }
    found
}

/// The room a source file belongs to, and how many steps below the crate's root its module stands. `lib.rs`,
/// `main.rs` and what lies outside `src` belong to no room.
fn room_of(path: &str) -> Option<(&str, usize)> {
    let module = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let room = module.split('/').next()?;
    (!["lib", "main"].contains(&module)).then(|| (room, module.split('/').count()))
}

/// The first segments of every path that starts at the crate's root, and `store` for the store's crate.
fn rooms_used(tokens: &[String], depth: usize) -> Vec<String> {
    let mut used = Vec::new();
    let mut position = 0;
    while position < tokens.len() {
        let rest = &tokens[position..];
        position += 1;
        if rest[0] == "certgate_store" {
            used.push("store".to_owned());
        }
        if rest[0] == "crate" && rest.get(1).is_some_and(|token| token == "::") {
            used.extend(first_segments(&rest[2..]));
        }
        if rest[0] == "super" && (position < 2 || tokens[position - 2] != "::") {
            let steps = rest.chunks(2).take_while(|pair| pair == &["super", "::"]).count();
            // A module of tests inside the file stands one step deeper, so only names of rooms count.
            let is_room = |name: &String| plan().iter().any(|(room, _)| room == name);
            if steps >= depth {
                used.extend(first_segments(&rest[2 * steps..]).into_iter().filter(is_room));
            }
        }
    }
    used
}

/// The first segment of a path, or of each path of a group in braces.
fn first_segments(tokens: &[String]) -> Vec<String> {
    match tokens.first() {
        Some(open) if open == "{" => {}
        Some(segment) => return vec![segment.clone()],
        None => return Vec::new(),
    }
    let mut segments = Vec::new();
    let mut nesting = 0;
    let mut starts = false;
    for token in tokens {
        match token.as_str() {
            "{" => {
                nesting += 1;
                starts = nesting == 1;
            }
            "}" => {
                nesting -= 1;
                if nesting == 0 {
                    break;
                }
            }
            "," => starts = nesting == 1,
            segment => {
                if starts {
                    segments.push(segment.to_owned());
                }
                starts = false;
            }
        }
    }
    segments
}

/// Identifiers, `::` and single signs, without comments and the contents of literals.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            // A lifetime has no closing quote two characters on.
            let closes = rest.chars().nth(2) == Some('\'') || rest.starts_with("'\\");
            if closes { quoted(rest, '\'') } else { 1 }
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let mut nesting = 0;
    let mut position = 0;
    while position < text.len() {
        if text[position..].starts_with("/*") {
            nesting += 1;
            position += 2;
        } else if text[position..].starts_with("*/") {
            nesting -= 1;
            position += 2;
            if nesting == 0 {
                break;
            }
        } else {
            position += text[position..].chars().next().map_or(1, char::len_utf8);
        }
    }
    position
}

fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| text.starts_with(prefix))?;
    let after = &text[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |found| found + end.len());
    Some(prefix.len() + hashes + 1 + length)
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (position, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return position + 1;
        }
    }
    text.len()
}
