//! What a key grants, and what a request needs.

use crate::error::{Detail, Loc};

/// What a key grants. Read is less than write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Requests that only read.
    Read,
    /// All requests: write includes read.
    Write,
}

impl Permission {
    /// The word for it in a config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Reads the word in a config.
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
