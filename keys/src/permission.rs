//! What a key grants, and what a request needs.

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
        [Self::Read, Self::Write]
            .into_iter()
            .find(|permission| permission.as_str() == word)
    }
}
