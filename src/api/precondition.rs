//! `ETag` and `If-Match`: a caller changes a key only as they read it, so that nobody undoes a
//! change that they don't know.

use lambda_http::http::header::{HeaderMap, HeaderValue, IF_MATCH};

use crate::error::{Detail, Error};
use crate::store::{IfChanged, Item};

/// The header `If-Match` of a request.
pub(super) enum Precondition {
    /// There is no such header.
    None,
    /// `*`: the key exists.
    Exists,
    /// The key has one of these ETags, here without quotes.
    OneOf(Vec<Vec<u8>>),
}

impl Precondition {
    /// Reads all lines of the header as one list. Errors: 422 if it is neither `*` nor a list of
    /// ETags.
    /// Source: <https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1>
    pub fn parse(headers: &HeaderMap) -> Result<Self, Error> {
        let lines: Vec<_> = headers
            .get_all(IF_MATCH)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if lines.is_empty() {
            return Ok(Self::None);
        }
        let list = lines.join(&b',');
        if list.trim_ascii() == b"*" {
            return Ok(Self::Exists);
        }
        let msg = "must be * or a list of ETags, each in double quotes";
        let invalid = || Detail::new(["header", "if-match"], msg, "value_error.if_match");
        Ok(Self::OneOf(etags(&list).ok_or_else(invalid)?))
    }

    /// Whether it holds for a key as it was just read. Returns what the change does if the key
    /// isn't like that any more. Errors: 412 if it doesn't hold.
    pub fn check(&self, item: &Item) -> Result<IfChanged, Error> {
        match self {
            Self::None => Ok(IfChanged::ReadAgain),
            Self::Exists => Ok(IfChanged::Fail),
            Self::OneOf(etags) if etags.contains(&item.change_id.tag().into_bytes()) => {
                Ok(IfChanged::Fail)
            }
            Self::OneOf(_) => Err(Error::PreconditionFailed),
        }
    }
}

/// The ETag of a key, in double quotes.
pub(super) fn etag(item: &Item) -> String {
    format!("\"{}\"", item.change_id.tag())
}

/// The ETags of a list without their quotes: at least one. Elements may be empty. `W/` in front is
/// ignored, because proxies that compress responses add it. Returns `None` if it is anything else.
fn etags(list: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut etags = Vec::new();
    let mut rest = list.trim_ascii_start();
    while !rest.is_empty() {
        if rest.first() != Some(&b',') {
            let opaque = rest
                .strip_prefix(b"W/")
                .unwrap_or(rest)
                .strip_prefix(b"\"")?;
            let end = opaque.iter().position(|byte| *byte == b'"')?;
            let (etag, after) = opaque.split_at_checked(end)?;
            if !etag
                .iter()
                .all(|byte| byte.is_ascii_graphic() || !byte.is_ascii())
            {
                return None;
            }
            etags.push(etag.to_vec());
            rest = after.strip_prefix(b"\"")?.trim_ascii_start();
        }
        rest = match rest {
            [] => rest,
            _ => rest.strip_prefix(b",")?.trim_ascii_start(),
        };
    }
    Some(etags).filter(|etags| !etags.is_empty())
}
