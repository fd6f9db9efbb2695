//! Routes as patterns: `METHOD /path`, in which `*` is any text. Nothing in one may mean something else in an IAM policy.

use crate::keys::config::Permission;

/// Methods that only read, unless a deployment says more with `READ_ROUTES`.
pub const READ_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

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
pub struct RoutePattern {
    method: String,
    /// Begins with a slash; `*` is any text, slashes included, as in a policy.
    path: String,
}

impl RoutePattern {
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

    /// Whether a request is on this route.
    pub fn covers(&self, method: &str, path: &str) -> bool {
        self.method == method && matches(&self.path, path)
    }

    /// The resource of a policy below a stage: `METHOD/path`.
    pub fn resource(&self) -> String {
        format!("{}{}", self.method, self.path)
    }
}

/// The permission that a request needs. `path` is `None` if the gateway doesn't name the request's own method with it: a
/// read route then doesn't count.
pub fn required(method: &str, path: Option<&str>, read_routes: &[RoutePattern]) -> Permission {
    let reads = |route: &RoutePattern| path.is_some_and(|path| route.covers(method, path));
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

/// Whether a policy can name the routes.
pub fn read_routes_fit(routes: &[RoutePattern]) -> bool {
    let lengths = routes.iter().map(|route| STAGE + route.resource().len());
    let quotes_and_commas = 3 * (READ_METHODS.len() + routes.len());
    READ_METHODS.len() * STAGE + lengths.sum::<usize>() + quotes_and_commas <= MAX_RESOURCES
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let error = RoutePattern::parse(wrong).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(RoutePattern::parse("POST /es/api/v1/search/*").is_ok());
    }

    #[test]
    fn what_a_request_needs() {
        let routes = [RoutePattern::parse("POST /search/*").unwrap()];
        for method in READ_METHODS {
            assert_eq!(required(method, Some("/x"), &routes), Permission::Read);
        }
        for (method, path) in [("POST", "/x"), ("PUT", "/search/x"), ("get", "/x"), ("TRACE", "/x"), ("", "/x")] {
            assert_eq!(required(method, Some(path), &routes), Permission::Write, "{method} {path}");
        }
        assert_eq!(required("POST", Some("/search/x"), &routes), Permission::Read);
        assert_eq!(required("POST", None, &routes), Permission::Write);
    }
}
