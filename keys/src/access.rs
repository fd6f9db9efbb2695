//! Decides whether a key may do something, from an address, at a time. Nothing else decides that.

use std::net::IpAddr;

use time::OffsetDateTime;

use crate::api_key::KeyId;
use crate::config::KeyConfig;
use crate::permission::Permission;
use crate::route::{Route, RoutePattern};

/// The key that a caller's text names.
#[derive(Debug)]
pub enum Lookup {
    /// The text isn't a key under a configured root key.
    Invalid,
    /// It is one, but the table doesn't hold it, or its item names another root key.
    NotFound(KeyId),
    /// It is one, and this is its config.
    Key(KeyId, Box<KeyConfig>),
}

impl Lookup {
    /// The key's ID. `None` if the text isn't a key.
    pub fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Invalid => None,
            Self::NotFound(id) | Self::Key(id, _) => Some(*id),
        }
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// This address. An IPv4-mapped one counts as IPv6, as it does when IAM evaluates a policy.
    Address(IpAddr),
    /// Unknown. A key with `allowed_ips` is denied.
    Unknown,
    /// Unknown to us. The gateway enforces `aws:SourceIp` from the returned policy.
    CheckedLater,
}

impl Source {
    /// Reads an address. Anything else is [`Source::Unknown`].
    pub fn parse(text: Option<&str>) -> Self {
        text.and_then(|text| text.parse().ok())
            .map_or(Self::Unknown, Self::Address)
    }

    /// The address, if there is one.
    pub fn address(self) -> Option<IpAddr> {
        if let Self::Address(address) = self {
            Some(address)
        } else {
            None
        }
    }
}

/// Declares the reasons of denials, their names and the list of them at once. The documents
/// and openapi.yaml have each cause, and the documents also what to do, with links from docs/.
macro_rules! denials {
    ($($reason:ident = $name:literal, cause: $cause:literal, remedy: $remedy:literal;)+) => {
        /// Why a key is denied: the first reason that holds, in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Denial {
            $(#[doc = $cause] $reason,)+
        }

        impl Denial {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$reason,)+];

            /// The reason's name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }

            /// Its cause, and what an operator does about it.
            pub fn cause_and_remedy(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$reason => ($cause, $remedy),)+
                }
            }
        }
    };
}

denials! {
    Invalid = "invalid",
        cause: "Not a key of this service: mistyped, guessed, or of another root key. Or the \
            authorizer's header is missing, appears twice, or isn't as `KeyHeader` says.",
        remedy: "Send all 58 characters in [that header](protect-an-api.md#attach-the-authorizer). If \
            somebody guesses, block the address in `source_ip`.";
    NotFound = "not_found",
        cause: "The key was deleted, perhaps 30 days after it expired, or its item names another \
            root key.",
        remedy: "Tell its owner, whom the audit log may name.";
    Disabled = "disabled",
        cause: "`enabled` is false.",
        remedy: "Enable it only if the person who disabled it says that it hadn't leaked.";
    Expired = "expired",
        cause: "`expires_at` is over: the owner missed a rotation, or the key leaked.",
        remedy: "If the audit log has a `rotate` whose `old_expires_at` is its own time, it was \
            ended on purpose: give the owner the new key. Otherwise extend it.";
    SourceIp = "source_ip",
        cause: "`allowed_ips` doesn't have the address, or nobody knows it: verify needs \
            `source_ip`, and behind a proxy, API Gateway sees the proxy's.",
        remedy: "If the owner knows the address, update the key. Otherwise it \
            [leaked](operations.md#a-leaked-key).";
    Permission = "permission",
        cause: "Methods that write need `write`.",
        remedy: "Update the key, or leave it. On `ANY` and `$default` routes, name the methods.";
    Route = "route",
        cause: "None of the key's `routes` has this method and path.",
        remedy: "Compare them: a slash at the end counts, the stage doesn't, and `ANY` and \
            `$default` routes never match.";
}

/// What is asked of a key. With neither field set, only the key's own state counts; with both set,
/// both must hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessRequest<'a> {
    /// A permission that the key must have.
    pub permission: Option<Permission>,
    /// A request that the key must grant.
    pub route: Option<Route<'a>>,
}

/// A key that isn't denied.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    /// The key's ID.
    pub key_id: KeyId,
    /// Its config.
    pub config: &'a KeyConfig,
    /// The time from which the key is denied. `None`: none is known.
    pub until: Option<OffsetDateTime>,
}

/// Decides at the time `now` by the key's own state, whatever is asked of it.
pub fn state(lookup: &Lookup, now: OffsetDateTime) -> Result<Allowed<'_>, Denial> {
    let (key_id, config) = match lookup {
        Lookup::Invalid => return Err(Denial::Invalid),
        Lookup::NotFound(_) => return Err(Denial::NotFound),
        Lookup::Key(id, config) => (*id, config.as_ref()),
    };
    if !config.enabled {
        return Err(Denial::Disabled);
    }
    let until = config.expires_at;
    if until.is_some_and(|until| until <= now) {
        return Err(Denial::Expired);
    }
    Ok(Allowed {
        key_id,
        config,
        until,
    })
}

/// Decides at the time `now`. `read_routes` are the deployment's routes that need only read
/// although their methods write.
pub fn decide<'a>(
    lookup: &'a Lookup,
    request: AccessRequest<'_>,
    read_routes: &[RoutePattern],
    source: Source,
    now: OffsetDateTime,
) -> Result<Allowed<'a>, Denial> {
    let allowed = state(lookup, now)?;
    let config = allowed.config;
    let address_allowed = match source {
        Source::Address(address) => config.allows_address(address),
        Source::Unknown => config.allowed_ips.is_none(),
        Source::CheckedLater => config
            .allowed_ips
            .as_ref()
            .is_none_or(|ranges| !ranges.is_empty()),
    };
    if !address_allowed {
        return Err(Denial::SourceIp);
    }
    // `None` is less than read, and read less than write. A key with routes has no permission.
    if request.permission.is_some() && config.permissions < request.permission {
        return Err(Denial::Permission);
    }
    match (request.route, config.routes.as_slice()) {
        (None, _) => {}
        (Some(route), []) if config.permissions < Some(route.required(read_routes)) => {
            return Err(Denial::Permission);
        }
        (Some(route), routes)
            if !routes.is_empty() && !routes.iter().any(|pattern| pattern.covers(route)) =>
        {
            return Err(Denial::Route);
        }
        _ => {}
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FIELDS;
    use Permission::{Read, Write};
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

    fn id() -> KeyId {
        KeyId::from_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap()
    }

    fn key(config: &str) -> Lookup {
        Lookup::Key(id(), Box::new(KeyConfig::parse(config).unwrap()))
    }

    fn decided(found: &Lookup, required: Option<Permission>, source: Source) -> Result<(), Denial> {
        decide(
            found,
            AccessRequest {
                permission: required,
                route: None,
            },
            &[],
            source,
            NOW,
        )
        .map(drop)
    }

    /// Every state of a key, permission, requirement and source, against the rules written in
    /// another way.
    #[test]
    fn every_case() {
        let inside = Source::Address("10.1.2.3".parse().unwrap());
        let outside = Source::Address("11.0.0.1".parse().unwrap());
        let mut cases = 0;
        for enabled in [
            "",
            r#","enabled":true"#,
            r#","enabled":false"#,
            r#","enabled":null"#,
        ] {
            for expiry in [
                "",
                r#","expires_at":"2026-01-01T12:00:00Z""#,
                r#","expires_at":"2026-01-01T12:00:01Z""#,
            ] {
                for permission in ["null", r#""read""#, r#""write""#] {
                    for ips in [
                        "",
                        r#","allowed_ips":[]"#,
                        r#","allowed_ips":["::1","10.0.0.0/8"]"#,
                    ] {
                        for required in [None, Some(Read), Some(Write)] {
                            for source in [inside, outside, Source::Unknown, Source::CheckedLater] {
                                let found = key(&format!(
                                    r#"{{"permissions":{permission}{enabled}{expiry}{ips}}}"#
                                ));
                                let mut reasons = Vec::new();
                                if enabled.contains("false") {
                                    reasons.push(Denial::Disabled);
                                }
                                if expiry.contains("12:00:00Z") {
                                    reasons.push(Denial::Expired);
                                }
                                let listed = source == inside || source == Source::CheckedLater;
                                if ips.contains("[]") || (ips.contains("10.") && !listed) {
                                    reasons.push(Denial::SourceIp);
                                }
                                if matches!(
                                    (permission, required),
                                    ("null", Some(_)) | (r#""read""#, Some(Write))
                                ) {
                                    reasons.push(Denial::Permission);
                                }
                                let expected =
                                    reasons.first().map_or(Ok(()), |reason| Err(*reason));
                                assert_eq!(
                                    decided(&found, required, source),
                                    expected,
                                    "{found:?} {required:?} {source:?}"
                                );
                                cases += 1;
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(cases, 4 * 3 * 3 * 3 * 3 * 4);
        assert_eq!(
            decided(&Lookup::Invalid, None, inside),
            Err(Denial::Invalid)
        );
        assert_eq!(
            decided(&Lookup::NotFound(id()), None, inside),
            Err(Denial::NotFound)
        );
    }

    /// Gateways and clients keep a decision until its end. Whichever one or two fields a config has,
    /// the key is allowed until then, and denied from then on.
    #[test]
    fn a_decision_holds_until_its_end() {
        let (created, never) = (
            datetime!(2016-07-30 23:54:10.259 UTC),
            datetime!(9999-12-31 23:59:59 UTC),
        );
        let mut ends = 0;
        for (one, other) in FIELDS
            .iter()
            .flat_map(|one| FIELDS.iter().map(move |other| (one, other)))
        {
            let mut text = format!(r#""{}":{}"#, one.name, one.example);
            if one.name != other.name {
                text += &format!(r#","{}":{}"#, other.name, other.example);
            }
            let Ok(config) = KeyConfig::parse(&format!("{{{text}}}")) else {
                continue; // permissions and routes
            };
            let found = Lookup::Key(id(), Box::new(config));
            let Ok(Allowed { until, .. }) = state(&found, created) else {
                continue;
            };
            let last = until.map_or(never, |end| end - Duration::NANOSECOND);
            assert!(state(&found, last).is_ok(), "{text}");
            if let Some(end) = until {
                assert!(state(&found, end).is_err(), "{text}");
                ends += 1;
            }
        }
        assert!(ends > 0);
    }

    #[test]
    fn a_key_expires_at_its_second_in_any_offset() {
        let found = key(r#"{"expires_at":"2026-01-01T14:00:00.5+02:00"}"#);
        let at = |offset| {
            decide(
                &found,
                AccessRequest::default(),
                &[],
                Source::Unknown,
                NOW + offset,
            )
            .map(drop)
        };
        assert_eq!(at(Duration::milliseconds(499)), Ok(()));
        assert_eq!(at(Duration::milliseconds(500)), Err(Denial::Expired));
    }

    #[test]
    fn addresses_count_in_every_spelling_but_as_one_family() {
        let table = [
            (r#"["10.0.0.0/8"]"#, "10.1.2.3", true),
            (r#"["10.0.0.0/8"]"#, "::ffff:10.1.2.3", false),
            (r#"["::ffff:10.0.0.0/104"]"#, "10.1.2.3", true),
            (r#"["::ffff:10.0.0.0/104"]"#, "11.1.2.3", false),
            (r#"["::ffff:10.0.0.1"]"#, "10.0.0.1", true),
            (r#"["2001:db8::/32"]"#, "2001:DB8:0:0::1", true),
            (r#"["2001:db8::/32"]"#, "2001:db9::1", false),
            (r#"["0.0.0.0/0"]"#, "::1", false),
            (r#"["::/0"]"#, "192.0.2.1", false),
            (r#"["::/0"]"#, "2001:db8::1", true),
            (r#"["::/0"]"#, "::ffff:192.0.2.1", false),
            (r#"["::/64"]"#, "::ffff:192.0.2.1", false),
            (r#"["::/64"]"#, "::1", true),
            (r#"["::/0","0.0.0.0/0"]"#, "::ffff:192.0.2.1", false),
            (r#"["::/0","0.0.0.0/0"]"#, "192.0.2.1", true),
        ];
        for (ranges, address, expected) in table {
            let found = key(&format!(r#"{{"allowed_ips":{ranges}}}"#));
            let allowed = decided(&found, None, Source::parse(Some(address))).is_ok();
            assert_eq!(allowed, expected, "{address} in {ranges}");
        }
        let bound = key(r#"{"allowed_ips":["10.0.0.0/8"]}"#);
        for text in [
            None,
            Some(""),
            Some("10.0.0.1, 10.0.0.2"),
            Some("test-invoke-source-ip"),
        ] {
            assert_eq!(
                decided(&bound, None, Source::parse(text)),
                Err(Denial::SourceIp),
                "{text:?}"
            );
        }
    }
}
