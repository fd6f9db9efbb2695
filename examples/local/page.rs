//! `/docs`: Swagger UI for openapi.yaml and the demo route. Nothing is loaded from elsewhere: all
//! files are in the program.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::{any, get};
use swagger_ui_dist::{ApiDefinition, OpenApiSource};

const OPENAPI: &str = include_str!("../../openapi.yaml");
const INDEX: &str = include_str!("page/index.html");
/// Changes openapi.yaml, which describes a deployment, into a description of the local service.
const SCRIPT: &str = include_str!("page/page.js");

/// Swagger UI's own files. The package's own page isn't used: at `/docs/` it requests `/docs//…`,
/// and it has no options.
const ASSETS: [&str; 4] = [
    "swagger-ui.css",
    "swagger-ui.css.map",
    "swagger-ui-bundle.js",
    "swagger-ui-bundle.js.map",
];

/// The browser sends requests to this service only, whatever a script does. (Swagger UI's icons are
/// `data:`.)
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:";

/// `/docs` and what it loads; any other path below it is a 404.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let package: Router = swagger_ui_dist::generate_routes(ApiDefinition {
        uri_prefix: "/docs",
        api_definition: OpenApiSource::Uri("/openapi.yaml"),
        title: None,
    });
    let index = (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        ],
        INDEX,
    );
    let router = Router::new()
        .route(
            "/openapi.yaml",
            get(([(header::CONTENT_TYPE, "application/yaml")], OPENAPI)),
        )
        .route("/docs", get(index.clone()))
        .route("/docs/", get(index))
        .route(
            "/docs/page.js",
            get((
                [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
                SCRIPT,
            )),
        )
        .route("/docs/{*rest}", any(StatusCode::NOT_FOUND));
    let add = |router: Router<S>, asset| {
        router.route_service(&format!("/docs/{asset}"), package.clone().into_service())
    };
    ASSETS.into_iter().fold(router, add)
}
