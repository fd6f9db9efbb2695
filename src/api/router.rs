//! The endpoints and their paths.

use crate::error::Error;

/// The collection's path, which every endpoint's path begins with.
pub const API_KEYS: &str = "/es/api/v1/credentials/api_keys";

/// An endpoint: a method and a path of the management API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The keys and their configs.
    List,
    /// Creates a key.
    Create,
    /// Decides whether a key is valid.
    Verify,
    /// One key with its details.
    Get,
    /// Replaces a key's config.
    Update,
    /// Creates a key in place of another one.
    Rotate,
    /// Deletes a key.
    Delete,
}

/// Every endpoint, its method, and its path below [`API_KEYS`], in which `{api_key}` stands for a
/// key or its ID. A path without `{api_key}` is a word of its own: `/verify` is no key.
pub const ENDPOINTS: [(Endpoint, &str, &str); 7] = [
    (Endpoint::List, "GET", ""),
    (Endpoint::Create, "POST", ""),
    (Endpoint::Update, "PUT", "/{api_key}"),
    (Endpoint::Delete, "DELETE", "/delete/{api_key}"),
    (Endpoint::Get, "GET", "/{api_key}"),
    (Endpoint::Rotate, "POST", "/{api_key}/rotate"),
    (Endpoint::Verify, "POST", "/verify"),
];

impl Endpoint {
    /// The endpoint's name in logs, such as `GET /es/api/v1/credentials/api_keys/{api_key}`. The
    /// path of a request may hold a secret.
    pub fn name(self) -> String {
        let named = ENDPOINTS.iter().find(|(endpoint, ..)| *endpoint == self);
        named.map_or_else(String::new, |(_, method, path)| {
            format!("{method} {API_KEYS}{path}")
        })
    }
}

/// Finds the endpoint of a method and a path, which isn't decoded, and the text at `{api_key}`
/// (empty if the path has none). If the path is unknown, a stage in front of it is ignored:
/// gateways and formats differ in whether it is there. One slash at the end is ignored. Errors:
/// 404, or 405 with the methods that the path allows.
pub fn route<'a>(
    method: &str,
    path: &'a str,
    stage: Option<&str>,
) -> Result<(Endpoint, &'a str), Error> {
    let without_stage = || path.strip_prefix('/')?.strip_prefix(stage?);
    let below = below_api_keys(path)
        .or_else(|| below_api_keys(without_stage()?))
        .ok_or(Error::NotFound)?;
    let is_word = ENDPOINTS.iter().any(|(_, _, path)| *path == below);
    let mut allowed = Vec::new();
    for (endpoint, allowed_method, endpoint_path) in ENDPOINTS {
        let matched = if is_word {
            (endpoint_path == below).then_some("")
        } else {
            api_key(endpoint_path, below)
        };
        match matched {
            Some(api_key) if allowed_method == method => return Ok((endpoint, api_key)),
            Some(_) => allowed.push(allowed_method),
            None => {}
        }
    }
    if allowed.is_empty() {
        return Err(Error::NotFound);
    }
    allowed.sort_unstable();
    Err(Error::MethodNotAllowed(allowed.join(", ")))
}

/// What follows the collection's path, without one slash at the end: nothing, or text that begins
/// with a slash.
fn below_api_keys(path: &str) -> Option<&str> {
    let below = path.strip_prefix(API_KEYS)?;
    let below = below.strip_suffix('/').unwrap_or(below);
    (below.is_empty() || below.starts_with('/')).then_some(below)
}

/// What `path` has in place of `{api_key}`: one segment. `None` if it is another path.
fn api_key<'a>(endpoint_path: &str, path: &'a str) -> Option<&'a str> {
    let (before, after) = endpoint_path.split_once("{api_key}")?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(method: &str, path: &str, stage: Option<&str>) -> String {
        match route(method, path, stage) {
            Ok((endpoint, "")) => format!("{endpoint:?}"),
            Ok((endpoint, api_key)) => format!("{endpoint:?}({api_key:?})"),
            Err(Error::MethodNotAllowed(allow)) => format!("405 {allow}"),
            Err(error) => error.status().to_string(),
        }
    }

    #[test]
    fn every_path_with_and_without_slash_and_stage() {
        let table = [
            ("GET", "", "List"),
            ("POST", "", "Create"),
            ("DELETE", "", "405 GET, POST"),
            ("HEAD", "", "405 GET, POST"),
            ("get", "", "405 GET, POST"),
            ("PUT", "/k", "Update(\"k\")"),
            ("PUT", "/delete", "Update(\"delete\")"),
            ("POST", "/verify", "Verify"),
            ("PUT", "/verify", "405 POST"),
            ("GET", "/verify", "405 POST"),
            ("PATCH", "/verify", "405 POST"),
            ("GET", "/k", "Get(\"k\")"),
            ("POST", "/k/rotate", "Rotate(\"k\")"),
            ("GET", "/k/rotate", "405 POST"),
            ("POST", "/delete/rotate", "Rotate(\"delete\")"),
            ("DELETE", "/delete/rotate", "Delete(\"rotate\")"),
            ("GET", "/delete/rotate", "405 DELETE, POST"),
            ("DELETE", "/delete/verify", "Delete(\"verify\")"),
            ("POST", "/k", "405 GET, PUT"),
            ("DELETE", "/delete/k", "Delete(\"k\")"),
            ("GET", "/delete/k", "405 DELETE"),
            ("DELETE", "/delete", "405 GET, PUT"),
            ("DELETE", "/other/k", "404"),
            ("PUT", "/k/l/m", "404"),
            ("PUT", "//k", "404"),
            ("GET", "x", "404"),
        ];
        for (method, below, expected) in table {
            for slash in ["", "/"] {
                let path = format!("{API_KEYS}{below}{slash}");
                assert_eq!(outcome(method, &path, None), expected, "{method} {path}");
                assert_eq!(
                    outcome(method, &path, Some("prod")),
                    expected,
                    "{method} {path}"
                );
                assert_eq!(
                    outcome(method, &path, Some("es")),
                    expected,
                    "{method} {path}, a stage named es"
                );
                assert_eq!(
                    outcome(method, &format!("/prod{path}"), Some("prod")),
                    expected,
                    "{method} /prod{path}"
                );
                assert_eq!(
                    outcome(method, &format!("/prod{path}"), None),
                    "404",
                    "{method} /prod{path}"
                );
            }
        }
        for path in [
            "",
            "/",
            "/es/api/v1/credentials/api_keys//",
            "/es/api/v1/credentials",
            "/es/api/v1/credentials/other",
            "/prod",
            "/prodx/es",
        ] {
            assert_eq!(outcome("GET", path, Some("prod")), "404", "{path}");
        }
    }
}
