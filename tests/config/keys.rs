//! The keys that files may have, in the schema and in the reader.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use certgate::config;

use crate::FIXTURES;

/// The keys are a contract with other people's files: a change of `keys.txt` is a change for them.
#[test]
fn the_schema_has_exactly_the_keys_that_are_promised() {
    let schema = config::json_schema();
    let mut in_schema = BTreeSet::new();
    schema_keys(&schema, &schema, "", &mut in_schema);
    let promised = fs::read_to_string(Path::new(FIXTURES).join("keys.txt")).unwrap();
    assert_eq!(in_schema, promised.lines().map(str::to_owned).collect());
}

/// And the reader takes every one of them: a file that uses all is taken.
#[test]
fn the_file_with_every_key_has_every_key_of_the_schema() {
    let schema = config::json_schema();
    let (mut in_schema, mut in_file) = (BTreeSet::new(), BTreeSet::new());
    schema_keys(&schema, &schema, "", &mut in_schema);
    let text = fs::read_to_string("tests/fixtures/config/valid/everything.toml").unwrap();
    file_keys(&toml::from_str(&text).unwrap(), "", &mut in_file);
    assert_eq!(in_file, in_schema);
}

fn schema_keys(
    root: &serde_json::Value,
    schema: &serde_json::Value,
    path: &str,
    keys: &mut BTreeSet<String>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return schema_keys(root, target, path, keys);
    }
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        assert!(value["description"].is_string(), "{path}{key} is not described");
        keys.insert(format!("{path}{key}"));
        schema_keys(root, value, &format!("{path}{key}."), keys);
    }
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    for inner in alternatives.chain(schema.get("items")) {
        schema_keys(root, inner, path, keys);
    }
    match schema.get("additionalProperties") {
        Some(serde_json::Value::Object(_)) => {
            schema_keys(
                root,
                &schema["additionalProperties"],
                &format!("{path}NAME."),
                keys,
            );
        }
        // Editors find misspelt keys only where the schema is closed.
        other => assert!(
            schema.get("properties").is_none() || other == Some(&false.into()),
            "{path}"
        ),
    }
}

fn file_keys(value: &toml::Value, path: &str, keys: &mut BTreeSet<String>) {
    let named = matches!(
        path,
        "issuers." | "certificates." | "certificate_directories." | "ca_bundles." | "hooks."
    ) || matches!(
        path,
        "server_groups." | "listeners." | "policies." | "admin.tokens." | "gateway.name_servers."
    );
    match value {
        toml::Value::Table(_) if path.ends_with("tags.") => {}
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if named { "NAME" } else { key };
                if !named {
                    keys.insert(format!("{path}{key}"));
                }
                file_keys(value, &format!("{path}{key}."), keys);
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| file_keys(item, path, keys)),
        _ => {}
    }
}
