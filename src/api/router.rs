//! The one table of methods and paths. CONTRIBUTING.md, "Add a route", lists the other places of a route.

use crate::error::Error;

/// The collection's path, which every endpoint's path begins with.
const API_KEYS: &str = "/es/api/v1/credentials/api_keys";

/// An endpoint, with the key or ID from its path.
#[derive(Debug, PartialEq)]
pub enum Route<'a> {
    /// `GET …/api_keys`
    List,
    /// `POST …/api_keys`
    Create,
    /// `POST …/api_keys/verify`
    Verify,
    /// `GET …/api_keys/{api_key}`
    Get(&'a str),
    /// `POST …/api_keys/{api_key}/rotate`
    Rotate(&'a str),
    /// `PUT …/api_keys/{api_key}`
    Update(&'a str),
    /// `DELETE …/api_keys/delete/{api_key}`
    Delete(&'a str),
}

impl Route<'_> {
    /// The route's name in logs. The path itself may hold a secret.
    pub fn name(&self) -> &'static str {
        match self {
            Self::List => "GET /es/api/v1/credentials/api_keys",
            Self::Create => "POST /es/api/v1/credentials/api_keys",
            Self::Verify => "POST /es/api/v1/credentials/api_keys/verify",
            Self::Get(_) => "GET /es/api/v1/credentials/api_keys/{api_key}",
            Self::Rotate(_) => "POST /es/api/v1/credentials/api_keys/{api_key}/rotate",
            Self::Update(_) => "PUT /es/api/v1/credentials/api_keys/{api_key}",
            Self::Delete(_) => "DELETE /es/api/v1/credentials/api_keys/delete/{api_key}",
        }
    }
}

/// Finds the endpoint of a method and a path, which isn't decoded. If the path is unknown, a stage in front of it is ignored:
/// gateways and formats differ in whether it is there. One slash at the end is ignored. Errors: 404, or 405 with the methods
/// that the path allows.
pub fn route<'a>(method: &str, path: &'a str, stage: Option<&str>) -> Result<Route<'a>, Error> {
    let without_stage = || path.strip_prefix('/')?.strip_prefix(stage?);
    let below = below_api_keys(path).or_else(|| below_api_keys(without_stage()?)).ok_or(Error::NotFound)?;
    let segments: Vec<_> = below.split('/').skip(1).collect();
    if segments.contains(&"") {
        return Err(Error::NotFound);
    }
    match (method, segments.as_slice()) {
        ("GET", []) => Ok(Route::List),
        ("POST", []) => Ok(Route::Create),
        (_, []) => Err(Error::MethodNotAllowed("GET, POST")),
        ("POST", ["verify"]) => Ok(Route::Verify),
        (_, ["verify"]) => Err(Error::MethodNotAllowed("POST")),
        ("GET", [api_key]) => Ok(Route::Get(api_key)),
        ("PUT", [api_key]) => Ok(Route::Update(api_key)),
        (_, [_]) => Err(Error::MethodNotAllowed("GET, PUT")),
        ("DELETE", ["delete", api_key]) => Ok(Route::Delete(api_key)),
        ("POST", [api_key, "rotate"]) => Ok(Route::Rotate(api_key)),
        (_, ["delete", "rotate"]) => Err(Error::MethodNotAllowed("DELETE, POST")),
        (_, ["delete", _]) => Err(Error::MethodNotAllowed("DELETE")),
        (_, [_, "rotate"]) => Err(Error::MethodNotAllowed("POST")),
        _ => Err(Error::NotFound),
    }
}

/// What follows the collection's path, without one slash at the end: nothing, or text that begins with a slash.
fn below_api_keys(path: &str) -> Option<&str> {
    let below = path.strip_prefix(API_KEYS)?;
    let below = below.strip_suffix('/').unwrap_or(below);
    (below.is_empty() || below.starts_with('/')).then_some(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(method: &str, path: &str, stage: Option<&str>) -> String {
        match route(method, path, stage) {
            Ok(route) => format!("{route:?}"),
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
                assert_eq!(outcome(method, &path, Some("prod")), expected, "{method} {path}");
                assert_eq!(outcome(method, &path, Some("es")), expected, "{method} {path}, a stage named es");
                assert_eq!(outcome(method, &format!("/prod{path}"), Some("prod")), expected, "{method} /prod{path}");
                assert_eq!(outcome(method, &format!("/prod{path}"), None), "404", "{method} /prod{path}");
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
