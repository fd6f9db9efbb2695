//! The management API: reads events of API Gateway and writes responses, by way of lambda_http.

mod audit;
mod event;
mod handlers;
mod invalid;
mod key_list;
mod key_view;
mod precondition;
mod request;
mod response;
pub mod router;

use std::convert::Infallible;
use std::time::Duration;

use keys::keyring::Keyring;
use keys::route::RoutePattern;
use lambda_http::{Adapter, LambdaEvent, Request, RequestExt, Service, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::request::ApiRequest;
use crate::api::response::Response;
use crate::api::router::Endpoint;
use crate::error::Error;
use crate::settings::{KeyDisclosure, Settings};
use crate::store::Store;

/// The longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The management API: the table, the keyring that its keys are derived from, and the settings of
/// the endpoints.
#[derive(Debug)]
pub struct Api {
    store: Store,
    keyring: Keyring,
    disclosure: KeyDisclosure,
    read_routes: Vec<RoutePattern>,
    allow_anonymous: bool,
}

impl Api {
    /// The API that the settings describe.
    pub fn new(settings: &Settings, store: Store, keyring: Keyring) -> Self {
        Self {
            store,
            keyring,
            disclosure: settings.key_disclosure,
            read_routes: settings.read_routes.clone(),
            allow_anonymous: settings.allow_anonymous,
        }
    }

    /// Responds to one invocation within `time_left`, in the format of the event. Every failure is
    /// a response; an event that can't be read is a 400.
    pub async fn handle(
        &self,
        event: LambdaEvent<Box<RawValue>>,
        time_left: Duration,
    ) -> impl Serialize + use<> {
        let request = event::read(&event.payload);
        let readable = request.is_some();
        let request = request.unwrap_or_else(|| event::empty(&event.payload));
        let respond = async |request: Request| {
            let response = if readable {
                self.respond(&request, time_left).await
            } else {
                Error::BadRequest.into()
            };
            Ok::<_, Infallible>(response)
        };
        let response = Adapter::from(service_fn(respond))
            .call(LambdaEvent::new(request, event.context))
            .await;
        response.unwrap_or_else(|never| match never {})
    }

    /// Logs the cause of every 500 and 503. Nothing below does.
    async fn respond(&self, request: &Request, time_left: Duration) -> Response {
        let route = router::route(
            request.method().as_str(),
            request.raw_http_path(),
            request::stage(request),
        );
        let endpoint = route.as_ref().ok().map(|(endpoint, _)| *endpoint);
        let response = tokio::time::timeout(time_left, self.dispatch(request, route)).await;
        let late = |_| {
            Err(Error::Unavailable(
                "invocation deadline reached before DynamoDB responded".into(),
            ))
        };
        response.unwrap_or_else(late).unwrap_or_else(|error| {
            if let Error::Unavailable(cause) | Error::Internal(cause) = &error {
                let (status, request_id) = (
                    error.status(),
                    request::request_id(request).unwrap_or_default(),
                );
                let route = endpoint.map_or_else(|| "none".to_owned(), Endpoint::name);
                tracing::error!(
                    status,
                    route,
                    api_request_id = request_id,
                    cause,
                    "request failed"
                );
            }
            error.into()
        })
    }

    async fn dispatch(
        &self,
        request: &Request,
        route: Result<(Endpoint, &str), Error>,
    ) -> Result<Response, Error> {
        let caller = match request::caller(request) {
            Some(caller) => caller,
            None if self.allow_anonymous => "anonymous",
            None => return Err(Error::NotAuthenticated),
        };
        let (endpoint, api_key) = route?;
        if request.body().len() > MAX_BODY {
            return Err(Error::TooLarge(format!("body exceeds {MAX_BODY} bytes")));
        }
        let request = ApiRequest {
            http: request,
            caller,
            api_key,
        };
        handlers::handle(self, endpoint, request).await
    }
}
