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

    /// Checks the text of a new key's config.
    /// Errors: as of [`KeyConfig::parse`], and 422 for what the rules for writing reject.
    pub fn parse_new(text: &str) -> Result<Self, Error> {
        let (config, mut details, rejections) = Self::read_to_write(text)?;
        details.extend(rejections.0.into_iter().map(|rejection| rejection.detail));
        if details.is_empty() { Ok(config) } else { Err(Error::Invalid(details)) }
    }

    /// Checks the text of a config that replaces another one. Returns also what the rules for writing reject, which depends on
    /// the stored config. Errors: as of [`KeyConfig::parse`].
    pub fn parse_changed(text: &str) -> Result<(Self, Rejections), Error> {
        let (config, details, rejections) = Self::read_to_write(text)?;
        if details.is_empty() { Ok((config, rejections)) } else { Err(Error::Invalid(details)) }
    }

    /// The config, what is wrong with it, and what the rules for writing reject. These rules may become stricter without
    /// turning stored keys into 500s.
    fn read_to_write(text: &str) -> Result<(Self, Vec<Detail>, Rejections), Error> {
        let (config, fields, details) = Self::read(text)?;
        let mut rejections = Vec::new();
        let mut reject = |unless, detail| rejections.push(Rejection { unless, detail });
        let expiry = value_of(&fields, "expires_at").and_then(json::string).zip(config.expires_at);
        if let Some(msg) = expiry.and_then(|(text, time)| unwritable(&text, time)) {
            let detail = Detail::new(place(&["expires_at".into()]), msg, "value_error.datetime");
            reject(Stored::Values(&["expires_at"]), detail);
        }
        if config.allowed_ips.as_ref().is_some_and(Vec::is_empty) {
            let msg = "ensure this value has at least 1 items";
            let detail = Detail::new(place(&["allowed_ips".into()]), msg, "value_error.list.min_items");
            let ctx = Some(serde_json::json!({ "limit_value": 1 }));
            reject(Stored::Values(&["allowed_ips"]), Detail { ctx, ..detail });
        }
        if !route::policy_fits(&config.routes, &config.allowed_ips_texts()) {
            let msg = "routes and allowed_ips would exceed API Gateway's 8 KB limit for a policy";
            let detail = Detail::new(place(&["routes".into()]), msg, "value_error.policy_size");
            reject(Stored::Values(&["routes", "allowed_ips"]), detail);
        }
        for (name, _) in fields.iter().filter(|(_, value)| value.get() != "null") {
            if let Some(meant) = near_miss(name) {
                let msg = format!("unknown field; did you mean '{}'?", meant.name);
                let detail = Detail::new(place(&[name.as_str().into()]), msg, "value_error.misspelled");
                reject(Stored::Name(name.clone()), detail);
            }
        }
        Ok((config, details, Rejections(rejections)))
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
        let field = |name: &str| value_of(&fields, name);
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

/// Reads an `expires_at` to be written: a time, or `null`. Errors: the entry of a 422 at `loc`.
pub fn parse_new_expiry(value: &RawValue, loc: Vec<Loc>) -> Result<Option<OffsetDateTime>, Detail> {
    if value.get() == "null" {
        return Ok(None);
    }
    let text = json::string(value).unwrap_or_default();
    let Some(time) = rfc3339(&text) else { return Err(expiry_detail(loc)) };
    match unwritable(&text, time) {
        None => Ok(Some(time)),
        Some(msg) => Err(Detail::new(loc, msg, "value_error.datetime")),
    }
}

/// The entry of a 422 for what isn't a time.
fn expiry_detail(loc: Vec<Loc>) -> Detail {
    let msg = "invalid datetime format; expected RFC 3339, such as 2030-01-31T12:00:00Z";
    Detail::new(loc, msg, "value_error.datetime")
}

/// Why a time isn't written as an `expires_at`, though a stored one is read. `text` is RFC 3339.
fn unwritable(text: &str, time: OffsetDateTime) -> Option<&'static str> {
    if text.get(17..19) == Some("60") {
        return Some("must not be a leap second (:60), which few programs read");
    }
    // Go's zero time, 0001-01-01T00:00:00Z, means "never" to those who send it.
    (time < OffsetDateTime::UNIX_EPOCH).then_some("must be in 1970 or later; for no expiry, use null")
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

/// What the rules for writing reject in a config.
#[derive(Debug)]
pub struct Rejections(Vec<Rejection>);

#[derive(Debug)]
struct Rejection {
    unless: Stored,
    detail: Detail,
}

/// What of the stored config voids a rejection: who changes one field and sends the others back, to disable a key for instance,
/// must not fail because a rule has become stricter.
#[derive(Debug)]
enum Stored {
    /// It has a field of this name.
    Name(String),
    /// These fields have the same values.
    Values(&'static [&'static str]),
}

impl Rejections {
    /// Whether nothing is rejected, whatever the stored config is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks an update from the stored text to `new`. Errors: 422 with what is rejected.
    pub fn check(self, new: &KeyConfig, stored: &str) -> Result<(), Error> {
        let stored = serde_json::from_str(stored).ok().and_then(json::fields).unwrap_or_default();
        let new = json::fields(&new.text).unwrap_or_default();
        let text = |fields, name| value_of(fields, name).map(RawValue::get);
        let kept = |unless: &Stored| match unless {
            Stored::Name(name) => stored.iter().any(|(key, _)| key == name),
            Stored::Values(names) => names.iter().all(|name| text(&new, name) == text(&stored, name)),
        };
        let rejected = self.0.into_iter().filter(|rejection| !kept(&rejection.unless));
        let details: Vec<_> = rejected.map(|rejection| rejection.detail).collect();
        if details.is_empty() { Ok(()) } else { Err(Error::Invalid(details)) }
    }
}

/// A field's value. `None` if it is absent or null, which is the same.
fn value_of<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a RawValue> {
    let value = fields.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
    value.filter(|value| value.get() != "null")
}

/// A field with a meaning.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The names under which other products restrict a key like this: folded, with spaces between. Words that may also describe
    /// a key's owner or the API behind it (`active`, `ip`, `role`, `ttl`) aren't among them.
    pub synonyms: &'static str,
}

/// All fields with a meaning. `usage_plan_key` is reserved: it has no effect yet.
pub const FIELDS: [Field; 6] = [
    Field { name: "permissions", synonyms: "perm perms permissionlevel readonly isreadonly writeaccess" },
    Field {
        name: "routes",
        synonyms: "allowedroute allowedroutes allowroutes allowedpath allowedpaths allowpaths pathsallowed \
            allowedendpoint allowedendpoints endpointsallowed allowedurl allowedurls allowedapis \
            allowedresources permittedroutes pathwhitelist routewhitelist urlwhitelist pathallowlist",
    },
    Field {
        name: "enabled",
        synonyms: "inactive isactive isinactive isenabled disable disabled isdisabled disabledat deactivated \
            deactivatedat isdeactivated revoked isrevoked revokedat suspended issuspended suspendedat paused \
            ispaused blocked isblocked banned isbanned locked islocked frozen isfrozen invalidated \
            isinvalidated invalid isvalid deleted isdeleted deletedat archived isarchived",
    },
    Field {
        name: "expires_at",
        synonyms: "exp expire expires expired expireson expireon expiresin expiresafter expireafter expiretime \
            expirestime expiredate expiresdate expiry expiryat expirydate expirytime expiration expirationat \
            expirationdate expirationtime expirationttl expirationseconds keyexpiresin validto validuntil \
            validtill validthru validthrough validbefore validity validityperiod notafter ends endsat endat \
            enddatetime secondstolive timetolive ttlseconds keyttl tokenttl tokenmaxttl explicitmaxttl \
            tokenexplicitmaxttl",
    },
    Field {
        name: "allowed_ips",
        synonyms: "allowip allowips allowediplist allowedipslist allowedipaddress allowedipaddresses allowediprange \
            allowedipranges allowedipv4 allowedipv6 allowedaddress allowedaddresses allowedcidr allowedcidrs \
            allowedcidrblocks allowedcidrranges allowednetwork allowednetworks allowedsubnet allowedsubnets \
            allowedranges allowedsource allowedsources allowedsourceip allowedsourceips allowedsourceranges \
            ipsallowed ipallow ipallowed allowlist ipallowlist allowlistips allowlistedips cidrallowlist \
            whitelist ipwhitelist whitelistips whitelistedips cidrwhitelist denylist ipdenylist blacklist \
            ipblacklist blocklist ipblocklist deniedips blockedips iprestriction iprestrictions restrictip \
            restrictips restrictedips serverkeyrestrictions ipfilter iprange ipranges sourceip sourceips \
            sourceranges cidr cidrs cidrlist cidrblocks boundcidrs boundcidrlist tokenboundcidrs \
            secretidboundcidrs trustedips permittedips authorizedips authorisedips authorizednetworks",
    },
    Field { name: "usage_plan_key", synonyms: "usageplan usageplanid usageplankeyid usageidentifierkey" },
];

/// Ordinary words that are one letter away from a field's name.
const NO_NEAR_MISSES: [&str; 14] = [
    "allowedaps",
    "allowedids",
    "allowedims",
    "allowedios",
    "allowedops",
    "allowedsips",
    "allowedtips",
    "allowedvips",
    "allowedzips",
    "enabler",
    "enables",
    "routed",
    "router",
    "routers",
];

/// The field that a name probably means. Stored under that name, its value would restrict nothing.
fn near_miss(name: &str) -> Option<&'static Field> {
    let folded = fold(name);
    if FIELDS.iter().any(|field| field.name == name) || NO_NEAR_MISSES.contains(&folded.as_str()) {
        return None;
    }
    FIELDS.iter().find(|field| {
        // OSA distance 1 is one letter added, left out or replaced, or two neighbours exchanged.
        osa_distance(&folded, &fold(field.name)) <= 1 || field.synonyms.split(' ').any(|synonym| synonym == folded)
    })
}

/// A name without what its spellings in different products differ in.
fn fold(name: &str) -> String {
    name.to_lowercase().chars().filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '.')).collect()
}

/// A place in the `config` of a request's body.
fn place(steps: &[Loc]) -> Vec<Loc> {
    ["body".into(), "config".into()].into_iter().chain(steps.iter().cloned()).collect()
}
