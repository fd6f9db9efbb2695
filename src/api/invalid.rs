//! The entries of a 422: what the domain and serde reject, in the words of FastAPI with pydantic 1,
//! which GAIA runs on.

use std::borrow::Cow;
use std::fmt::Display;

use keys::config::{ConfigError, ConfigErrorKind, ConfigErrors, MAX_CONFIG};
use keys::json::{Fault, MAX_DEPTH, Step};
use serde_json::{Value, json};

use crate::error::{Detail, Error};

/// 413 if the config in a body is too long, otherwise 422 with an entry for each error.
impl From<ConfigErrors> for Error {
    fn from(errors: ConfigErrors) -> Self {
        if errors
            .0
            .iter()
            .any(|error| error.kind == ConfigErrorKind::TooLong)
        {
            return config_too_long();
        }
        Self::Invalid(errors.0.into_iter().map(detail).collect())
    }
}

/// The response to a config of more than [`MAX_CONFIG`] bytes.
pub(super) fn config_too_long() -> Error {
    Error::TooLarge(format!("config exceeds {MAX_CONFIG} bytes"))
}

fn detail(error: ConfigError) -> Detail {
    let (msg, kind, ctx) = message(&error.kind);
    let loc = ["body".into(), "config".into()]
        .into_iter()
        .chain(error.path)
        .collect();
    Detail {
        loc,
        msg,
        kind: kind.into(),
        ctx,
    }
}

/// The message, the type and the context of what is wrong with a config.
pub(super) fn message(kind: &ConfigErrorKind) -> (Cow<'static, str>, &'static str, Option<Value>) {
    use ConfigErrorKind as Kind;
    let (msg, kind) = match kind {
        Kind::TooLong => {
            return (
                format!("exceeds {MAX_CONFIG} bytes").into(),
                "value_error.config_size",
                None,
            );
        }
        Kind::Json(_) => ("invalid JSON".into(), "value_error.jsondecode"),
        Kind::NotAnObject => ("value is not a valid dict".into(), "type_error.dict"),
        Kind::NotAList => ("value is not a valid list".into(), "type_error.list"),
        Kind::NotAString => ("str type expected".into(), "type_error.str"),
        Kind::NotABoolean => (
            "value is not a valid boolean".into(),
            "value_error.strictbool",
        ),
        Kind::NotAPermission => {
            let msg = "value is not a valid enumeration member; permitted: 'read', 'write'";
            return (
                msg.into(),
                "type_error.enum",
                Some(json!({ "enum_values": ["read", "write"] })),
            );
        }
        Kind::NotATime => {
            let msg = "invalid datetime format; expected RFC 3339, such as 2030-01-31T12:00:00Z";
            (msg.into(), "value_error.datetime")
        }
        Kind::NotAnIpRange => (
            "value is not a valid IPv4 or IPv6 address or CIDR range".into(),
            "value_error.ipvanynetwork",
        ),
        Kind::NotAUsagePlanKey => {
            let msg = "must be 20 to 128 visible ASCII characters without '\"' and '\\', \
                and not an API key of this service";
            (msg.into(), "value_error.usage_plan_key")
        }
        Kind::NotARoute(problem) => (problem.clone().into(), "value_error.route"),
        Kind::TooFew(limit) => {
            let msg = format!("ensure this value has at least {limit} items");
            return (
                msg.into(),
                "value_error.list.min_items",
                Some(json!({ "limit_value": limit })),
            );
        }
        Kind::TooMany(limit) => {
            let msg = format!("ensure this value has at most {limit} items");
            return (
                msg.into(),
                "value_error.list.max_items",
                Some(json!({ "limit_value": limit })),
            );
        }
        Kind::PermissionsAndRoutes => (
            "permissions and routes can't both be set".into(),
            "value_error.exclusive",
        ),
        Kind::PolicyTooLong => {
            let msg = "routes and allowed_ips would exceed API Gateway's 8 KB limit for a policy";
            (msg.into(), "value_error.policy_size")
        }
        Kind::LeapSecond => (
            "must not be a leap second (:60), which few programs read".into(),
            "value_error.datetime",
        ),
        Kind::BeforeUnixEpoch => (
            "must be in 1970 or later; for no expiry, use null".into(),
            "value_error.datetime",
        ),
        Kind::NearMiss(meant) => (
            format!("unknown field; did you mean '{meant}'?").into(),
            "value_error.misspelled",
        ),
    };
    (msg, kind, None)
}

/// The entry for a body that isn't JSON with one meaning. A syntax error's entry is FastAPI's,
/// which repeats the body.
pub(super) fn fault(fault: Fault, body: &str) -> Detail {
    let mut place: Vec<Step> = vec!["body".into()];
    match fault {
        Fault::Syntax(msg, offset) => {
            let before = body.get(..offset).unwrap_or(body);
            let line = before.rsplit('\n').next().unwrap_or(before);
            let (pos, colno) = (before.chars().count(), line.chars().count() + 1);
            let lineno = before.matches('\n').count() + 1;
            place.push(pos.into());
            let ctx =
                json!({ "msg": msg, "doc": body, "pos": pos, "lineno": lineno, "colno": colno });
            let msg = format!("{msg}: line {lineno} column {colno} (char {pos})");
            Detail {
                ctx: Some(ctx),
                ..Detail::new(place, msg, "value_error.jsondecode")
            }
        }
        Fault::Duplicate(steps) => {
            place.extend(steps);
            Detail::new(place, "duplicate field name", "value_error.duplicate")
        }
        Fault::TooDeep => Detail::new(
            place,
            format!("nested deeper than {MAX_DEPTH} levels"),
            "value_error.depth",
        ),
    }
}

/// The entry for the first value of a typed body that serde rejects.
pub(super) fn typed(error: &serde_path_to_error::Error<serde_json::Error>) -> Detail {
    use serde_path_to_error::Segment;
    let mut loc: Vec<Step> = vec!["body".into()];
    loc.extend(error.path().iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.as_str().into()),
        Segment::Seq { index } => Some((*index).into()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }));
    let text = error.inner().to_string();
    let msg = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(msg, _)| msg);
    let missing = msg.strip_prefix("missing field `");
    if let Some(field) = missing.and_then(|rest| rest.strip_suffix('`')) {
        loc.push(field.into());
        return Detail::new(loc, "field required", "value_error.missing");
    }
    if msg.starts_with("unknown field `") {
        return Detail::new(loc, "extra fields not permitted", "value_error.extra");
    }
    match msg.split_once(": ") {
        Some(("invalid type", expected)) if expected.starts_with("null,") => Detail::new(
            loc,
            "none is not an allowed value",
            "type_error.none.not_allowed",
        ),
        Some((kind, msg)) if kind.contains("_error.") => {
            Detail::new(loc, msg.to_owned(), kind.to_owned())
        }
        // serde says what it found before what it expected, and that may be a key in the wrong field.
        _ => match msg.rsplit_once(", expected ") {
            Some((_, "a string")) => Detail::new(loc, "str type expected", "type_error.str"),
            Some((_, "i64")) => {
                Detail::new(loc, "value is not a valid integer", "type_error.integer")
            }
            _ => Detail::new(loc, "value has another type", "type_error"),
        },
    }
}

/// An error of a typed body's field, with the type that its entry has: see [`typed`].
pub(super) fn rejected<E: serde::de::Error>(kind: &str, msg: impl Display) -> E {
    E::custom(format_args!("{kind}: {msg}"))
}
