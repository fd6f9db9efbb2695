//! Routes as patterns: `METHOD /path`, in which `*` is any text. A pattern means the same in an IAM
//! policy.

use crate::permission::Permission;

/// Methods that need only read. `READ_ROUTES` adds routes with other methods.
pub const READ_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// The methods that a pattern may have.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// Maximum length in bytes of a resource ARN up to and including `<stage>/`.
const STAGE: usize = 205;

/// The longest resource ARN, in bytes.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html>
const MAX_RESOURCE: usize = 512;

/// The longest list of resources, in bytes. A response has at most 8 KB, of which a config's
/// addresses take up to 4 KiB, and the context and the rest 1 KB.
const MAX_RESOURCES: usize = 2900;

/// A pattern of routes: `POST /es/api/v1/search/*`.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutePattern {
    method: String,
    /// Begins with a slash; `*` is any text, slashes included, as in a policy.
    path: String,
}

impl RoutePattern {
    /// Reads `METHOD /path`, where the method is one of [`METHODS`]. Errors: the text, and what is
    /// wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(&METHODS, text)
    }

    /// Reads an entry of `READ_ROUTES`: a method that writes unless a deployment says otherwise.
    /// Errors: as of [`RoutePattern::parse`].
    pub fn parse_read(text: &str) -> Result<Self, String> {
        let writing: Vec<_> = METHODS
            .into_iter()
            .filter(|method| !READ_METHODS.contains(method))
            .collect();
        Self::parse_with(&writing, text)
    }

    fn parse_with(methods: &[&str], text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("'{text}' {why}"));
        let Some((method, path)) = text.split_once(' ') else {
            return wrong("must be a method, a space and a path");
        };
        // `*` as a method would match paths too in a policy.
        if !methods.contains(&method) {
            return wrong(&format!("must begin with one of {}", methods.join(", ")));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/*-._~:@+%=".contains(c);
        if !path.starts_with('/') || !path.chars().all(allowed) {
            return wrong(
                "must have a path of letters, digits and /*-._~:@+%= that begins with a slash",
            );
        }
        if path.contains("..") {
            return wrong("must not have '..' in its path");
        }
        if STAGE + method.len() + path.len() > MAX_RESOURCE {
            return wrong("makes a resource longer than 512 bytes in a policy");
        }
        Ok(Self {
            method: method.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Whether a request is on this route. A path with `..` in it never is: a server may take it
    /// for another path.
    pub fn covers(&self, request: Route<'_>) -> bool {
        let path = request.path.filter(|path| !path.contains(".."));
        self.method == request.method && path.is_some_and(|path| matches(&self.path, path))
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// `METHOD /path`, as it was read.
    pub fn text(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The resource of a policy below a stage: `METHOD/path`.
    pub fn resource(&self) -> String {
        format!("{}{}", self.method, self.path)
    }
}

/// What is requested of a protected API.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The path without the stage. `None` if the gateway doesn't name the request's own method with
    /// it, as on routes with `ANY`: then no pattern covers the request.
    pub path: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// Reads `METHOD /path`. Returns `None` if the text is anything else.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (method, path) = text.split_once(' ')?;
        let known = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        // A query isn't part of a path: `*` must not match in it.
        (known && path.starts_with('/') && !path.contains(['?', '#'])).then_some(Self {
            method,
            path: Some(path),
        })
    }

    /// The permission that the request needs.
    pub fn required(self, read_routes: &[RoutePattern]) -> Permission {
        let reads = READ_METHODS.contains(&self.method)
            || read_routes.iter().any(|route| route.covers(self));
        if reads {
            Permission::Read
        } else {
            Permission::Write
        }
    }
}

/// Whether `pattern`, in which `*` is any text, covers the whole of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Whether a policy can name the read routes, and the methods of each for paths with `..` once
/// more.
pub fn read_routes_fit(routes: &[RoutePattern]) -> bool {
    let mut methods: Vec<_> = routes.iter().map(RoutePattern::method).collect();
    methods.sort_unstable();
    methods.dedup();
    let lengths = routes.iter().map(|route| STAGE + route.resource().len());
    let quotes_and_commas = 3 * (READ_METHODS.len() + routes.len());
    (READ_METHODS.len() + methods.len()) * STAGE + lengths.sum::<usize>() + quotes_and_commas
        <= MAX_RESOURCES
}

/// The longest policy, in bytes. API Gateway takes 8 KB.
const MAX_POLICY: usize = 8000;

/// Whether a policy can hold the routes and addresses of a key, with 1,000 bytes for the rest.
pub fn policy_fits(routes: &[RoutePattern], addresses: &[String]) -> bool {
    let routes = routes.iter().map(|route| 208 + route.text().len());
    // Quotes and a comma each.
    let addresses = addresses.iter().map(|address| address.len() + 3);
    routes.chain(addresses).sum::<usize>() + 1000 <= MAX_POLICY
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
            "POST /x/../y",
            "POST /..",
        ] {
            let error = RoutePattern::parse_read(wrong).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(RoutePattern::parse_read("POST /es/api/v1/search/*").is_ok());
        assert!(
            RoutePattern::parse("GET /es/api/v1/*").is_ok()
                && RoutePattern::parse("* /es/api/v1/*").is_err()
        );
    }

    #[test]
    fn what_a_request_needs() {
        let routes = [RoutePattern::parse_read("POST /search/*").unwrap()];
        for method in READ_METHODS {
            assert_eq!(
                Route {
                    method,
                    path: Some("/x")
                }
                .required(&routes),
                Permission::Read
            );
        }
        for (method, path) in [
            ("POST", "/x"),
            ("PUT", "/search/x"),
            ("get", "/x"),
            ("TRACE", "/x"),
            ("", "/x"),
            ("POST", "/search/../x"),
        ] {
            assert_eq!(
                Route {
                    method,
                    path: Some(path)
                }
                .required(&routes),
                Permission::Write,
                "{method} {path}"
            );
        }
        assert_eq!(
            Route {
                method: "POST",
                path: Some("/search/x")
            }
            .required(&routes),
            Permission::Read
        );
        assert_eq!(
            Route {
                method: "POST",
                path: None
            }
            .required(&routes),
            Permission::Write
        );
    }
}
