//! A route as it is declared: one value says the method, the path, who may, what is taken and answered, and who
//! answers. The router, the access control, the audit trail and the OpenAPI document all come from it.

use std::borrow::Cow;

use axum::handler::Handler;
use axum::http::{Method, Uri};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::admin::access::Right;
use crate::admin::server::Api;

/// One method of one path.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: Cow<'static, str>,
    pub(super) summary: &'static str,
    pub(super) right: fn(&Uri) -> Right,
    pub(super) query: Option<SchemaOf>,
    pub(super) body: Option<Content>,
    /// What its body may have.
    pub(super) octets: usize,
    /// Whether answers have an `ETag`, and `If-Match` and `If-None-Match` are heeded where something is changed.
    pub(super) tagged: bool,
    pub(super) answer: (u16, Option<Content>),
    pub(super) refusals: Vec<u16>,
    pub(super) handler: MethodRouter<Api>,
}

/// A body.
#[derive(Clone, Copy)]
pub(super) struct Content {
    pub(super) media_types: &'static [&'static str],
    pub(super) schema: SchemaOf,
}

pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

impl Route {
    /// Looks at something; needs the right to read.
    pub(super) fn get<H: Handler<T, Api>, T: 'static>(
        path: impl Into<Cow<'static, str>>,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::GET, MethodFilter::GET, path, summary, handler).read_only()
    }

    /// Puts something in place; needs the right to operate.
    pub(super) fn put<H: Handler<T, Api>, T: 'static>(
        path: impl Into<Cow<'static, str>>,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::PUT, MethodFilter::PUT, path, summary, handler)
    }

    /// Has something done; needs the right to operate.
    pub(super) fn post<H: Handler<T, Api>, T: 'static>(
        path: impl Into<Cow<'static, str>>,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::POST, MethodFilter::POST, path, summary, handler)
    }

    /// Changes a part of something; needs the right to operate.
    pub(super) fn patch<H: Handler<T, Api>, T: 'static>(
        path: impl Into<Cow<'static, str>>,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::PATCH, MethodFilter::PATCH, path, summary, handler)
    }

    /// Removes something; needs the right to operate.
    pub(super) fn delete<H: Handler<T, Api>, T: 'static>(
        path: impl Into<Cow<'static, str>>,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::DELETE, MethodFilter::DELETE, path, summary, handler)
    }

    fn new<H: Handler<T, Api>, T: 'static>(
        method: Method,
        filter: MethodFilter,
        path: impl Into<Cow<'static, str>>,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            summary,
            right: |_| Right::Operate,
            query: None,
            body: None,
            octets: BODY_OCTETS,
            tagged: false,
            answer: (200, None),
            refusals: Vec::new(),
            handler: on(filter, handler),
        }
    }

    /// Whoever reaches it may have it, without a token too.
    pub(super) fn open(self) -> Self {
        self.needs(|_| Right::Open)
    }

    /// Changes nothing, whatever its method.
    pub(super) fn read_only(self) -> Self {
        self.needs(|_| Right::Read)
    }

    /// What it needs depends on what is asked for.
    pub(super) fn needs(mut self, right: fn(&Uri) -> Right) -> Self {
        self.right = right;
        self
    }

    /// The keys of its query.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(T::json_schema);
        self
    }

    /// The JSON it takes.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(of_type::<T>(&[JSON]));
        self
    }

    /// It takes a JSON merge patch (RFC 7396).
    pub(super) fn takes_patch(mut self) -> Self {
        self.body = Some(of_type::<serde_json::Map<String, serde_json::Value>>(&[
            MERGE_PATCH,
            JSON,
        ]));
        self
    }

    /// The JSON it takes, of a schema that is no type's.
    pub(super) fn takes_schema(mut self, schema: SchemaOf) -> Self {
        let media_types = &[JSON];
        self.body = Some(Content { media_types, schema });
        self
    }

    /// The JSON it answers with, of a schema that is no type's.
    pub(super) fn answers_schema(mut self, schema: SchemaOf) -> Self {
        let media_types = &[JSON];
        self.answer = (200, Some(Content { media_types, schema }));
        self
    }

    /// Its body may have so many octets.
    pub(super) fn up_to(mut self, octets: usize) -> Self {
        self.octets = octets;
        self
    }

    /// Its answers have an `ETag`; what it changes can be made to depend on one (RFC 9110 §13.1).
    pub(super) fn tagged(mut self) -> Self {
        self.tagged = true;
        match self.method {
            Method::GET => self,
            _ => self.refuses(&[400, 412]),
        }
    }

    /// The JSON it answers with, status 200.
    pub(super) fn answers<T: JsonSchema>(mut self) -> Self {
        self.answer = (200, Some(of_type::<T>(&[JSON])));
        self
    }

    /// The text it answers with, status 200.
    pub(super) fn answers_text(mut self, media_type: &'static [&'static str]) -> Self {
        self.answer = (200, Some(of_type::<String>(media_type)));
        self
    }

    /// It answers with a status alone.
    pub(super) fn answers_nothing(mut self, status: u16) -> Self {
        self.answer = (status, None);
        self
    }

    /// Statuses of refusals of its own. Those that every route has need not be named: see the OpenAPI document.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self
    }
}

fn of_type<T: JsonSchema>(media_types: &'static [&'static str]) -> Content {
    Content {
        media_types,
        schema: |generator| generator.subschema_for::<T>(),
    }
}

/// Of a body, where nothing else is declared.
const BODY_OCTETS: usize = 1 << 20;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
