//! What stands before every route: who may, the audit trail, and that a request is what the route takes.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::{Router, body::Body};
use hyper_util::service::TowerToHyperService;

use crate::admin::Problem;
use crate::admin::access::{Origin, Right, identify};
use crate::admin::audit::snapshot;
use crate::admin::exact::{self, Taken};
use crate::admin::problem::documented;
use crate::admin::route::Route;
use crate::admin::server::Api;
use crate::inventory::Caller;

/// The routes, each behind its guard. Whatever is refused is refused with a problem document.
pub(super) fn guarded(routes: &[Route], api: &Api) -> Router {
    let looks = routes.iter().filter(|route| route.method == Method::GET);
    let unguarded = looks.fold(Router::new(), |router, route| {
        router.route(&route.path, route.handler.clone())
    });
    let unguarded = TowerToHyperService::new(unguarded.with_state(api.clone()));
    let router = routes.iter().fold(Router::new(), |router, route| {
        let guard = Guard {
            right: route.right,
            api: api.clone(),
            unguarded: unguarded.clone(),
        };
        // What is refused here is in the audit as well.
        let exact = from_fn_with_state(Arc::new(Taken::by(route)), exact::pass);
        let handler = route.handler.clone().route_layer(exact);
        let guarded = handler.route_layer(from_fn_with_state(guard, pass));
        router.route(&route.path, guarded)
    });
    router
        .fallback(|| async {
            Problem::not_found("the API has no such path; /v1/openapi.json has those it has")
        })
        .method_not_allowed_fallback(|method: Method| async move {
            let detail = format!("{method} is not possible here; the header `Allow` says what is");
            Problem::of(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(map_response(documented))
        // Bodies are read by then, each within the limit of its route.
        .layer(DefaultBodyLimit::disable())
        .with_state(api.clone())
}

#[derive(Clone)]
struct Guard {
    right: fn(&Uri) -> Right,
    api: Api,
    unguarded: TowerToHyperService<Router>,
}

async fn pass(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let needed = (guard.right)(request.uri());
    if needed == Right::Open {
        return next.run(request).await;
    }
    let Some(origin) = request.extensions().get::<Origin>() else {
        return Problem::unauthorized("it is not known where the request comes from").into_response();
    };
    // The handshake may be long ago, and the certificate revoked since.
    if let Origin::Tcp { shown, .. } = origin
        && let Some(tls) = guard.api.admission.tls()
        && !tls.admits(shown, guard.api.trail.now())
    {
        return Problem::unauthorized("the client certificate of this connection is not accepted any more")
            .into_response();
    }
    let tokens = guard.api.admission.tokens();
    let (caller, right) = match identify(origin, request.headers(), &tokens) {
        Ok(known) => known,
        Err(problem) => {
            // Not in the audit trail: whoever reaches the port could push everything else out of it.
            tracing::warn!(
                ?origin,
                path = request.uri().path(),
                "a caller without a valid token was refused"
            );
            return problem.into_response();
        }
    };
    if right < needed {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        return guard.refuse(caller, &method, &uri).await;
    }
    if needed == Right::Read {
        return next.run(request).await;
    }
    // A task of its own: a caller that goes away does not leave a change half made and without its end in the audit.
    let carried_out = tokio::spawn(async move { guard.carry_out(caller, request, next).await });
    match carried_out.await {
        Ok(response) => response,
        Err(error) => Problem::internal(&error).into_response(),
    }
}

impl Guard {
    async fn refuse(&self, caller: Caller, method: &Method, uri: &Uri) -> Response {
        let refusal = Problem::forbidden(format!(
            "`{}` may only look, and this needs `operate`",
            caller.name
        ));
        let ended = match self.api.trail.begin(caller, method, uri, None).await {
            Ok(record) => {
                let detail = Some(refusal.detail.clone());
                self.api
                    .trail
                    .end(record, StatusCode::FORBIDDEN, detail, None)
                    .await
            }
            Err(problem) => Err(problem),
        };
        ended.err().unwrap_or(refusal).into_response()
    }

    async fn carry_out(&self, caller: Caller, mut request: Request<Body>, next: Next) -> Response {
        request.extensions_mut().insert(caller.clone());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let changes = method != Method::GET;
        let before = match changes {
            true => snapshot(&self.unguarded, uri.path()).await,
            false => None,
        };
        let record = match self.api.trail.begin(caller, &method, &uri, before).await {
            Ok(record) => record,
            Err(problem) => return problem.into_response(),
        };
        // The framework's refusals as well are told in words.
        let response = documented(next.run(request).await).await;
        let after = match changes && response.status().is_success() {
            true => snapshot(&self.unguarded, uri.path()).await,
            false => None,
        };
        let problem = response.extensions().get::<Problem>();
        let detail = problem.map(Problem::in_a_line);
        let ended = self.api.trail.end(record, response.status(), detail, after);
        match ended.await {
            Ok(()) => response,
            Err(problem) => problem.into_response(),
        }
    }
}
