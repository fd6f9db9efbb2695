//! The config of a key: checked, and kept as it was sent.

use std::net::{IpAddr, Ipv6Addr};

use ::time::format_description::well_known::Rfc3339;
use ::time::{OffsetDateTime, UtcOffset};
use ipnet::IpNet;
use serde_json::value::RawValue;
use strsim::osa_distance;

use crate::error::{Detail, Error, Loc};
use crate::keys::json::{self, Fields};
use crate::keys::permission::Permission;
use crate::keys::route::{self, RoutePattern};
use crate::keys::time;

/// The longest config, in bytes of its text.
pub const MAX_CONFIG: usize = 4096;

/// The most routes of a key.
const MAX_ROUTES: usize = 20;

/// A config: its text as it was sent, and the fields that have a meaning.
#[derive(Debug)]
pub struct KeyConfig {
    text: Box<RawValue>,
    /// What the key grants. `None` without `routes`: nothing.
    pub permissions: Option<Permission>,
    /// In place of `permissions`, the key grants exactly these routes. Empty if absent.
    pub routes: Vec<RoutePattern>,
    /// If false, the key is denied.
    pub enabled: bool,
    /// The key is denied from this time on. In UTC.
    pub expires_at: Option<OffsetDateTime>,
    /// Source addresses the key may be used from. `None` means any. An empty list, which
    /// [`KeyConfig::parse_new`] rejects, means none. IPv4-mapped ranges are IPv4 here.
    pub allowed_ips: Option<Vec<IpNet>>,
}

/// The IPv4-mapped addresses, and as many neighbours that nobody has. Some libraries take the exact range,
/// `::ffff:0:0/96`, for one of IPv4.
pub const IPV4_MAPPED: IpNet = IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xfffe, 0, 0)), 95);

impl KeyConfig {
    /// Reads the text of a stored config.
    /// Errors: 413 if it is too long, 422 with every invalid field and its place in the request's body.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (config, _, details) = Self::read(text)?;
        if details.is_empty() { Ok(config) } else { Err(Error::Invalid(details)) }
    }

    /// Checks the text of a config before it is written. Rules that apply here and not in [`KeyConfig::parse`] may become
    /// stricter later without turning stored keys into 500s.
    /// Errors: as of [`KeyConfig::parse`].
    pub fn parse_new(text: &str) -> Result<Self, Error> {
        let (config, fields, mut details) = Self::read(text)?;
        if config.allowed_ips.as_ref().is_some_and(Vec::is_empty) {
            let msg = "ensure this value has at least 1 items";
            let detail = Detail::new(place(&["allowed_ips".into()]), msg, "value_error.list.min_items");
            details.push(Detail { ctx: Some(serde_json::json!({ "limit_value": 1 })), ..detail });
        }
        if !route::policy_fits(&config.routes, &config.allowed_ips_texts()) {
            let msg = "routes and allowed_ips would exceed API Gateway's 8 KB limit for a policy";
            details.push(Detail::new(place(&["routes".into()]), msg, "value_error.policy_size"));
        }
        details.extend(fields.iter().filter_map(|(name, _)| near_miss(name)));
        if details.is_empty() { Ok(config) } else { Err(Error::Invalid(details)) }
    }

    /// The config, its fields, and what is wrong with those that have a meaning.
    fn read(text: &str) -> Result<(Self, Fields<'_>, Vec<Detail>), Error> {
        if text.trim_matches([' ', '\t', '\n', '\r']).len() > MAX_CONFIG {
            return Err(Error::TooLarge("config exceeds 4096 bytes"));
        }
        let value = json::parse(text).map_err(|fault| fault.detail(text, place(&[])))?;
        let fields = json::fields(value)
            .ok_or_else(|| Detail::new(place(&[]), "value is not a valid dict", "type_error.dict"))?;
        let mut details = Vec::new();
        let field = |name: &str| {
            let value = fields.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
            value.filter(|value| value.get() != "null")
        };
        let config = Self {
            text: value.to_owned(),
            permissions: field("permissions").and_then(|value| permission(value, &mut details)),
            routes: field("routes").map(|value| routes(value, &mut details)).unwrap_or_default(),
            enabled: field("enabled").is_none_or(|value| enabled(value, &mut details)),
            expires_at: field("expires_at").and_then(|value| expires_at(value, &mut details)),
            allowed_ips: field("allowed_ips").and_then(|value| allowed_ips(value, &mut details)),
        };
        if field("permissions").is_some() && field("routes").is_some() {
            let msg = "permissions and routes can't both be set";
            details.push(Detail::new(place(&["routes".into()]), msg, "value_error.exclusive"));
        }
        Ok((config, fields, details))
    }

    /// The text as it was sent, without the white space around.
    pub fn as_str(&self) -> &str {
        self.text.get()
    }

    /// The same, as JSON that serde writes verbatim.
    pub fn as_raw(&self) -> &RawValue {
        &self.text
    }

    /// The same config with another `expires_at`, which is JSON: a string or `null`. All other fields keep their text and
    /// order. Errors: 413 if it is too long.
    pub fn with_expires_at(&self, value: &str) -> Result<Self, Error> {
        let text = self.as_str();
        let fields = json::fields(&self.text).unwrap_or_default();
        let found = fields.iter().find(|(name, _)| name == "expires_at").map(|(_, value)| value.get());
        let end = text.len().saturating_sub(1);
        let (start, end, inserted) = match found {
            Some(old) => {
                let start = old.as_ptr() as usize - text.as_ptr() as usize;
                (start, start + old.len(), value.to_owned())
            }
            None if value == "null" => return Self::parse(text),
            None => (end, end, format!("{}\"expires_at\":{value}", if fields.is_empty() { "" } else { "," })),
        };
        let (before, after) = (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
        Self::parse(&format!("{before}{inserted}{after}"))
    }

    /// `expires_at` in UTC and whole seconds, as IAM takes it: up to one second too early, never too late.
    pub fn expires_at_seconds(&self) -> Option<String> {
        self.expires_at.map(time::seconds)
    }

    /// Whether `allowed_ips`, if there is one, includes an address.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        let mapped = self.excludes_ipv4_mapped() && IPV4_MAPPED.contains(&address);
        let includes = |ranges: &Vec<IpNet>| ranges.iter().any(|range| range.contains(&address));
        self.allowed_ips.as_ref().is_none_or(|ranges| !mapped && includes(ranges))
    }

    /// Whether a range, such as `::/0`, includes all IPv4 addresses in their IPv4-mapped spelling. Such a range means IPv6
    /// addresses, so the IPv4-mapped ones are denied.
    pub fn excludes_ipv4_mapped(&self) -> bool {
        self.allowed_ips.iter().flatten().any(|range| range.contains(&IPV4_MAPPED))
    }

    /// `allowed_ips` as IAM takes them: single addresses without a prefix, so that none is longer than it was sent.
    pub fn allowed_ips_texts(&self) -> Vec<String> {
        let text = |range: &IpNet| match range.prefix_len() == range.max_prefix_len() {
            true => range.addr().to_string(),
            false => range.to_string(),
        };
        self.allowed_ips.iter().flatten().map(text).collect()
    }
}

fn permission(value: &RawValue, details: &mut Vec<Detail>) -> Option<Permission> {
    let permission = json::string(value).and_then(|word| Permission::parse(&word));
    if permission.is_none() {
        details.push(Permission::detail(place(&["permissions".into()])));
    }
    permission
}

/// The valid routes. An empty list would grant nothing, so it is a mistake.
fn routes(value: &RawValue, details: &mut Vec<Detail>) -> Vec<RoutePattern> {
    let at = |steps: &[Loc]| place(&[&["routes".into()], steps].concat());
    let Some(elements) = json::elements(value) else {
        details.push(Detail::new(at(&[]), "value is not a valid list", "type_error.list"));
        return Vec::new();
    };
    if elements.is_empty() {
        let detail = Detail::new(at(&[]), "ensure this value has at least 1 items", "value_error.list.min_items");
        details.push(Detail { ctx: Some(serde_json::json!({ "limit_value": 1 })), ..detail });
    }
    if elements.len() > MAX_ROUTES {
        let msg = format!("ensure this value has at most {MAX_ROUTES} items");
        let detail = Detail::new(at(&[]), msg, "value_error.list.max_items");
        details.push(Detail { ctx: Some(serde_json::json!({ "limit_value": MAX_ROUTES })), ..detail });
    }
    let mut routes = Vec::new();
    for (index, element) in elements.into_iter().enumerate() {
        let detail = |msg: String, kind| Detail::new(at(&[Loc::Index(index)]), msg, kind);
        match json::string(element).map(|text| RoutePattern::parse(&text)) {
            Some(Ok(route)) => routes.push(route),
            Some(Err(problem)) => details.push(detail(problem, "value_error.route")),
            None => details.push(detail("str type expected".to_owned(), "type_error.str")),
        }
    }
    routes
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
        details.push(expiry_detail(place(&["expires_at".into()])));
    }
    time
}

/// Whether JSON is an `expires_at`: a time, or `null`.
pub fn is_expiry(json: &str) -> bool {
    json == "null" || serde_json::from_str(json).is_ok_and(|text: String| rfc3339(&text).is_some())
}

/// The entry of a 422 for anything else.
pub fn expiry_detail(loc: Vec<Loc>) -> Detail {
    let msg = "invalid datetime format; expected RFC 3339, such as 2030-01-31T12:00:00Z";
    Detail::new(loc, msg, "value_error.datetime")
}

/// Reads a time, in UTC. The parser alone would take any separator, and times outside the years 0 to 9999 in UTC.
fn rfc3339(text: &str) -> Option<OffsetDateTime> {
    let separator = text.as_bytes().get(10)?;
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    (separator.eq_ignore_ascii_case(&b'T') && (0..=9999).contains(&time.year())).then_some(time)
}

/// Returns `None` if an element is invalid.
fn allowed_ips(value: &RawValue, details: &mut Vec<Detail>) -> Option<Vec<IpNet>> {
    let Some(elements) = json::elements(value) else {
        details.push(Detail::new(place(&["allowed_ips".into()]), "value is not a valid list", "type_error.list"));
        return None;
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
    let ranges: Vec<_> = elements.into_iter().enumerate().map(&mut range).collect();
    ranges.into_iter().collect()
}

/// Reads an address, or a range with no host bits set: `10.0.0.1/8` is more likely a slip than a wish for all of 10/8.
/// Rejects leading zeros, which are octal to some programs and decimal to others.
fn ip_range(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let range = match prefix {
        None => address.into(),
        Some(prefix) => {
            let len: u8 = prefix.parse().ok()?;
            IpNet::new(address, len).ok().filter(|range| range.network() == address && len.to_string() == prefix)?
        }
    };
    match (range, address.to_canonical()) {
        (IpNet::V6(mapped), IpAddr::V4(address)) if mapped.prefix_len() >= 96 => {
            IpNet::new(address.into(), mapped.prefix_len() - 96).ok()
        }
        _ => Some(range),
    }
}

/// A field with a meaning, and the other names that probably mean it. Names are compared folded.
struct Field {
    name: &'static str,
    /// The greatest OSA distance (letters added, left out, replaced or swapped) at which a name counts as a slip.
    distance: usize,
    /// Its names in other products. Words that may also describe the key's owner (`active`, `ip`, `role`, `ttl`) aren't
    /// among them.
    synonyms: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "permissions", distance: 2, synonyms: &["perms"] },
    Field { name: "routes", distance: 1, synonyms: &["allowedroutes", "allowroutes"] },
    Field { name: "enabled", distance: 1, synonyms: &["disable", "disabled", "isdisabled", "isenabled"] },
    Field {
        name: "expires_at",
        distance: 2,
        synonyms: &[
            "expire",
            "expired",
            "expiretime",
            "expiration",
            "expirationdate",
            "expirationtime",
            "expiry",
            "expirydate",
            "expirytime",
            "notafter",
            "validuntil",
        ],
    },
    Field {
        name: "allowed_ips",
        distance: 2,
        synonyms: &[
            "allowip",
            "allowedaddresses",
            "allowedcidr",
            "allowedcidrs",
            "allowedipaddress",
            "allowedipaddresses",
            "allowediprange",
            "allowedipranges",
            "allowedsourceips",
            "ipallowlist",
            "ipwhitelist",
            "sourceip",
            "sourceips",
            "whitelistedips",
        ],
    },
];

/// Ordinary words at such a distance.
const NO_NEAR_MISSES: [&str; 12] = [
    "allowedapis",
    "allowedapps",
    "allowedids",
    "allowedops",
    "allowedvpcs",
    "emissions",
    "permissionid",
    "permissionids",
    "permissionset",
    "routed",
    "router",
    "routers",
];

/// The entry of a 422 for a name that probably means a field with a meaning: stored as it is, it would restrict nothing.
fn near_miss(name: &str) -> Option<Detail> {
    let fold = |name: &str| name.trim().to_lowercase().replace(['_', '-', '.'], "");
    let folded = fold(name);
    if FIELDS.iter().any(|field| field.name == name) || NO_NEAR_MISSES.contains(&folded.as_str()) {
        return None;
    }
    let meant = FIELDS.iter().find(|field| {
        field.synonyms.contains(&folded.as_str()) || osa_distance(&folded, &fold(field.name)) <= field.distance
    })?;
    let msg = format!("unknown field; did you mean '{}'?", meant.name);
    Some(Detail::new(place(&[name.into()]), msg, "value_error.misspelled"))
}

/// A place in the `config` of a request's body.
fn place(steps: &[Loc]) -> Vec<Loc> {
    ["body".into(), "config".into()].into_iter().chain(steps.iter().cloned()).collect()
}
