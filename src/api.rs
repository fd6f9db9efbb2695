//! The management API: reads events of API Gateway and writes responses, by way of lambda_http.

mod event;
mod handlers;
mod key_list;
mod precondition;
mod request;
mod response;
pub mod router;

use std::convert::Infallible;
use std::time::Duration;

use lambda_http::{Adapter, LambdaEvent, Request, RequestExt, Service, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::handlers::Keys;
use crate::api::request::ApiRequest;
use crate::api::response::Response;
use crate::api::router::Route;
use crate::error::Error;
use crate::keys::keyring::Keyring;
use crate::settings::Settings;
use crate::store::Store;

/// The longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The management API: the state that the endpoints share, and whether callers need an identity.
#[derive(Debug)]
pub struct Api {
    keys: Keys,
    allow_anonymous: bool,
}

impl Api {
    /// The API that the settings describe.
    pub fn new(settings: &Settings, store: Store, keyring: Keyring) -> Self {
        Self { keys: Keys::new(settings, store, keyring), allow_anonymous: settings.allow_anonymous }
    }

    /// Responds to one invocation within `time_left`, in the format of the event. Every failure is a response; an event that
    /// can't be read is a 400.
    pub async fn handle(&self, event: LambdaEvent<Box<RawValue>>, time_left: Duration) -> impl Serialize + use<> {
        let request = event::read(&event.payload);
        let readable = request.is_some();
        let request = request.unwrap_or_else(|| event::empty(&event.payload));
        let respond = async |request: Request| {
            let response = if readable { self.respond(&request, time_left).await } else { Error::BadRequest.into() };
            Ok::<_, Infallible>(response)
        };
        let response = Adapter::from(service_fn(respond)).call(LambdaEvent::new(request, event.context)).await;
        response.unwrap_or_else(|never| match never {})
    }

    /// Logs the cause of every 500 and 503. Nothing below does.
    async fn respond(&self, request: &Request, time_left: Duration) -> Response {
        let route = router::route(request.method().as_str(), request.raw_http_path(), request::stage(request));
        let name = route.as_ref().map_or("none", Route::name);
        let response = tokio::time::timeout(time_left, self.dispatch(request, route)).await;
        let late = |_| Err(Error::Unavailable("invocation deadline reached before DynamoDB responded".into()));
        response.unwrap_or_else(late).unwrap_or_else(|error| {
            if let Error::Unavailable(cause) | Error::Internal(cause) = &error {
                let (status, request_id) = (error.status(), request::request_id(request).unwrap_or_default());
                tracing::error!(status, route = name, api_request_id = request_id, cause, "request failed");
            }
            error.into()
        })
    }

    async fn dispatch(&self, request: &Request, route: Result<Route<'_>, Error>) -> Result<Response, Error> {
        let caller = match request::caller(request) {
            Some(caller) => caller,
            None if self.allow_anonymous => "anonymous",
            None => return Err(Error::NotAuthenticated),
        };
        let route = route?;
        if request.body().len() > MAX_BODY {
            return Err(Error::TooLarge("body exceeds 65536 bytes"));
        }
        let (keys, request) = (&self.keys, ApiRequest { http: request, caller });
        match route {
            Route::List => handlers::list(keys, request).await,
            Route::Create => handlers::create(keys, request).await,
            Route::Verify => handlers::verify(keys, request).await,
            Route::Get(api_key) => handlers::get(keys, api_key).await,
            Route::Rotate(api_key) => handlers::rotate(keys, request, api_key).await,
            Route::Update(api_key) => handlers::update(keys, request, api_key).await,
            Route::Delete(api_key) => handlers::delete(keys, request, api_key).await,
        }
    }
}
