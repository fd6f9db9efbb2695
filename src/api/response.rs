//! The management API's responses: JSON that no cache may store, GAIA's errors among them.

use lambda_http::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use lambda_http::http::{HeaderValue, StatusCode};

use crate::error::Error;

/// A response with a JSON body.
pub(super) type Response = lambda_http::Response<String>;

/// A JSON response that no cache may store: it may hold keys.
pub(super) fn json(status: u16, body: String) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// GAIA's `{"detail": …}`. It never shows a [`crate::error::Cause`].
impl From<Error> for Response {
    fn from(error: Error) -> Self {
        let body = match &error {
            Error::Invalid(details) => serde_json::json!({ "detail": details }),
            other => serde_json::json!({ "detail": other.to_string() }),
        };
        let mut response = json(error.status(), body.to_string());
        match error {
            // RFC 9110 requires it. The template sets up the first scheme; template-jwt.yaml the
            // second.
            Error::NotAuthenticated => {
                let schemes = HeaderValue::from_static("AWS4-HMAC-SHA256, Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, schemes);
            }
            Error::MethodNotAllowed(methods) => {
                response
                    .headers_mut()
                    .extend(HeaderValue::try_from(methods).map(|methods| (ALLOW, methods)));
            }
            Error::Unavailable(_) => {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
