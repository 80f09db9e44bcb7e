//! What the program and the README say of the commands is so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::gateway::run;

/// Every command by its words, as `cert list`, with its help.
async fn commands() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![String::new()];
    while let Some(path) = pending.pop() {
        let help = help(&path).await;
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed: Vec<_> = listed
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(|name| format!("{path} {name}").trim().to_owned())
            .collect();
        if listed.is_empty() {
            found.insert(path, help);
        } else {
            pending.extend(listed);
        }
    }
    found
}

async fn help(command: &str) -> String {
    let mut arguments: Vec<_> = command.split_whitespace().collect();
    arguments.push("--help");
    let (code, output, errors) = run(&arguments).await;
    assert_eq!(code, 0, "certgate {command}: {errors}");
    output
}

#[tokio::test]
async fn every_command_tells_an_example_that_it_takes() {
    for (command, help) in commands().await {
        let examples: Vec<_> = help
            .lines()
            .filter_map(|line| line.strip_prefix("Example: certgate "))
            .collect();
        assert!(!examples.is_empty(), "certgate {command} has no example:\n{help}");
        for example in examples {
            assert!(example.starts_with(&command), "{example}");
            let words = example.split(" > ").next().unwrap_or_default();
            // Whatever stands before --help is parsed, and refused if it is unknown.
            self::help(words).await;
        }
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}

#[tokio::test]
async fn the_readme_lists_every_command_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).expect("a README");
    let rows = readme
        .lines()
        .skip_while(|line| *line != "| command | does |")
        .skip(2);
    let mut listed = BTreeSet::new();
    for row in rows.take_while(|row| row.starts_with('|')) {
        let row = row.replace("\\|", "/");
        let cell = row.split('|').nth(1).expect("a cell");
        for code in cell.split('`').skip(1).step_by(2) {
            let words: Vec<_> = code.split(' ').filter(|word| *word != "certgate").collect();
            let is_name = |word: &&&str| {
                let is_part = |c: char| c.is_ascii_lowercase() || matches!(c, '-' | '/');
                !word.starts_with('-') && word.chars().all(is_part)
            };
            let mut names: Vec<String> = vec![String::new()];
            for word in words.iter().take_while(is_name) {
                let with = |name: &String| {
                    word.split('/')
                        .map(move |word| format!("{name} {word}"))
                        .collect::<Vec<_>>()
                };
                names = names.iter().flat_map(with).collect();
            }
            for name in names {
                let name = name.trim().to_owned();
                let help = help(&name).await;
                for flag in words
                    .iter()
                    .map(|word| word.trim_matches(['[', ']']))
                    .filter(|word| word.starts_with("--"))
                {
                    assert!(help.contains(flag), "certgate {name} has no {flag}");
                }
                listed.insert(name);
            }
        }
    }
    assert_eq!(listed, commands().await.into_keys().collect());
}

#[tokio::test]
async fn the_manual_has_every_command() {
    let (_, manual, _) = run(&["man"]).await;
    for command in commands().await.into_keys() {
        assert!(
            manual.contains(&format!("\n.SH \"certgate {command}\"\n")),
            "{command}\n{manual}"
        );
    }
}
