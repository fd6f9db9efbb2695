//! A protected API: requests to it, the authorizer in front, and a gateway that evaluates the
//! responses.

use gaia_api_keys::authorizer::Authorizer;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::{API_KEYS, App, Call, TIMEOUT};

pub const API: &str = "arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/live";

/// The formats of an authorizer's event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    RestToken,
    RestRequest,
    Http1,
    Http2,
    /// 2.0, in a deployment that asks for simple responses.
    Simple,
}

pub const SHAPES: [Shape; 5] = [
    Shape::RestToken,
    Shape::RestRequest,
    Shape::Http1,
    Shape::Http2,
    Shape::Simple,
];

/// A request to a protected API.
#[derive(Clone, Debug)]
pub struct Visit {
    pub header: String,
    pub method: String,
    pub path: String,
    pub source_ip: String,
}

impl Visit {
    pub fn new(key: &str, method: &str, path: &str) -> Self {
        let text = str::to_owned;
        Self {
            header: format!("Search {key}"),
            method: text(method),
            path: text(path),
            source_ip: text("192.0.2.1"),
        }
    }

    fn arn(&self) -> String {
        format!("{API}/{}{}", self.method, self.path)
    }

    pub fn event(&self, shape: Shape) -> Value {
        let identity = json!({ "sourceIp": self.source_ip });
        let http = json!({ "method": self.method, "path": format!("/live{}", self.path), "sourceIp": self.source_ip });
        match shape {
            Shape::RestToken => {
                json!({ "type": "TOKEN", "authorizationToken": self.header, "methodArn": self.arn() })
            }
            Shape::RestRequest => {
                let mut event = self.event(Shape::Http1);
                let fields = event.as_object_mut().expect("an object");
                fields.remove("version");
                fields.remove("authorizationToken");
                event
            }
            Shape::Http1 => json!({
                "version": "1.0",
                "type": "REQUEST",
                "methodArn": self.arn(),
                // HTTP APIs put all identity sources here; it isn't a TOKEN event.
                "authorizationToken": "something, else",
                "httpMethod": self.method,
                "headers": { "Authorization": self.header },
                "multiValueHeaders": { "Authorization": [self.header] },
                "requestContext": { "identity": identity },
            }),
            Shape::Http2 | Shape::Simple => json!({
                "version": "2.0",
                "type": "REQUEST",
                "routeArn": self.arn(),
                "identitySource": [self.header],
                "headers": { "authorization": self.header },
                "requestContext": { "http": http },
            }),
        }
    }
}

/// An API with an authorizer of each kind on the same table.
pub struct Protected {
    pub app: App,
    policies: Authorizer,
    simple: Authorizer,
}

impl Protected {
    pub async fn new(changes: &[(&str, &str)]) -> Self {
        let app = App::new().await;
        let policies = app.table.authorizer(changes).await.expect("a start");
        let changes: Vec<_> = changes
            .iter()
            .copied()
            .chain([("SIMPLE_RESPONSES", "true")])
            .collect();
        let simple = app.table.authorizer(&changes).await.expect("a start");
        app.table.proxy.requests();
        Self {
            app,
            policies,
            simple,
        }
    }

    pub async fn response(&self, shape: Shape, event: Value) -> Result<Value, String> {
        self.response_to_text(shape, event.to_string()).await
    }

    /// The response to an event that serde_json's tree can't hold.
    pub async fn response_to_text(&self, shape: Shape, event: String) -> Result<Value, String> {
        let authorizer = if shape == Shape::Simple {
            &self.simple
        } else {
            &self.policies
        };
        let payload = RawValue::from_string(event).expect("JSON");
        let response = authorizer.handle(&payload, TIMEOUT).await;
        let response =
            serde_json::to_value(response.map_err(|error| error.to_string())?).expect("JSON");
        assert!(
            response.to_string().len() <= 8000,
            "{}",
            response.to_string().len()
        );
        Ok(response)
    }

    /// Whether the gateway allows the visit.
    pub async fn allows(&self, shape: Shape, visit: &Visit) -> bool {
        let response = self
            .response(shape, visit.event(shape))
            .await
            .expect("a response");
        lets_in(&response, visit)
    }

    /// Whether the verify endpoint says that the key is valid.
    pub async fn verifies(&self, key: &str, permission: &str, source_ip: &str) -> bool {
        let question = json!({ "api_key": key, "permission": permission, "source_ip": source_ip });
        let response = self
            .app
            .send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
            .await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["valid"].as_bool().expect("a boolean")
    }
}

/// Whether API Gateway allows a visit by a response, a new one or one from its cache.
pub fn lets_in(response: &Value, visit: &Visit) -> bool {
    if let Some(authorized) = response["isAuthorized"].as_bool() {
        return authorized;
    }
    let statements = response["policyDocument"]["Statement"]
        .as_array()
        .expect("statements");
    let applies = |effect: &str| {
        statements.iter().any(|statement| {
            assert_eq!(statement["Action"], "execute-api:Invoke");
            let mut resources = statement["Resource"].as_array().expect("resources").iter();
            statement["Effect"] == effect
                && resources.any(|resource| {
                    like(
                        resource.as_str().expect("text").as_bytes(),
                        visit.arn().as_bytes(),
                    )
                })
                && statement["Condition"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .all(|(operator, keys)| holds(operator, keys, visit))
        })
    };
    applies("Allow") && !applies("Deny")
}

/// IAM's wildcards.
pub fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| like(rest, &text[skipped..])),
        Some((first, rest)) => text
            .split_first()
            .is_some_and(|(other, text)| first == other && like(rest, text)),
    }
}

fn holds(operator: &str, keys: &Value, visit: &Visit) -> bool {
    match operator {
        "DateLessThan" => {
            let time = keys["aws:CurrentTime"].as_str().expect("a time");
            OffsetDateTime::now_utc() < OffsetDateTime::parse(time, &Rfc3339).expect("RFC 3339")
        }
        "IpAddress" => ranges(keys).any(|range| within(range, &visit.source_ip)),
        "NotIpAddress" => !ranges(keys).any(|range| within(range, &visit.source_ip)),
        other => panic!("an operator that this reading of IAM lacks: {other}"),
    }
}

fn ranges(keys: &Value) -> impl Iterator<Item = &str> {
    let ranges = keys["aws:SourceIp"].as_array().expect("a list");
    assert!(!ranges.is_empty());
    ranges.iter().map(|range| range.as_str().expect("text"))
}

/// IAM's reading of an address, as far as it is known: the text as it is, an IPv4-mapped address
/// being one of IPv6.
fn within(range: &str, address: &str) -> bool {
    let bits = |text: &str| match text.parse::<std::net::IpAddr>().expect("an address") {
        std::net::IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        std::net::IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let (network, prefix) = range.split_once('/').unwrap_or((range, "128"));
    let ((network, family), (address, other)) = (bits(network), bits(address));
    let prefix = prefix.parse::<u32>().expect("a prefix").min(family);
    family == other && (prefix == 0 || (network ^ address) >> (128 - prefix) == 0)
}
