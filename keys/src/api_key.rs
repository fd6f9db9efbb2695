//! API keys: `gaia_<ULID>_<SECRET>`, derived from a root key and so never stored. `docs/security.md`
//! has the derivation.

use std::fmt;

use ulid::Ulid;
use zeroize::Zeroizing;

/// NEVER CHANGE: every key begins with it, and secret scanners recognise keys by it.
const PREFIX: &str = "gaia_";

/// What names a key and may be shown: `gaia_<ULID>`, 31 characters. The table holds the ULID alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Ulid);

impl KeyId {
    /// Reads `gaia_<ULID>`, in the one canonical spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_ulid(text.strip_prefix(PREFIX)?)
    }

    /// Reads the ULID alone, as the table holds it, in the one canonical spelling.
    pub fn from_ulid(text: &str) -> Option<Self> {
        canonical_ulid(text).map(Self)
    }

    /// The ULID alone, as the table holds it: 26 characters.
    pub fn ulid(&self) -> String {
        self.0.to_string()
    }
}

impl From<Ulid> for KeyId {
    fn from(ulid: Ulid) -> Self {
        Self(ulid)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text behind a scheme and a space: GAIA's clients send `Authorization: Search <key>`, others
/// `Bearer <key>`. Returns `None` if there is neither scheme in front, in any case.
pub fn without_scheme(text: &str) -> Option<&str> {
    let (scheme, key) = text.split_once(' ')?;
    let known = ["search", "bearer"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    known.then_some(key.trim_start_matches(' '))
}

/// A whole key, secret included. Its `Debug` shows the ID only, and it is wiped from memory when
/// dropped.
pub struct ApiKey {
    id: KeyId,
    text: Zeroizing<String>,
}

impl ApiKey {
    /// The key of an ID and the 128 bits of its secret.
    pub(crate) fn new(id: KeyId, secret: [u8; 16]) -> Self {
        Self {
            id,
            text: Zeroizing::new(format!("{id}_{}", Ulid::from_bytes(secret))),
        }
    }

    /// The part that may be shown.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key itself, 58 characters: for the response to an authorized caller, and nothing else.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id)
    }
}

/// Reads an ID and the 128 bits of a secret, in the one canonical spelling. It may be a forgery.
pub(crate) fn parse_parts(text: &str) -> Option<(KeyId, [u8; 16])> {
    let (id, secret) = text.rsplit_once('_')?;
    Some((KeyId::parse(id)?, canonical_ulid(secret)?.to_bytes()))
}

/// Crockford base32 has several spellings of a value (case, `I` for `1`, `O` for `0`): only the one
/// we write counts.
fn canonical_ulid(text: &str) -> Option<Ulid> {
    let ulid = Ulid::from_string(text).ok()?;
    (ulid.array_to_str(&mut [0; ulid::ULID_LEN]) == text).then_some(ulid)
}
