//! This crate's environment variables, read once at start. An empty variable counts as unset. The
//! Runtime API's address is read in `main.rs`, and the log level in `logging.rs`.

use std::fmt;

use keys::config::UsagePlanKey;
use keys::keyring::RootKey;
use keys::route::{self, RoutePattern};

/// A setting, as the documents describe it: `just generated` writes their table.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// Its value if it isn't set, or what applies then.
    pub default: &'static str,
    /// Values and effect, in Markdown.
    pub about: &'static str,
}

const FUNCTION: Setting = Setting {
    name: "FUNCTION",
    default: "`api`",
    about: "`api`: the management API. `authorizer`: the Lambda authorizer.",
};
const TABLE_NAME: Setting = Setting {
    name: "TABLE_NAME",
    default: "required",
    about: "The DynamoDB table.",
};
const SERVICE_NAME: Setting = Setting {
    name: "SERVICE_NAME",
    default: "required",
    about: "1 to 64 of `A-Za-z0-9._-`. Part of every API key, so **it can't be changed later**.",
};
const KMS_KEY_ID: Setting = Setting {
    name: "KMS_KEY_ID",
    default: "set this or `ROOT_KEY`",
    about: "ID or ARN of an HMAC_256 KMS key, from which the root key comes. For two root keys, separate two IDs by a comma: the \
            first (primary) signs new keys, both verify.",
};
const ROOT_KEY: Setting = Setting {
    name: "ROOT_KEY",
    default: "set this or `KMS_KEY_ID`",
    about: "The root key itself: 64 hexadecimal digits. For local development. For two root keys, as above.",
};
const KEY_DISCLOSURE: Setting = Setting {
    name: "KEY_DISCLOSURE",
    default: "`full`",
    about: "What `GET` shows. `full`: the keys. `id`: key IDs; a key is shown once, when it is created or rotated.",
};
const ALLOW_ANONYMOUS: Setting = Setting {
    name: "ALLOW_ANONYMOUS",
    default: "`false`",
    about: "`true`: serves requests without a caller's identity. For local development.",
};
const KEY_HEADER: Setting = Setting {
    name: "KEY_HEADER",
    default: "`authorization`",
    about: "The one header that carries the key. `authorization` needs a `Search` or `Bearer` prefix; any other header carries the \
            key alone. Authorizer only.",
};
const READ_ROUTES: Setting = Setting {
    name: "READ_ROUTES",
    default: "empty",
    about: "Routes that need only `read` although their methods write, separated by commas: `POST /es/api/v1/search/*`. Set the \
            same value for both functions: `verify` judges a `route` by it too.",
};
const TRACK_USAGE: Setting = Setting {
    name: "TRACK_USAGE",
    default: "`true`",
    about: "`false`: checks don't record when a key was last used.",
};
const SIMPLE_RESPONSES: Setting = Setting {
    name: "SIMPLE_RESPONSES",
    default: "`false`",
    about: "`true`: HTTP APIs with payload format 2.0 get [simple responses](protect-an-api.md). Authorizer only.",
};
const DEFAULT_USAGE_PLAN_KEY: Setting = Setting {
    name: "DEFAULT_USAGE_PLAN_KEY",
    default: "empty",
    about: "The [usage plan key](protect-an-api.md#limit-how-much-a-caller-may-use) of API keys whose configs have none. \
            Authorizer only.",
};
const AWS_CA_BUNDLE: Setting = Setting {
    name: "AWS_CA_BUNDLE",
    default: "Amazon's root certificates, built in",
    about: "PEM file with the root certificates to trust instead.",
};
/// Read in `logging.rs`, before there are settings.
pub(crate) const LOG_LEVEL: Setting = Setting {
    name: "AWS_LAMBDA_LOG_LEVEL",
    default: "`INFO`",
    about: "Level of this service's log entries. A level above `INFO` leaves out audit log entries and denials. No level prints a \
            secret.",
};

/// Every setting of the functions.
pub const SETTINGS: [&Setting; 14] = [
    &FUNCTION,
    &TABLE_NAME,
    &SERVICE_NAME,
    &KMS_KEY_ID,
    &ROOT_KEY,
    &KEY_DISCLOSURE,
    &ALLOW_ANONYMOUS,
    &KEY_HEADER,
    &READ_ROUTES,
    &TRACK_USAGE,
    &SIMPLE_RESPONSES,
    &DEFAULT_USAGE_PLAN_KEY,
    &LOG_LEVEL,
    &AWS_CA_BUNDLE,
];

/// The function's settings.
#[derive(Debug)]
pub struct Settings {
    /// `FUNCTION`: which of the two functions this is.
    pub function: Function,
    /// `TABLE_NAME`: the DynamoDB table.
    pub table_name: String,
    /// `SERVICE_NAME`: the service whose keys these are. The MAC of every key covers it, so it must
    /// never change.
    pub service_name: String,
    /// `KMS_KEY_ID` or `ROOT_KEY`: where the root keys come from, the primary first.
    pub root_keys: RootKeySource,
    /// `KEY_DISCLOSURE`: what a list shows of a key.
    pub key_disclosure: KeyDisclosure,
    /// `ALLOW_ANONYMOUS`: whether a request without a caller's identity is served. For local
    /// development.
    pub allow_anonymous: bool,
    /// `READ_ROUTES`: routes that need only read although their methods write, as `METHOD /path`
    /// separated by commas.
    pub read_routes: Vec<RoutePattern>,
    /// `TRACK_USAGE`: whether an allowed check records when its key was used.
    pub track_usage: bool,
    /// The settings of the authorizer alone.
    pub authorizer: AuthorizerSettings,
    /// `AWS_CA_BUNDLE`: a PEM file of the authorities to trust in place of Amazon's. aws-config
    /// doesn't read it.
    pub ca_bundle: Option<String>,
}

/// The two functions of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `api`: the management API.
    Api,
    /// `authorizer`: the Lambda authorizer.
    Authorizer,
}

/// Where root keys come from: a primary and at most one secondary.
#[derive(Debug)]
pub enum RootKeySource {
    /// `KMS_KEY_ID`: IDs or ARNs of HMAC_256 keys in KMS.
    Kms {
        /// Of the primary root key.
        primary: String,
        /// Of the secondary root key.
        secondary: Option<String>,
    },
    /// `ROOT_KEY`: the root keys themselves. For local development.
    Fixed {
        /// The primary.
        primary: RootKey,
        /// The secondary.
        secondary: Option<RootKey>,
    },
}

/// What a list shows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDisclosure {
    /// `full`: the whole key, as in GAIA.
    Full,
    /// `id`: its ID.
    Id,
}

/// The settings of the authorizer alone.
#[derive(Clone, Debug)]
pub struct AuthorizerSettings {
    /// `KEY_HEADER`, in lower case: `authorization` holds a scheme and the key, any other the key
    /// alone.
    pub key_header: String,
    /// `SIMPLE_RESPONSES`: whether HTTP APIs with payload format 2.0 expect them.
    pub simple_responses: bool,
    /// `DEFAULT_USAGE_PLAN_KEY`: the usage plan key of API keys without one of their own.
    pub default_usage_plan_key: Option<UsagePlanKey>,
}

/// A variable that is missing or invalid. The message names the variable and never repeats a
/// secret's value.
#[derive(Debug)]
pub struct SettingsError {
    name: &'static str,
    problem: String,
}

impl SettingsError {
    fn new(setting: &Setting, problem: impl Into<String>) -> Self {
        Self {
            name: setting.name,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Reads the process's environment. Errors: the first variable that is missing or invalid.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads the variables from `lookup`. Errors: as of [`Settings::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variables = Variables(&lookup);
        Ok(Self {
            function: variables.one_of(
                &FUNCTION,
                &[("api", Function::Api), ("authorizer", Function::Authorizer)],
            )?,
            table_name: variables.required(&TABLE_NAME)?,
            service_name: service_name(variables.required(&SERVICE_NAME)?)?,
            root_keys: root_key_source(&variables)?,
            key_disclosure: variables.one_of(
                &KEY_DISCLOSURE,
                &[("full", KeyDisclosure::Full), ("id", KeyDisclosure::Id)],
            )?,
            allow_anonymous: variables
                .one_of(&ALLOW_ANONYMOUS, &[("false", false), ("true", true)])?,
            read_routes: read_routes(variables.optional(&READ_ROUTES))?,
            track_usage: variables.one_of(&TRACK_USAGE, &[("true", true), ("false", false)])?,
            authorizer: AuthorizerSettings {
                key_header: key_header(variables.optional(&KEY_HEADER))?,
                simple_responses: variables
                    .one_of(&SIMPLE_RESPONSES, &[("false", false), ("true", true)])?,
                default_usage_plan_key: variables
                    .optional(&DEFAULT_USAGE_PLAN_KEY)
                    .map(usage_plan_key)
                    .transpose()?,
            },
            ca_bundle: variables.optional(&AWS_CA_BUNDLE),
        })
    }
}

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn optional(&self, setting: &Setting) -> Option<String> {
        (self.0)(setting.name).filter(|value| !value.is_empty())
    }

    fn required(&self, setting: &Setting) -> Result<String, SettingsError> {
        self.optional(setting)
            .ok_or_else(|| SettingsError::new(setting, "not set"))
    }

    /// Reads one of a few words. The first is the default.
    fn one_of<T: Copy>(&self, setting: &Setting, words: &[(&str, T)]) -> Result<T, SettingsError> {
        let default = words.first().map(|(_, value)| *value);
        let value = match self.optional(setting) {
            None => default,
            Some(word) => words
                .iter()
                .find(|(known, _)| *known == word)
                .map(|(_, value)| *value),
        };
        let known = || {
            words
                .iter()
                .map(|(word, _)| *word)
                .collect::<Vec<_>>()
                .join(" or ")
        };
        value.ok_or_else(|| SettingsError::new(setting, format!("must be {}", known())))
    }

    /// Reads one value, or two different ones separated by a comma.
    fn one_or_two(
        &self,
        setting: &Setting,
    ) -> Result<Option<(String, Option<String>)>, SettingsError> {
        let Some(list) = self.optional(setting) else {
            return Ok(None);
        };
        let parts: Vec<_> = list.split(',').map(str::trim).collect();
        match parts.as_slice() {
            [one] if !one.is_empty() => Ok(Some(((*one).to_owned(), None))),
            [one, two] if !one.is_empty() && !two.is_empty() && one != two => {
                Ok(Some(((*one).to_owned(), Some((*two).to_owned()))))
            }
            _ => Err(SettingsError::new(
                setting,
                "must be one value, or two different values separated by a comma (the first signs new keys)",
            )),
        }
    }
}

fn service_name(name: String) -> Result<String, SettingsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() <= 64 && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(SettingsError::new(
        &SERVICE_NAME,
        "must be 1 to 64 letters, digits, '.', '_' or '-'",
    ))
}

fn key_header(name: Option<String>) -> Result<String, SettingsError> {
    let name = name
        .unwrap_or_else(|| "authorization".to_owned())
        .to_ascii_lowercase();
    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Ok(name);
    }
    Err(SettingsError::new(
        &KEY_HEADER,
        "must be letters, digits and '-'",
    ))
}

fn usage_plan_key(value: String) -> Result<UsagePlanKey, SettingsError> {
    UsagePlanKey::parse(&value).ok_or(SettingsError::new(
        &DEFAULT_USAGE_PLAN_KEY,
        "must be 20 to 128 visible ASCII characters without '\"' and '\\', and not an API key of this service",
    ))
}

fn read_routes(list: Option<String>) -> Result<Vec<RoutePattern>, SettingsError> {
    let list = list.unwrap_or_default();
    let routes = list.split(',').map(str::trim).filter(|_| !list.is_empty());
    let routes: Result<Vec<_>, _> = routes.map(RoutePattern::parse_read).collect();
    let routes = routes.map_err(|problem| SettingsError::new(&READ_ROUTES, problem))?;
    if route::read_routes_fit(&routes) {
        return Ok(routes);
    }
    Err(SettingsError::new(
        &READ_ROUTES,
        "too long: the routes would exceed API Gateway's 8 KB limit for authorizer responses",
    ))
}

fn root_key_source(variables: &Variables) -> Result<RootKeySource, SettingsError> {
    let root_key = |digits: String| {
        RootKey::from_hex(&digits).ok_or(SettingsError::new(
            &ROOT_KEY,
            "must be 64 hexadecimal digits",
        ))
    };
    match (
        variables.one_or_two(&KMS_KEY_ID)?,
        variables.one_or_two(&ROOT_KEY)?,
    ) {
        (Some((primary, secondary)), None) => Ok(RootKeySource::Kms { primary, secondary }),
        (None, Some((primary, secondary))) => Ok(RootKeySource::Fixed {
            primary: root_key(primary)?,
            secondary: secondary.map(root_key).transpose()?,
        }),
        (None, None) => Err(SettingsError::new(
            &KMS_KEY_ID,
            "not set; set KMS_KEY_ID, or ROOT_KEY for local development",
        )),
        (Some(_), Some(_)) => Err(SettingsError::new(
            &ROOT_KEY,
            "set together with KMS_KEY_ID; only one of the two may be",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn read(changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let base = [
            ("TABLE_NAME", "keys"),
            ("SERVICE_NAME", "demo"),
            ("ROOT_KEY", ROOT_KEY),
        ];
        let all: Vec<_> = changes.iter().chain(&base).collect();
        Settings::from_lookup(|name| {
            all.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_defaults() {
        let settings = read(&[("FUNCTION", ""), ("KMS_KEY_ID", "")]).unwrap();
        assert_eq!(
            (
                settings.function,
                settings.key_disclosure,
                settings.allow_anonymous
            ),
            (Function::Api, KeyDisclosure::Full, false)
        );
    }

    #[test]
    fn every_mistake_names_its_variable_and_repeats_no_secret() {
        let two = format!("{ROOT_KEY},{ROOT_KEY}");
        let three = format!("{ROOT_KEY},{},{}", "1".repeat(64), "2".repeat(64));
        for (name, value) in [
            ("TABLE_NAME", ""),
            ("SERVICE_NAME", ""),
            ("SERVICE_NAME", "a#b"),
            ("SERVICE_NAME", &"a".repeat(65)),
            ("FUNCTION", "API"),
            ("KEY_DISCLOSURE", "none"),
            ("ALLOW_ANONYMOUS", "1"),
            ("ROOT_KEY", &ROOT_KEY[1..]),
            ("ROOT_KEY", &two),
            ("ROOT_KEY", &three),
            ("ROOT_KEY", &format!("{ROOT_KEY},")),
            ("KEY_HEADER", "x key"),
            ("SIMPLE_RESPONSES", "yes"),
            ("TRACK_USAGE", "no"),
            ("DEFAULT_USAGE_PLAN_KEY", &"x".repeat(19)),
            ("DEFAULT_USAGE_PLAN_KEY", "not a usage plan key"),
            ("READ_ROUTES", "POST /a,"),
            ("READ_ROUTES", "GET /a"),
            ("READ_ROUTES", &["POST /a"; 20].join(",")),
            ("READ_ROUTES", &format!("POST /{}", "a".repeat(310))),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name), "{name}={value}: {error}");
            assert!(!error.contains("0304"), "{error}");
        }
        let both = read(&[("KMS_KEY_ID", "alias/x")]).unwrap_err().to_string();
        let neither = read(&[("ROOT_KEY", "")]).unwrap_err().to_string();
        for error in [both, neither] {
            assert!(
                error.contains("KMS_KEY_ID") && error.contains("ROOT_KEY"),
                "{error}"
            );
        }
    }

    #[test]
    fn two_root_keys() {
        let two = format!("{ROOT_KEY}, {}", "f".repeat(64));
        assert!(matches!(
            read(&[("ROOT_KEY", &two)]).unwrap().root_keys,
            RootKeySource::Fixed {
                secondary: Some(_),
                ..
            }
        ));
        let kms = read(&[("ROOT_KEY", ""), ("KMS_KEY_ID", "arn:a,arn:b")])
            .unwrap()
            .root_keys;
        let RootKeySource::Kms { primary, secondary } = kms else {
            panic!("{kms:?}")
        };
        assert_eq!(
            (primary.as_str(), secondary.as_deref()),
            ("arn:a", Some("arn:b"))
        );
    }
}
