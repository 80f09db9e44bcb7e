//! A route as it is declared: one value says the method, the path, who may, what is taken and answered, and who
//! answers. The router, the access control, the audit trail and the OpenAPI document all come from it.

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
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) right: fn(&Uri) -> Right,
    pub(super) query: Option<SchemaOf>,
    pub(super) body: Option<Content>,
    pub(super) answer: (u16, Option<Content>),
    pub(super) refusals: Vec<u16>,
    pub(super) handler: MethodRouter<Api>,
}

/// A body.
#[derive(Clone, Copy)]
pub(super) struct Content {
    pub(super) media_type: &'static str,
    pub(super) schema: SchemaOf,
}

pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

impl Route {
    /// Looks at something; needs the right to read.
    pub(super) fn get<H: Handler<T, Api>, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::GET, MethodFilter::GET, path, summary, handler).read_only()
    }

    /// Puts something in place; needs the right to operate.
    pub(super) fn put<H: Handler<T, Api>, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::PUT, MethodFilter::PUT, path, summary, handler)
    }

    /// Has something done; needs the right to operate.
    pub(super) fn post<H: Handler<T, Api>, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::POST, MethodFilter::POST, path, summary, handler)
    }

    fn new<H: Handler<T, Api>, T: 'static>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            right: |_| Right::Operate,
            query: None,
            body: None,
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
        self.body = Some(json::<T>("application/json"));
        self
    }

    /// The JSON it answers with, status 200.
    pub(super) fn answers<T: JsonSchema>(mut self) -> Self {
        self.answer = (200, Some(json::<T>("application/json")));
        self
    }

    /// The text it answers with, status 200.
    pub(super) fn answers_text(mut self, media_type: &'static str) -> Self {
        self.answer = (200, Some(json::<String>(media_type)));
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

fn json<T: JsonSchema>(media_type: &'static str) -> Content {
    Content {
        media_type,
        schema: |generator| generator.subschema_for::<T>(),
    }
}
