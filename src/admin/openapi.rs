//! The OpenAPI 3.1 document of the API, made from its routes and the types of their bodies.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode, Uri};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::admin::Problem;
use crate::admin::access::Right;
use crate::admin::route::{Content, Route, SchemaOf};

/// The document that describes `routes`.
pub(super) fn document(routes: &[Route]) -> Value {
    // A JSON Schema of OpenAPI 3.1 is one of the draft 2020-12.
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in routes {
        let operation = operation(route, &mut generator, &json!(problem));
        let path = paths.entry(route.path.as_ref()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "certgate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator, problem: &Value) -> Value {
    let right = (route.right)(&Uri::from_static("/"));
    let mut operation = Map::new();
    operation.insert("summary".into(), route.summary.into());
    operation.insert("operationId".into(), operation_id(route).into());
    let mut parameters = path_parameters(&route.path);
    parameters.extend(
        route
            .query
            .into_iter()
            .flat_map(|query| query_parameters(query, generator)),
    );
    if route.tagged && route.method != Method::GET {
        for (name, meaning) in [
            ("If-Match", "An `ETag`: only if it is still so, else 412"),
            ("If-None-Match", "`*`: only if there is none yet, else 412"),
        ] {
            parameters.push(json!({
                "name": name, "in": "header", "required": false, "description": meaning,
                "schema": { "type": "string" },
            }));
        }
    }
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = &route.body {
        operation.insert(
            "requestBody".into(),
            json!({ "required": true, "content": content(body, generator) }),
        );
    }
    if right != Right::Open {
        operation.insert("security".into(), json!([{ "token": [] }]));
    }
    let (status, answer) = &route.answer;
    let mut responses = Map::new();
    let mut good = json!({ "description": reason(*status) });
    if let Some(answer) = answer {
        good["content"] = json!(content(answer, generator));
    }
    if route.tagged && *status == 200 {
        good["headers"] = json!({ "ETag": { "schema": { "type": "string" } } });
    }
    responses.insert(status.to_string(), good);
    for status in refusals(route, right) {
        let mut refusal = json!({
            "description": reason(status),
            "content": { "application/problem+json": { "schema": problem } },
        });
        if status == 401 {
            refusal["headers"] = json!({ "WWW-Authenticate": { "schema": { "type": "string" } } });
        }
        responses.insert(status.to_string(), refusal);
    }
    operation.insert("responses".into(), responses.into());
    operation.into()
}

/// What a caller can be told instead, by what the route is.
fn refusals(route: &Route, right: Right) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = route.refusals.iter().copied().collect();
    statuses.extend([400, 500]);
    if right != Right::Open {
        statuses.extend([401, 403]);
    }
    if right == Right::Operate || route.method != Method::GET {
        // The audit trail cannot be written.
        statuses.insert(503);
    }
    if route.path.contains('{') {
        statuses.insert(404);
    }
    if route.body.is_some() {
        statuses.extend([413, 415, 422]);
    }
    statuses
}

fn content(content: &Content, generator: &mut SchemaGenerator) -> Value {
    let schema = (content.schema)(generator);
    let types = content.media_types.iter();
    types
        .map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema })))
        .collect::<Map<_, _>>()
        .into()
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1 },
            })
        })
        .collect()
}

fn query_parameters(query: SchemaOf, generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = json!(query(generator));
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| json!({ "name": name, "in": "query", "required": false, "schema": schema }))
        .collect()
}

/// As in `put_certificates_name_renew`.
fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/v1").replace(['{', '}'], "");
    let words = path.split(['/', '-', '.']).filter(|word| !word.is_empty());
    let method = route.method.as_str().to_ascii_lowercase();
    std::iter::once(method.as_str())
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::admin::endpoints;

    /// The document is a contract with other people's programs: a change of it is a change for them.
    #[test]
    fn the_document_is_the_one_that_was_reviewed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let found = format!("{:#}\n", document(&endpoints::routes()));
        if std::env::var_os("CERTGATE_BLESS").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == reviewed,
            "docs/openapi.json is out of date: run this test with CERTGATE_BLESS=1, and review the change"
        );
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document(&endpoints::routes());
        let text = document.to_string();
        for rest in text.split("\"$ref\":\"#").skip(1) {
            let pointer = rest.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        assert!(text.contains("#/components/schemas/Problem"));
    }

    #[test]
    fn no_two_operations_have_the_same_id() {
        let routes = endpoints::routes();
        let ids: BTreeSet<_> = routes.iter().map(operation_id).collect();
        assert_eq!(ids.len(), routes.len());
    }
}
