//! Every failure of a request: its status, its message and its cause.

use std::borrow::Cow;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use keys::json::Step;
use serde::Serialize;

/// What can go wrong with a request. The messages are those of FastAPI, which GAIA runs on.
#[derive(Debug)]
pub enum Error {
    /// 400: the event isn't one of API Gateway's, or holds something that no HTTP request may hold.
    BadRequest,
    /// 400: the body isn't UTF-8.
    UndecodableBody,
    /// 401: the event names no caller.
    NotAuthenticated,
    /// 404: no such path.
    NotFound,
    /// 404: no such key, or not a key of this service.
    KeyNotFound,
    /// 405, with the methods that the path allows.
    MethodNotAllowed(String),
    /// 409: the key's state doesn't allow it. The message says why.
    Conflict(Cow<'static, str>),
    /// 412: the key isn't as the caller's `If-Match` says.
    PreconditionFailed,
    /// 413: the request is too large. The message names the limit.
    TooLarge(String),
    /// 422: the request can be read, but not accepted.
    Invalid(Vec<Detail>),
    /// 503: DynamoDB is throttling or out of reach, or others write the same item; the same request
    /// may succeed soon.
    Unavailable(Cause),
    /// 500: a fault of ours, or of the deployment.
    Internal(Cause),
}

/// The cause of a 500 or a 503: for the log, never for the caller.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// One entry of a 422: where in the request, what is wrong, and a name for it that programs can
/// match.
#[derive(Debug, PartialEq, Serialize)]
pub struct Detail {
    /// The place: `"body"`, `"query"` or `"header"`, then field names and list positions.
    pub loc: Vec<Step>,
    /// The message, for people.
    pub msg: Cow<'static, str>,
    /// The kind of mistake, for programs.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// Values interpolated into `msg`, as in pydantic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx: Option<serde_json::Value>,
}

impl Detail {
    /// An entry without `ctx`.
    pub fn new(
        loc: impl IntoIterator<Item = impl Into<Step>>,
        msg: impl Into<Cow<'static, str>>,
        kind: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            loc: loc.into_iter().map(Into::into).collect(),
            msg: msg.into(),
            kind: kind.into(),
            ctx: None,
        }
    }
}

impl From<Detail> for Error {
    fn from(detail: Detail) -> Self {
        Self::Invalid(vec![detail])
    }
}

impl From<Vec<Detail>> for Error {
    fn from(details: Vec<Detail>) -> Self {
        Self::Invalid(details)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest => f.write_str("Bad Request"),
            Self::UndecodableBody => f.write_str("There was an error parsing the body"),
            Self::NotAuthenticated => f.write_str("Not authenticated"),
            Self::NotFound => f.write_str("Not Found"),
            Self::KeyNotFound => f.write_str("API key not found"),
            Self::MethodNotAllowed(_) => f.write_str("Method Not Allowed"),
            Self::Conflict(why) => f.write_str(why),
            Self::PreconditionFailed => f.write_str("API key was changed meanwhile"),
            Self::TooLarge(what) => f.write_str(what),
            Self::Invalid(_) => f.write_str("Unprocessable Entity"),
            Self::Unavailable(_) => f.write_str("Service Unavailable"),
            Self::Internal(_) => f.write_str("Internal Server Error"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// The HTTP status code.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest | Self::UndecodableBody => 400,
            Self::NotAuthenticated => 401,
            Self::NotFound | Self::KeyNotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::Conflict(_) => 409,
            Self::PreconditionFailed => 412,
            Self::TooLarge(_) => 413,
            Self::Invalid(_) => 422,
            Self::Internal(_) => 500,
            Self::Unavailable(_) => 503,
        }
    }
}

/// Describes a failed request to AWS for the log: the response's status code, the service's code
/// and message if there are any, then the `Display` of every source. Never a `Debug`, and never the
/// body: they hold KMS's MAC or a config.
pub(crate) fn describe<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error
        .raw_response()
        .map(|response| format!("HTTP {}", response.status().as_u16()));
    let service = error.as_service_error();
    let reported = [service.and_then(E::code), service.and_then(E::message)]
        .into_iter()
        .flatten()
        .map(str::to_owned);
    status
        .into_iter()
        .chain(reported)
        .chain([with_sources(error)])
        .collect::<Vec<_>>()
        .join(": ")
}

/// An error's `Display`, then that of every source.
pub(crate) fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(|error| error.to_string())
        .collect::<Vec<_>>()
        .join(": ")
}
