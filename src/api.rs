//! The management API: a request in, a response out.

pub mod event;
pub mod handlers;
pub mod key_list;
pub mod request;
pub mod router;

use std::time::Duration;

use crate::api::event::{ProxyEvent, ProxyResponse};
use crate::api::request::Request;
use crate::api::router::Route;
use crate::error::Error;
use crate::keys::api_key::Keyring;
use crate::settings::{KeyDisclosure, Settings};
use crate::store::Store;

/// The longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// What every request needs.
#[derive(Debug)]
pub struct Api {
    pub(crate) store: Store,
    pub(crate) keyring: Keyring,
    pub(crate) key_disclosure: KeyDisclosure,
    allow_anonymous: bool,
}

impl Api {
    /// The API over a table and a keyring.
    pub fn new(settings: &Settings, store: Store, keyring: Keyring) -> Self {
        Self { store, keyring, key_disclosure: settings.key_disclosure, allow_anonymous: settings.allow_anonymous }
    }

    /// Answers one invocation within the time that is left for it. Every failure is a response; the causes of a 500 or
    /// 503 are logged here, and only here.
    pub async fn handle(&self, event: ProxyEvent, time_left: Duration) -> ProxyResponse {
        let route = router::route(event.method(), event.path(), event.stage());
        let name = route.as_ref().map_or("none", Route::name);
        let answer = tokio::time::timeout(time_left, self.answer(&event, route)).await;
        answer.unwrap_or_else(|_| Err(Error::Unavailable("no time left".into()))).unwrap_or_else(|error| {
            if let Error::Unavailable(cause) | Error::Internal(cause) = &error {
                let (status, request_id) = (error.status(), event.request_id().unwrap_or_default());
                tracing::error!(status, route = name, api_request_id = request_id, cause, "request failed");
            }
            error.into()
        })
    }

    async fn answer(&self, event: &ProxyEvent, route: Result<Route<'_>, Error>) -> Result<ProxyResponse, Error> {
        let caller = match event.caller() {
            Some(caller) => caller,
            None if self.allow_anonymous => "anonymous",
            None => return Err(Error::NotAuthenticated),
        };
        let route = route?;
        if event.body_len() > MAX_BODY {
            return Err(Error::TooLarge("body exceeds 65536 bytes"));
        }
        let request = Request { event, caller };
        match route {
            Route::List => handlers::list(self, request).await,
            Route::Create => handlers::create(self, request).await,
            Route::Verify => handlers::verify(self, request).await,
            Route::Update(api_key) => handlers::update(self, request, api_key).await,
            Route::Delete(api_key) => handlers::delete(self, request, api_key).await,
        }
    }
}
