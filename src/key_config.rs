//! The config object of a key: checked, and kept as it was sent.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::error::{Detail, Error, Loc};
use crate::json;
use crate::rfc3339;

/// The longest config, in bytes of its text.
pub const MAX_CONFIG: usize = 4096;

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Requests that only read.
    Read,
    /// All requests: write includes read.
    Write,
}

impl Permission {
    /// The word that stands in a config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Reads the word that stands in a config.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Read, Self::Write].into_iter().find(|permission| permission.as_str() == word)
    }

    /// The entry of a 422 for anything but the two words.
    pub fn detail(loc: Vec<Loc>) -> Detail {
        Detail {
            loc,
            msg: "value is not a valid enumeration member; permitted: 'read', 'write'".into(),
            kind: "type_error.enum",
            ctx: Some(serde_json::json!({ "enum_values": ["read", "write"] })),
        }
    }
}

/// A config: its text as it was sent, and the members that have a meaning.
#[derive(Debug)]
pub struct KeyConfig {
    text: String,
    /// What the key opens; nothing if absent.
    pub permissions: Option<Permission>,
    /// False: refused until it is true again.
    pub enabled: bool,
    /// From then on the key is refused. In UTC.
    pub expires_at: Option<OffsetDateTime>,
    /// From anywhere else the key is refused; empty: it isn't. IPv4-mapped ranges stand here as IPv4.
    pub allowed_ips: Vec<IpNet>,
}

/// The members whose misspelling would silently open a key.
const RESTRICTIONS: [&str; 3] = ["enabled", "expires_at", "allowed_ips"];

impl KeyConfig {
    /// Checks the text of a config: one parser for what is written and what is read back.
    /// Errors: 413 if it is too long, 422 with every wrong member, its place counted from the request's body.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let value = json::parse(text).map_err(|fault| fault.detail(text, place(&[])))?;
        let members = json::members(value)
            .ok_or_else(|| Detail::new(place(&[]), "value is not a valid dict", "type_error.dict"))?;
        if value.get().len() > MAX_CONFIG {
            return Err(Error::TooLarge("config exceeds 4096 bytes"));
        }
        let mut details = Vec::new();
        let member = |name: &str| {
            let value = members.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
            value.filter(|value| value.get() != "null")
        };
        let config = Self {
            text: value.get().to_owned(),
            permissions: member("permissions").and_then(|value| permission(value, &mut details)),
            enabled: member("enabled").is_none_or(|value| enabled(value, &mut details)),
            expires_at: member("expires_at").and_then(|value| expires_at(value, &mut details)),
            allowed_ips: member("allowed_ips").map_or_else(Vec::new, |value| allowed_ips(value, &mut details)),
        };
        details.extend(members.iter().filter_map(|(name, _)| misspelling(name)));
        if details.is_empty() { Ok(config) } else { Err(Error::Invalid(details)) }
    }

    /// The text as it was sent, without the white space around.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `expires_at` in UTC and whole seconds, as IAM takes it: up to one second too early, never too late.
    pub fn expires_at_seconds(&self) -> Option<String> {
        self.expires_at.map(rfc3339::seconds)
    }

    /// `allowed_ips` as IAM takes them, none longer than it was sent: addresses without a prefix.
    pub fn allowed_ips_texts(&self) -> Vec<String> {
        let text = |range: &IpNet| match range.prefix_len() == range.max_prefix_len() {
            true => range.addr().to_string(),
            false => range.to_string(),
        };
        self.allowed_ips.iter().map(text).collect()
    }
}

fn permission(value: &RawValue, details: &mut Vec<Detail>) -> Option<Permission> {
    let permission = json::string(value).and_then(|word| Permission::parse(&word));
    if permission.is_none() {
        details.push(Permission::detail(place(&["permissions".into()])));
    }
    permission
}

fn enabled(value: &RawValue, details: &mut Vec<Detail>) -> bool {
    match value.get() {
        "true" => true,
        "false" => false,
        _ => {
            let loc = place(&["enabled".into()]);
            details.push(Detail::new(loc, "value is not a valid boolean", "value_error.strictbool"));
            false
        }
    }
}

fn expires_at(value: &RawValue, details: &mut Vec<Detail>) -> Option<OffsetDateTime> {
    let time = json::string(value).and_then(|text| rfc3339(&text));
    if time.is_none() {
        let loc = place(&["expires_at".into()]);
        let msg = "invalid datetime format; expected RFC 3339, such as 2030-01-31T12:00:00Z";
        details.push(Detail::new(loc, msg, "value_error.datetime"));
    }
    time
}

/// A time in UTC. The parser takes any separator, and times that no UTC year has four digits for.
fn rfc3339(text: &str) -> Option<OffsetDateTime> {
    let separator = text.as_bytes().get(10)?;
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    (separator.eq_ignore_ascii_case(&b'T') && (0..=9999).contains(&time.year())).then_some(time)
}

fn allowed_ips(value: &RawValue, details: &mut Vec<Detail>) -> Vec<IpNet> {
    let Some(elements) = json::elements(value) else {
        details.push(Detail::new(place(&["allowed_ips".into()]), "value is not a valid list", "type_error.list"));
        return Vec::new();
    };
    let mut range = |(index, element): (usize, &RawValue)| {
        let detail = |msg, kind| Detail::new(place(&["allowed_ips".into(), Loc::Index(index)]), msg, kind);
        let Some(text) = json::string(element) else {
            details.push(detail("str type expected", "type_error.str"));
            return None;
        };
        let range = ip_range(&text);
        if range.is_none() {
            details
                .push(detail("value is not a valid IPv4 or IPv6 address or CIDR range", "value_error.ipvanynetwork"));
        }
        range
    };
    elements.into_iter().enumerate().filter_map(&mut range).collect()
}

/// An address, or a range without bits below its prefix: `10.0.0.1/8` is more likely a slip than a wish for all of 10/8.
fn ip_range(text: &str) -> Option<IpNet> {
    let range = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().ok().filter(|range| range.addr() == range.network())?,
    };
    match (range, range.addr().to_canonical()) {
        (IpNet::V6(mapped), IpAddr::V4(address)) if mapped.prefix_len() >= 96 => {
            IpNet::new(address.into(), mapped.prefix_len() - 96).ok()
        }
        _ => Some(range),
    }
}

/// The same name but for case, underscores (or hyphens) or a plural, of whichever word.
fn misspelling(name: &str) -> Option<Detail> {
    let folded = |name: &str| name.to_lowercase().replace(['_', '-', 's'], "");
    let meant = RESTRICTIONS.into_iter().find(|known| name != *known && folded(name) == folded(known))?;
    Some(Detail::new(
        place(&[name.into()]),
        format!("unknown member; did you mean '{meant}'?"),
        "value_error.misspelled",
    ))
}

/// A place in the request's `config`.
fn place(steps: &[Loc]) -> Vec<Loc> {
    ["body".into(), "config".into()].into_iter().chain(steps.iter().cloned()).collect()
}
