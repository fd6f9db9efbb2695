//! The environment variables, read once at start (but for the one that says how much to log, and Lambda's own address). An
//! empty variable counts as one that isn't set.

use std::fmt;

use aws_credential_types::Credentials;

use crate::authorizer::policy::{self, ReadRoute};
use crate::keys::api_key::Master;

/// What the function is told by its environment.
#[derive(Debug)]
pub struct Settings {
    /// `FUNCTION`: which of the two functions this is.
    pub function: Function,
    /// `TABLE_NAME`: the DynamoDB table.
    pub table_name: String,
    /// `SERVICE_NAME`: the service whose keys these are; inside the MAC of every key, so never to be changed.
    pub service_name: String,
    /// `KMS_KEY_ID` or `MASTER_KEY`: where the masters come from, the issuing one first.
    pub masters: MasterSource,
    /// `KEY_DISCLOSURE`: what a list shows of a key.
    pub key_disclosure: KeyDisclosure,
    /// `ALLOW_ANONYMOUS`: whether a request without a caller's identity is served, as on a laptop.
    pub allow_anonymous: bool,
    /// What the authorizer alone needs.
    pub authorizer: AuthorizerSettings,
    /// The AWS SDK's own variables.
    pub aws: AwsSettings,
}

/// The two functions of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `api`: the management API.
    Api,
    /// `authorizer`: the Lambda authorizer.
    Authorizer,
}

/// Where masters come from: one, or two separated by a comma, of which the first issues.
#[derive(Debug)]
pub enum MasterSource {
    /// `KMS_KEY_ID`: ids or ARNs of HMAC_256 keys in KMS.
    Kms(Vec<String>),
    /// `MASTER_KEY`: the masters themselves, as 64 hexadecimal digits each. For a laptop.
    Fixed(Vec<Master>),
}

/// What a list shows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDisclosure {
    /// `full`: the key, as GAIA does.
    Full,
    /// `id`: its id.
    Id,
}

/// What the authorizer alone needs.
#[derive(Clone, Debug)]
pub struct AuthorizerSettings {
    /// `KEY_HEADER`, in lower case: `authorization` holds a scheme and the key, any other the key alone.
    pub key_header: String,
    /// `READ_ROUTES`: `METHOD /path`, separated by commas.
    pub read_routes: Vec<ReadRoute>,
    /// `SIMPLE_RESPONSES`: whether HTTP APIs with payload format 2.0 expect them.
    pub simple_responses: bool,
}

/// The AWS SDK's standard variables, which Lambda sets.
#[derive(Clone, Debug)]
pub struct AwsSettings {
    /// `AWS_REGION`
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`: Lambda hands a function its role's this way,
    /// and ends the environment before they expire.
    pub credentials: Credentials,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, else `AWS_ENDPOINT_URL`
    pub dynamodb_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_KMS`, else `AWS_ENDPOINT_URL`
    pub kms_endpoint: Option<String>,
    /// `AWS_CA_BUNDLE`: a PEM file of the authorities to trust in place of Amazon's.
    pub ca_bundle: Option<String>,
}

/// A variable that is missing or can't be understood. The message names it, and never repeats a secret's value.
#[derive(Debug)]
pub struct SettingsError {
    name: &'static str,
    problem: String,
}

impl SettingsError {
    /// A complaint about one variable.
    pub fn new(name: &'static str, problem: impl Into<String>) -> Self {
        Self { name, problem: problem.into() }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Reads the process's environment. Errors: the first variable that is missing or can't be understood.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads the variables from `lookup`. Errors: as of [`Settings::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variables = Variables(&lookup);
        Ok(Self {
            function: variables.one_of("FUNCTION", &[("api", Function::Api), ("authorizer", Function::Authorizer)])?,
            table_name: variables.required("TABLE_NAME")?,
            service_name: service_name(variables.required("SERVICE_NAME")?)?,
            masters: master_source(&variables)?,
            key_disclosure: variables
                .one_of("KEY_DISCLOSURE", &[("full", KeyDisclosure::Full), ("id", KeyDisclosure::Id)])?,
            allow_anonymous: variables.one_of("ALLOW_ANONYMOUS", &[("false", false), ("true", true)])?,
            authorizer: AuthorizerSettings {
                key_header: key_header(variables.optional("KEY_HEADER"))?,
                read_routes: read_routes(variables.optional("READ_ROUTES"))?,
                simple_responses: variables.one_of("SIMPLE_RESPONSES", &[("false", false), ("true", true)])?,
            },
            aws: AwsSettings {
                region: variables.required("AWS_REGION")?,
                credentials: Credentials::from_keys(
                    variables.required("AWS_ACCESS_KEY_ID")?,
                    variables.required("AWS_SECRET_ACCESS_KEY")?,
                    variables.optional("AWS_SESSION_TOKEN"),
                ),
                dynamodb_endpoint: variables
                    .optional("AWS_ENDPOINT_URL_DYNAMODB")
                    .or_else(|| variables.optional("AWS_ENDPOINT_URL")),
                kms_endpoint: variables
                    .optional("AWS_ENDPOINT_URL_KMS")
                    .or_else(|| variables.optional("AWS_ENDPOINT_URL")),
                ca_bundle: variables.optional("AWS_CA_BUNDLE"),
            },
        })
    }
}

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<String, SettingsError> {
        self.optional(name).ok_or_else(|| SettingsError::new(name, "not set"))
    }

    /// One of a few words, the first of which is the default.
    fn one_of<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Result<T, SettingsError> {
        let default = words.first().map(|(_, value)| *value);
        let value = match self.optional(name) {
            None => default,
            Some(word) => words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value),
        };
        let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
        value.ok_or_else(|| SettingsError::new(name, format!("must be {}", known())))
    }
}

fn service_name(name: String) -> Result<String, SettingsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() <= 64 && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(SettingsError::new("SERVICE_NAME", "must be 1 to 64 letters, digits, '.', '_' or '-'"))
}

fn key_header(name: Option<String>) -> Result<String, SettingsError> {
    let name = name.unwrap_or_else(|| "authorization".to_owned()).to_ascii_lowercase();
    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Ok(name);
    }
    Err(SettingsError::new("KEY_HEADER", "must be letters, digits and '-'"))
}

fn read_routes(list: Option<String>) -> Result<Vec<ReadRoute>, SettingsError> {
    let list = list.unwrap_or_default();
    let routes: Result<Vec<_>, _> =
        list.split(',').map(str::trim).filter(|_| !list.is_empty()).map(ReadRoute::parse).collect();
    let routes = routes.map_err(|problem| SettingsError::new("READ_ROUTES", problem))?;
    if policy::read_routes_fit(&routes) {
        return Ok(routes);
    }
    Err(SettingsError::new("READ_ROUTES", "more than fits the 8 KB of an authorizer's answer"))
}

fn master_source(variables: &Variables) -> Result<MasterSource, SettingsError> {
    let one_or_two = |name, list: String| {
        let parts: Vec<_> = list.split(',').map(|part| part.trim().to_owned()).collect();
        let distinct = |parts: &[String]| !matches!(parts, [a, b] if a == b);
        if parts.len() > 2 || parts.iter().any(String::is_empty) || !distinct(&parts) {
            return Err(SettingsError::new(
                name,
                "must be one, or two different ones separated by a comma (the first issues)",
            ));
        }
        Ok(parts)
    };
    match (variables.optional("KMS_KEY_ID"), variables.optional("MASTER_KEY")) {
        (Some(ids), None) => Ok(MasterSource::Kms(one_or_two("KMS_KEY_ID", ids)?)),
        (None, Some(masters)) => {
            let masters = one_or_two("MASTER_KEY", masters)?;
            let masters: Option<_> = masters.iter().map(|digits| Master::from_hex(digits)).collect();
            masters
                .map(MasterSource::Fixed)
                .ok_or_else(|| SettingsError::new("MASTER_KEY", "must be 64 hexadecimal digits"))
        }
        (None, None) => Err(SettingsError::new("KMS_KEY_ID", "not set (on a laptop, MASTER_KEY takes its place)")),
        (Some(_), Some(_)) => {
            Err(SettingsError::new("MASTER_KEY", "set together with KMS_KEY_ID; only one of the two may be"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn read(changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let base = [
            ("TABLE_NAME", "keys"),
            ("SERVICE_NAME", "demo"),
            ("MASTER_KEY", MASTER),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let all: Vec<_> = changes.iter().chain(&base).collect();
        Settings::from_lookup(|name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_defaults() {
        let settings = read(&[("FUNCTION", ""), ("KMS_KEY_ID", "")]).unwrap();
        assert_eq!(
            (settings.function, settings.key_disclosure, settings.allow_anonymous),
            (Function::Api, KeyDisclosure::Full, false)
        );
        assert!(settings.aws.dynamodb_endpoint.is_none());
    }

    #[test]
    fn every_mistake_names_its_variable_and_repeats_no_secret() {
        let two = format!("{MASTER},{MASTER}");
        let three = format!("{MASTER},{},{}", "1".repeat(64), "2".repeat(64));
        for (name, value) in [
            ("TABLE_NAME", ""),
            ("SERVICE_NAME", ""),
            ("SERVICE_NAME", "a#b"),
            ("SERVICE_NAME", &"a".repeat(65)),
            ("FUNCTION", "API"),
            ("KEY_DISCLOSURE", "none"),
            ("ALLOW_ANONYMOUS", "1"),
            ("MASTER_KEY", &MASTER[1..]),
            ("MASTER_KEY", &two),
            ("MASTER_KEY", &three),
            ("MASTER_KEY", &format!("{MASTER},")),
            ("KEY_HEADER", "x key"),
            ("SIMPLE_RESPONSES", "yes"),
            ("READ_ROUTES", "POST /a,"),
            ("READ_ROUTES", "GET /a"),
            ("READ_ROUTES", &["POST /a"; 20].join(",")),
            ("READ_ROUTES", &format!("POST /{}", "a".repeat(310))),
            ("AWS_REGION", ""),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name), "{name}={value}: {error}");
            assert!(!error.contains("0304"), "{error}");
        }
        let both = read(&[("KMS_KEY_ID", "alias/x")]).unwrap_err().to_string();
        let neither = read(&[("MASTER_KEY", "")]).unwrap_err().to_string();
        for error in [both, neither] {
            assert!(error.contains("KMS_KEY_ID") && error.contains("MASTER_KEY"), "{error}");
        }
    }

    #[test]
    fn two_masters() {
        let two = format!("{MASTER}, {}", "f".repeat(64));
        assert!(
            matches!(read(&[("MASTER_KEY", &two)]).unwrap().masters, MasterSource::Fixed(masters) if masters.len() == 2)
        );
        let kms = read(&[("MASTER_KEY", ""), ("KMS_KEY_ID", "arn:a,arn:b")]).unwrap().masters;
        assert!(matches!(kms, MasterSource::Kms(ids) if ids == ["arn:a", "arn:b"]));
    }
}
