//! What a rotation makes of a key's config.

use time::{Duration, OffsetDateTime};

use crate::access::Allowed;
use crate::config::{ConfigErrors, KeyConfig};
use crate::timestamp;

/// What a rotation asks for.
#[derive(Debug)]
pub struct RotationRequest {
    /// For how long the old key keeps working.
    pub grace: Duration,
    /// The new key's expiry.
    pub expiry: NewExpiry,
}

/// The expiry of a rotation's new key.
#[derive(Debug)]
pub enum NewExpiry {
    /// None was given: allowed only if the old key has none.
    Unset,
    /// The new key doesn't expire.
    Never,
    /// The new key expires at this time. Its RFC 3339 text goes into the config as it is.
    At(OffsetDateTime, String),
}

/// The configs after a rotation.
#[derive(Debug)]
pub struct RotatedConfigs {
    /// The new key's.
    pub new: KeyConfig,
    /// The old key's from now on.
    pub old: KeyConfig,
    /// When the old key expires, RFC 3339 in whole seconds.
    pub old_expires_at: String,
}

/// Why a key isn't rotated.
#[derive(Debug, PartialEq)]
pub enum RotationError {
    /// The key expires, so the request must say when the new one does.
    ExpiryUnset,
    /// A config would be too long with its `expires_at`.
    TooLong,
}

impl From<ConfigErrors> for RotationError {
    /// A valid config with a valid time can only be too long.
    fn from(_: ConfigErrors) -> Self {
        Self::TooLong
    }
}

impl RotationRequest {
    /// Whether the new key would have expired by `now`.
    pub fn expires_by(&self, now: OffsetDateTime) -> bool {
        matches!(&self.expiry, NewExpiry::At(time, _) if *time <= now)
    }
}

/// The configs after a rotation of `key` at `now`. Errors: the request doesn't fit its config.
pub fn rotate(
    key: Allowed<'_>,
    request: &RotationRequest,
    now: OffsetDateTime,
) -> Result<RotatedConfigs, RotationError> {
    let config = key.config;
    let new = match &request.expiry {
        // The caller must choose: no expiry and a default lifetime would both be surprises.
        NewExpiry::Unset if config.expires_at.is_some() => return Err(RotationError::ExpiryUnset),
        NewExpiry::Unset | NewExpiry::Never => config.with("expires_at", "null")?,
        NewExpiry::At(_, text) => config.with("expires_at", &format!("\"{text}\""))?,
    };
    let grace = now + request.grace;
    let end = key.until.map_or(grace, |until| until.min(grace));
    let old_expires_at = timestamp::seconds(end);
    let old = if config.expires_at == Some(end) {
        config.clone()
    } else {
        config.with("expires_at", &format!("\"{old_expires_at}\""))?
    };
    Ok(RotatedConfigs {
        new,
        old,
        old_expires_at,
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::api_key::KeyId;

    /// Whatever ends the old key.
    #[test]
    fn the_old_key_expires_at_its_end() {
        let config = KeyConfig::parse("{}").unwrap();
        let end = datetime!(2026-01-01 12:00 UTC);
        let key = Allowed {
            key_id: KeyId::from_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(),
            config: &config,
            until: Some(end),
        };
        let request = RotationRequest {
            grace: Duration::DAY,
            expiry: NewExpiry::Never,
        };
        let configs = rotate(key, &request, end - Duration::HOUR).unwrap();
        assert_eq!(configs.old.expires_at, Some(end));
        assert_eq!(configs.old_expires_at, "2026-01-01T12:00:00Z");
    }
}
