//! The config of a key: checked, and kept as it was sent.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::value::RawValue;
use strsim::osa_distance;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::api_key;
use crate::json::{self, Fault, Fields, Step};
use crate::permission::Permission;
use crate::route::{self, RoutePattern};

/// The longest config, in bytes of its text.
pub const MAX_CONFIG: usize = 4096;

/// The most routes of a key.
const MAX_ROUTES: usize = 20;

/// A config: its text as it was sent, and the fields that have a meaning.
#[derive(Clone, Debug)]
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
    /// REST APIs meter the key under the API Gateway API key with this value.
    pub usage_plan_key: Option<UsagePlanKey>,
}

/// The value of an API Gateway API key: 20 to 128 visible ASCII characters. JSON needs to escape
/// none of them, so that it is as long in a response as here.
#[derive(Clone, Debug, PartialEq)]
pub struct UsagePlanKey(String);

impl UsagePlanKey {
    /// Reads a value. Returns `None` if it isn't one, or is an API key of a service like this one,
    /// which must not get into logs.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
        let valid = (20..=128).contains(&text.len())
            && text.chars().all(allowed)
            && api_key::parse_parts(text).is_none();
        valid.then(|| Self(text.to_owned()))
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The IPv4-mapped addresses, and as many neighbours that nobody has. Some libraries take the
/// exact range, `::ffff:0:0/96`, for one of IPv4.
pub const IPV4_MAPPED: IpNet =
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xfffe, 0, 0)), 95);

/// What is wrong at one place of a config.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigError {
    /// The place: field names and list positions, outermost first. Empty: the config itself.
    pub path: Vec<Step>,
    /// What is wrong there.
    pub kind: ConfigErrorKind,
}

/// What is wrong at a place of a config.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigErrorKind {
    /// The config is longer than [`MAX_CONFIG`].
    TooLong,
    /// It isn't JSON with one meaning.
    Json(Fault),
    /// It isn't a JSON object.
    NotAnObject,
    /// Not a JSON list.
    NotAList,
    /// Not a JSON string.
    NotAString,
    /// Neither `true` nor `false`.
    NotABoolean,
    /// Not one of the permissions.
    NotAPermission,
    /// Not a time as of RFC 3339.
    NotATime,
    /// Neither an address nor a CIDR range without host bits.
    NotAnIpRange,
    /// Not the value of an API Gateway API key.
    NotAUsagePlanKey,
    /// Not a route, and why not.
    NotARoute(String),
    /// A list with fewer elements than this.
    TooFew(usize),
    /// A list with more elements than this.
    TooMany(usize),
    /// `permissions` and `routes` are both set.
    PermissionsAndRoutes,
    /// `routes` and `allowed_ips` don't fit into a policy.
    PolicyTooLong,
    /// A leap second (`:60`), which few programs read.
    LeapSecond,
    /// Before 1970. Go's zero time, `0001-01-01T00:00:00Z`, means "never" to those who send it.
    BeforeUnixEpoch,
    /// A name that probably means the field of this name.
    NearMiss(&'static str),
}

impl ConfigErrorKind {
    fn at<const N: usize>(self, path: [Step; N]) -> ConfigError {
        ConfigError {
            path: path.into(),
            kind: self,
        }
    }
}

/// Everything that is wrong with a config; never empty.
#[derive(Debug, PartialEq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    /// The places alone: values may be anybody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self
            .0
            .iter()
            .map(|error| {
                error
                    .path
                    .iter()
                    .map(Step::to_string)
                    .collect::<Vec<_>>()
                    .join(".")
            })
            .collect();
        write!(f, "invalid config: {}", places.join(", "))
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl KeyConfig {
    /// Reads the text of a stored config. Errors: everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        let (config, _, errors) = Self::read(text)?;
        config.unless(errors)
    }

    /// Checks the text of a new key's config.
    /// Errors: as of [`KeyConfig::parse`], and what the rules for writing reject.
    pub fn parse_new(text: &str) -> Result<Self, ConfigErrors> {
        let (config, mut errors, rejections) = Self::read_to_write(text)?;
        errors.extend(rejections.0.into_iter().map(|rejection| rejection.error));
        config.unless(errors)
    }

    /// Checks the text of a config that replaces another one. Returns also what the rules for
    /// writing reject, which depends on the stored config. Errors: as of [`KeyConfig::parse`].
    pub fn parse_changed(text: &str) -> Result<(Self, Rejections), ConfigErrors> {
        let (config, errors, rejections) = Self::read_to_write(text)?;
        Ok((config.unless(errors)?, rejections))
    }

    fn unless(self, errors: Vec<ConfigError>) -> Result<Self, ConfigErrors> {
        if errors.is_empty() {
            Ok(self)
        } else {
            Err(ConfigErrors(errors))
        }
    }

    /// The config, what is wrong with it, and what the rules for writing reject. These rules may
    /// become stricter without turning stored keys into 500s.
    fn read_to_write(text: &str) -> Result<(Self, Vec<ConfigError>, Rejections), ConfigErrors> {
        let (config, fields, errors) = Self::read(text)?;
        let mut rejections = Vec::new();
        let mut reject = |unless, error| rejections.push(Rejection { unless, error });
        let expiry = value_of(&fields, "expires_at").and_then(json::string);
        if let Some(kind) = expiry
            .zip(config.expires_at)
            .and_then(|(text, time)| unwritable(&text, time))
        {
            reject(
                Stored::Values(&["expires_at"]),
                kind.at(["expires_at".into()]),
            );
        }
        if config.allowed_ips.as_ref().is_some_and(Vec::is_empty) {
            let error = ConfigErrorKind::TooFew(1).at(["allowed_ips".into()]);
            reject(Stored::Values(&["allowed_ips"]), error);
        }
        if !route::policy_fits(&config.routes, &config.allowed_ips_texts()) {
            let error = ConfigErrorKind::PolicyTooLong.at(["routes".into()]);
            reject(Stored::Values(&["routes", "allowed_ips"]), error);
        }
        for (name, _) in fields.iter().filter(|(_, value)| value.get() != "null") {
            if let Some(meant) = near_miss(name) {
                let error = ConfigErrorKind::NearMiss(meant.name).at([name.as_str().into()]);
                reject(Stored::Name(name.clone()), error);
            }
        }
        Ok((config, errors, Rejections(rejections)))
    }

    /// The config, its fields, and what is wrong with those that have a meaning.
    fn read(text: &str) -> Result<(Self, Fields<'_>, Vec<ConfigError>), ConfigErrors> {
        if text.trim_matches([' ', '\t', '\n', '\r']).len() > MAX_CONFIG {
            return Err(ConfigErrorKind::TooLong.at([]).into());
        }
        let value = json::parse(text).map_err(|fault| ConfigErrorKind::Json(fault).at([]))?;
        let fields = json::fields(value).ok_or(ConfigErrorKind::NotAnObject.at([]))?;
        let mut errors = Vec::new();
        let field = |name: &str| value_of(&fields, name);
        let config = Self {
            text: value.to_owned(),
            permissions: field("permissions").and_then(|value| permission(value, &mut errors)),
            routes: field("routes")
                .map(|value| routes(value, &mut errors))
                .unwrap_or_default(),
            enabled: field("enabled").is_none_or(|value| enabled(value, &mut errors)),
            expires_at: field("expires_at").and_then(|value| expires_at(value, &mut errors)),
            allowed_ips: field("allowed_ips").and_then(|value| allowed_ips(value, &mut errors)),
            usage_plan_key: field("usage_plan_key")
                .and_then(|value| usage_plan_key(value, &mut errors)),
        };
        if field("permissions").is_some() && field("routes").is_some() {
            errors.push(ConfigErrorKind::PermissionsAndRoutes.at(["routes".into()]));
        }
        Ok((config, fields, errors))
    }

    /// The text as it was sent, without the white space around.
    pub fn as_str(&self) -> &str {
        self.text.get()
    }

    /// The same, as JSON that serde writes verbatim.
    pub fn as_raw(&self) -> &RawValue {
        &self.text
    }

    /// The same config with another value of one field, which is JSON. A field that isn't there is
    /// added unless the value is `null`. All other fields keep their text and order. Errors: it is
    /// too long, or the field can't have this value.
    pub fn with(&self, name: &str, value: &str) -> Result<Self, ConfigErrors> {
        #[expect(clippy::expect_used, reason = "no other text becomes a config")]
        let fields = json::fields(&self.text).expect("an object");
        let mut text = self.as_str().to_owned();
        match fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.get())
        {
            Some(old) => {
                let start = old.as_ptr() as usize - self.as_str().as_ptr() as usize;
                text.replace_range(start..start + old.len(), value);
            }
            None if value == "null" => {}
            None => {
                let comma = if fields.is_empty() { "" } else { "," };
                text.insert_str(text.len() - 1, &format!("{comma}\"{name}\":{value}"));
            }
        }
        Self::parse(&text)
    }

    /// Whether `allowed_ips`, if there is one, includes an address.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        let mapped = self.excludes_ipv4_mapped() && IPV4_MAPPED.contains(&address);
        let includes = |ranges: &Vec<IpNet>| ranges.iter().any(|range| range.contains(&address));
        self.allowed_ips
            .as_ref()
            .is_none_or(|ranges| !mapped && includes(ranges))
    }

    /// Whether a range, such as `::/0`, includes all IPv4 addresses in their IPv4-mapped spelling.
    /// Such a range means IPv6 addresses, so the IPv4-mapped ones are denied.
    pub fn excludes_ipv4_mapped(&self) -> bool {
        self.allowed_ips
            .iter()
            .flatten()
            .any(|range| range.contains(&IPV4_MAPPED))
    }

    /// `allowed_ips` as IAM takes them: single addresses without a prefix, so that none is longer
    /// than it was sent.
    pub fn allowed_ips_texts(&self) -> Vec<String> {
        let text = |range: &IpNet| match range.prefix_len() == range.max_prefix_len() {
            true => range.addr().to_string(),
            false => range.to_string(),
        };
        self.allowed_ips.iter().flatten().map(text).collect()
    }
}

fn permission(value: &RawValue, errors: &mut Vec<ConfigError>) -> Option<Permission> {
    let permission = json::string(value).and_then(|word| Permission::parse(&word));
    if permission.is_none() {
        errors.push(ConfigErrorKind::NotAPermission.at(["permissions".into()]));
    }
    permission
}

/// The valid routes. An empty list would grant nothing, so it is a mistake.
fn routes(value: &RawValue, errors: &mut Vec<ConfigError>) -> Vec<RoutePattern> {
    let Some(elements) = json::elements(value) else {
        errors.push(ConfigErrorKind::NotAList.at(["routes".into()]));
        return Vec::new();
    };
    if elements.is_empty() {
        errors.push(ConfigErrorKind::TooFew(1).at(["routes".into()]));
    }
    if elements.len() > MAX_ROUTES {
        errors.push(ConfigErrorKind::TooMany(MAX_ROUTES).at(["routes".into()]));
    }
    let mut routes = Vec::new();
    for (index, element) in elements.into_iter().enumerate() {
        let kind = match json::string(element).map(|text| RoutePattern::parse(&text)) {
            Some(Ok(route)) => {
                routes.push(route);
                continue;
            }
            Some(Err(problem)) => ConfigErrorKind::NotARoute(problem),
            None => ConfigErrorKind::NotAString,
        };
        errors.push(kind.at(["routes".into(), index.into()]));
    }
    routes
}

fn enabled(value: &RawValue, errors: &mut Vec<ConfigError>) -> bool {
    match value.get() {
        "true" => true,
        "false" => false,
        _ => {
            errors.push(ConfigErrorKind::NotABoolean.at(["enabled".into()]));
            false
        }
    }
}

fn expires_at(value: &RawValue, errors: &mut Vec<ConfigError>) -> Option<OffsetDateTime> {
    let time = json::string(value).and_then(|text| rfc3339(&text));
    if time.is_none() {
        errors.push(ConfigErrorKind::NotATime.at(["expires_at".into()]));
    }
    time
}

/// Reads an `expires_at` to be written. Errors: what is wrong with it.
pub fn parse_new_expiry(text: &str) -> Result<OffsetDateTime, ConfigErrorKind> {
    let time = rfc3339(text).ok_or(ConfigErrorKind::NotATime)?;
    unwritable(text, time).map_or(Ok(time), Err)
}

/// Why a time isn't written as an `expires_at`, though a stored one is read. `text` is RFC 3339.
fn unwritable(text: &str, time: OffsetDateTime) -> Option<ConfigErrorKind> {
    if text.get(17..19) == Some("60") {
        return Some(ConfigErrorKind::LeapSecond);
    }
    (time < OffsetDateTime::UNIX_EPOCH).then_some(ConfigErrorKind::BeforeUnixEpoch)
}

/// Reads a time, in UTC. The parser alone would take any separator, and times outside the years 0
/// to 9999 in UTC.
fn rfc3339(text: &str) -> Option<OffsetDateTime> {
    let separator = text.as_bytes().get(10)?;
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .ok()?
        .checked_to_offset(UtcOffset::UTC)?;
    (separator.eq_ignore_ascii_case(&b'T') && (0..=9999).contains(&time.year())).then_some(time)
}

/// Returns `None` if an element is invalid.
fn allowed_ips(value: &RawValue, errors: &mut Vec<ConfigError>) -> Option<Vec<IpNet>> {
    let Some(elements) = json::elements(value) else {
        errors.push(ConfigErrorKind::NotAList.at(["allowed_ips".into()]));
        return None;
    };
    let mut ranges = Some(Vec::new());
    for (index, element) in elements.into_iter().enumerate() {
        let text = json::string(element).ok_or(ConfigErrorKind::NotAString);
        match text.and_then(|text| ip_range(&text).ok_or(ConfigErrorKind::NotAnIpRange)) {
            Ok(range) => ranges.iter_mut().for_each(|ranges| ranges.push(range)),
            Err(kind) => {
                errors.push(kind.at(["allowed_ips".into(), index.into()]));
                ranges = None;
            }
        }
    }
    ranges
}

fn usage_plan_key(value: &RawValue, errors: &mut Vec<ConfigError>) -> Option<UsagePlanKey> {
    let text = json::string(value).ok_or(ConfigErrorKind::NotAString);
    match text.and_then(|text| UsagePlanKey::parse(&text).ok_or(ConfigErrorKind::NotAUsagePlanKey))
    {
        Ok(key) => Some(key),
        Err(kind) => {
            errors.push(kind.at(["usage_plan_key".into()]));
            None
        }
    }
}

/// Reads an address, or a range with no host bits set: `10.0.0.1/8` is more likely a slip than a
/// wish for all of 10/8. Rejects leading zeros, which are octal to some programs and decimal to
/// others.
fn ip_range(text: &str) -> Option<IpNet> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let range = match prefix {
        None => address.into(),
        Some(prefix) => {
            let len: u8 = prefix.parse().ok()?;
            let range = IpNet::new(address, len).ok()?;
            if range.network() != address || len.to_string() != prefix {
                return None;
            }
            range
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
    error: ConfigError,
}

/// What of the stored config voids a rejection: who changes one field and sends the others back,
/// to disable a key for instance, must not fail because a rule has become stricter.
#[derive(Debug)]
enum Stored {
    /// It has a field of this name.
    Name(String),
    /// These fields have the same values.
    Values(&'static [&'static str]),
}

impl Rejections {
    /// Checks an update from the stored text to `new`. Errors: what is rejected.
    pub fn check(&self, new: &KeyConfig, stored: &str) -> Result<(), ConfigErrors> {
        if self.0.is_empty() {
            return Ok(());
        }
        let stored = serde_json::from_str(stored)
            .ok()
            .and_then(json::fields)
            .unwrap_or_default();
        let new = json::fields(&new.text).unwrap_or_default();
        let text = |fields, name| value_of(fields, name).map(RawValue::get);
        let kept = |unless: &Stored| match unless {
            Stored::Name(name) => stored.iter().any(|(key, _)| key == name),
            Stored::Values(names) => names
                .iter()
                .all(|name| text(&new, name) == text(&stored, name)),
        };
        let rejected = self.0.iter().filter(|rejection| !kept(&rejection.unless));
        let errors: Vec<_> = rejected.map(|rejection| rejection.error.clone()).collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors(errors))
        }
    }
}

/// A field's value. `None` if it is absent or null, which is the same.
fn value_of<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a RawValue> {
    let value = fields
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| *value);
    value.filter(|value| value.get() != "null")
}

/// A field with a meaning. `just generated` writes what openapi.yaml and the documents say of it.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// A value, as JSON.
    pub example: &'static str,
    /// What it does, in Markdown.
    pub effect: &'static str,
    /// The fields of its JSON Schema, with the references of openapi.yaml.
    pub schema: &'static str,
    /// Whether audit entries have it, under its name.
    pub audited: bool,
    /// The names under which other products restrict a key like this: folded, with spaces between.
    /// Words that may also describe a key's owner or the API behind it (`active`, `ip`, `role`,
    /// `ttl`) aren't among them.
    pub synonyms: &'static str,
}

/// All fields with a meaning.
pub const FIELDS: [Field; 6] = [
    Field {
        name: "permissions",
        example: r#""read""#,
        effect: "`read` or `write`, which includes `read`. A key with neither this nor `routes` \
            grants nothing.",
        schema: r##"{ "anyOf": [{ "$ref": "#/components/schemas/Permission" }, { "type": "null" }] }"##,
        audited: true,
        synonyms: "perm perms permissionlevel readonly isreadonly writeaccess",
    },
    Field {
        name: "routes",
        example: r#"["GET /items/*"]"#,
        effect: "1 to 20 routes, which the key grants in place of `permissions`. Both together are a \
            422, and so are routes and `allowed_ips` whose policy could exceed API Gateway's 8 KB.",
        schema: r##"{ "type": ["array", "null"], "minItems": 1, "maxItems": 20, "items": { "$ref": "#/components/schemas/RoutePattern" } }"##,
        audited: true,
        synonyms: "allowedroute allowedroutes allowroutes allowedpath allowedpaths allowpaths pathsallowed \
            allowedendpoint allowedendpoints endpointsallowed allowedurl allowedurls allowedapis \
            allowedresources permittedroutes pathwhitelist routewhitelist urlwhitelist pathallowlist",
    },
    Field {
        name: "enabled",
        example: "false",
        effect: "With `false`, the key is denied until it is `true` again.",
        schema: r#"{ "type": ["boolean", "null"] }"#,
        audited: true,
        synonyms: "inactive isactive isinactive isenabled disable disabled isdisabled disabledat deactivated \
            deactivatedat isdeactivated revoked isrevoked revokedat suspended issuspended suspendedat paused \
            ispaused blocked isblocked banned isbanned locked islocked frozen isfrozen invalidated \
            isinvalidated invalid isvalid deleted isdeleted deletedat archived isarchived",
    },
    Field {
        name: "expires_at",
        example: r#""2030-01-31T12:00:00Z""#,
        effect: "An RFC 3339 time in 1970 or later. The key is denied from then on, and deleted 30 \
            days later, or 30 days after a time in the past was written.",
        schema: r#"{ "type": ["string", "null"], "format": "date-time" }"#,
        audited: true,
        synonyms: "exp expire expires expired expireson expireon expiresin expiresafter expireafter expiretime \
            expirestime expiredate expiresdate expiry expiryat expirydate expirytime expiration expirationat \
            expirationdate expirationtime expirationttl expirationseconds keyexpiresin validto validuntil \
            validtill validthru validthrough validbefore validity validityperiod notafter ends endsat endat \
            enddatetime secondstolive timetolive ttlseconds keyttl tokenttl tokenmaxttl explicitmaxttl \
            tokenexplicitmaxttl",
    },
    Field {
        name: "allowed_ips",
        example: r#"["192.0.2.0/24"]"#,
        effect: "At least one address or CIDR range, without host bits or leading zeros. The key is \
            denied from all other addresses. `::/0` includes no IPv4 address.",
        schema: r#"{ "type": ["array", "null"], "minItems": 1, "items": { "type": "string", "format": "ip-range" } }"#,
        audited: true,
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
    Field {
        name: "usage_plan_key",
        example: r#""usage-plan-key-of-reports""#,
        effect: "The value of an API Gateway API key: 20 to 128 visible ASCII characters, neither \
            `\"` nor `\\`. REST APIs meter the key under its usage plan.",
        schema: r#"{ "type": ["string", "null"], "pattern": "^[!#-\\[\\]-~]{20,128}$" }"#,
        audited: true,
        synonyms: "usageplan usageplanid usageplankeyid usageidentifierkey",
    },
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
        osa_distance(&folded, &fold(field.name)) <= 1
            // `contains` is quicker, and most names are part of no synonym.
            || field.synonyms.contains(&folded)
                && field.synonyms.split_whitespace().any(|synonym| synonym == folded)
    })
}

/// A name without what its spellings in different products differ in.
fn fold(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '.'))
        .collect()
}
