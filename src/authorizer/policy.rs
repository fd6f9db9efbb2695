//! What a key may do in a stage, as an IAM policy: the same for every request with that key, so that it may be cached
//! (but for one from an address that the key isn't for: docs/security.md).

use serde::Serialize;
use serde_json::{Value, json};

use crate::keys::config::{IPV4_MAPPED, KeyConfig, Permission};

/// Methods that only read, unless a deployment says more with `READ_ROUTES`.
const READ_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// What a resource takes up to the stage, the longest of stage names and a slash included, in bytes.
const STAGE: usize = 205;

/// The longest resource, in bytes.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html>
const MAX_RESOURCE: usize = 512;

/// The longest list of resources, in bytes: an answer has at most 8 KB, of which a config's addresses take up to 4 KiB,
/// and the context and all else 1 KB.
const MAX_RESOURCES: usize = 2900;

/// A route that only needs read although its method writes: `POST /es/api/v1/search/*`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadRoute {
    method: String,
    /// Begins with a slash; `*` is any text, slashes included, as in a policy.
    path: String,
}

impl ReadRoute {
    /// Reads `METHOD /path`. Nothing in it may mean something else in a policy than it does here.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why| Err(format!("'{text}' {why}"));
        let Some((method, path)) = text.split_once(' ') else { return wrong("must be a method, a space and a path") };
        if !["POST", "PUT", "PATCH", "DELETE"].contains(&method) {
            return wrong("must begin with POST, PUT, PATCH or DELETE");
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/*-._~:@+%=".contains(c);
        if !path.starts_with('/') || !path.chars().all(allowed) {
            return wrong("must have a path of letters, digits and /*-._~:@+%= that begins with a slash");
        }
        if STAGE + method.len() + path.len() > MAX_RESOURCE {
            return wrong("is longer than 306 characters");
        }
        Ok(Self { method: method.to_owned(), path: path.to_owned() })
    }

    /// The resource below a stage.
    fn resource(&self) -> String {
        format!("{}{}", self.method, self.path)
    }
}

/// A stage of an API, and the request's place in it: `arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MethodArn<'a> {
    /// Up to and with the stage.
    pub stage: &'a str,
    /// The method, as far as the route names one.
    pub method: &'a str,
    /// The path without the stage, beginning with a slash.
    pub path: &'a str,
}

impl<'a> MethodArn<'a> {
    /// Reads an ARN; a part that isn't there is empty.
    pub fn parse(arn: &'a str) -> Option<Self> {
        let (api, rest) = arn.split_once('/')?;
        let stage_len = rest.find('/').unwrap_or(rest.len());
        let (stage, below) = arn.split_at_checked(api.len() + 1 + stage_len)?;
        let below = below.strip_prefix('/').unwrap_or(below);
        let (method, path) = below.split_at_checked(below.find('/').unwrap_or(below.len()))?;
        api.starts_with("arn:").then_some(Self { stage, method, path })
    }
}

/// What a request needs. A read route counts only where the ARN names the request's own method.
pub fn required(method: &str, arn: MethodArn<'_>, read_routes: &[ReadRoute]) -> Permission {
    let reads = |route: &ReadRoute| route.method == method && arn.method == method && matches(&route.path, arn.path);
    if READ_METHODS.contains(&method) || read_routes.iter().any(reads) { Permission::Read } else { Permission::Write }
}

/// Whether `pattern`, in which `*` is any text, covers the whole of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// An IAM policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    condition: Value,
}

impl PolicyDocument {
    /// All that a key with this config may do in the stage; its expiry and its addresses are conditions.
    pub fn allow(config: &KeyConfig, permission: Permission, stage: &str, read_routes: &[ReadRoute]) -> Self {
        let resource = match permission {
            Permission::Write => vec![format!("{stage}/*")],
            Permission::Read => {
                let methods = READ_METHODS.iter().map(|method| format!("{stage}/{method}/*"));
                methods.chain(read_routes.iter().map(|route| format!("{stage}/{}", route.resource()))).collect()
            }
        };
        Self::new("Allow", resource, conditions(config))
    }

    /// Nothing, in the whole stage.
    pub fn deny(stage: &str) -> Self {
        Self::new("Deny", vec![format!("{stage}/*")], Value::Null)
    }

    fn new(effect: &'static str, resource: Vec<String>, condition: Value) -> Self {
        let statement = Statement { action: "execute-api:Invoke", effect, resource, condition };
        Self { version: "2012-10-17", statement: [statement] }
    }
}

/// Whether a policy can name the routes.
pub fn read_routes_fit(routes: &[ReadRoute]) -> bool {
    let lengths = routes.iter().map(|route| STAGE + route.resource().len());
    let quotes_and_commas = 3 * (READ_METHODS.len() + routes.len());
    READ_METHODS.len() * STAGE + lengths.sum::<usize>() + quotes_and_commas <= MAX_RESOURCES
}

fn conditions(config: &KeyConfig) -> Value {
    let mut conditions = serde_json::Map::new();
    if let Some(time) = config.expires_at_seconds() {
        conditions.insert("DateLessThan".to_owned(), json!({ "aws:CurrentTime": time }));
    }
    if config.allowed_ips.is_some() {
        let ranges = config.allowed_ips_texts();
        conditions.insert("IpAddress".to_owned(), json!({ "aws:SourceIp": ranges }));
    }
    if config.excludes_ipv4_mapped() {
        let mapped = [IPV4_MAPPED.to_string()];
        conditions.insert("NotIpAddress".to_owned(), json!({ "aws:SourceIp": mapped }));
    }
    if conditions.is_empty() { Value::Null } else { conditions.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: &str = "arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/live";

    #[test]
    fn arns_of_every_route() {
        let parse = |below: &str| {
            let arn = format!("{STAGE}{below}");
            let arn = MethodArn::parse(&arn).unwrap();
            assert_eq!(arn.stage, STAGE);
            (arn.method.to_owned(), arn.path.to_owned())
        };
        let text = |method: &str, path: &str| (method.to_owned(), path.to_owned());
        assert_eq!(parse("/GET/a/b"), text("GET", "/a/b"));
        assert_eq!(parse("/GET/"), text("GET", "/"));
        assert_eq!(parse("/$default"), text("$default", ""));
        assert_eq!(parse(""), text("", ""));
        for wrong in ["", "arn:aws:execute-api:r:a:api", "x/y/z"] {
            assert_eq!(MethodArn::parse(wrong), None);
        }
    }

    #[test]
    fn a_star_is_any_text_as_in_a_policy() {
        let table = [
            ("/search/*", "/search/a/b", true),
            ("/search/*", "/search/", true),
            ("/search/*", "/search", false),
            ("/search/*", "/searching/x", false),
            ("/*/search", "/a/b/search", true),
            ("/*/search", "/search", false),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/axbybzc", true),
            ("/a*b*c", "/acb", false),
            ("/a*a", "/a", false),
            ("/a*a", "/aa", true),
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/*", "/", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn read_routes_say_what_is_wrong() {
        for wrong in [
            "",
            "POST",
            "POST  /x",
            "GET /x",
            "* /x",
            "post /x",
            "POST x",
            "POST /x?",
            "POST /${aws:username}",
            "POST /é",
            "POST /x y",
        ] {
            let error = ReadRoute::parse(wrong).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(ReadRoute::parse("POST /es/api/v1/search/*").is_ok());
    }

    #[test]
    fn what_a_request_needs() {
        let routes = [ReadRoute::parse("POST /search/*").unwrap()];
        let needs = |method: &str, below: &str| {
            required(method, MethodArn::parse(&format!("{STAGE}{below}")).unwrap(), &routes)
        };
        for method in READ_METHODS {
            assert_eq!(needs(method, &format!("/{method}/x")), Permission::Read);
        }
        for (method, below) in
            [("POST", "/POST/x"), ("PUT", "/PUT/search/x"), ("get", "/GET/x"), ("TRACE", "/TRACE/x"), ("", "/GET/x")]
        {
            assert_eq!(needs(method, below), Permission::Write, "{method} {below}");
        }
        assert_eq!(needs("POST", "/POST/search/x"), Permission::Read);
        assert_eq!(needs("POST", "/ANY/search/x"), Permission::Write, "the ARN does not name the method");
        assert_eq!(needs("DELETE", "/POST/search/x"), Permission::Write);
        assert_eq!(needs("POST", "/$default"), Permission::Write);
    }
}
