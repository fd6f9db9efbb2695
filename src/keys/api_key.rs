//! Keys: `gaia_<ULID>_<SECRET>`, derived from a master and so never stored. `docs/keys.md` spells the derivation out.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use ulid::{Generator, Ulid};
use zeroize::Zeroizing;

/// NEVER CHANGE: every key begins with it, and secret scanners recognise keys by it.
const PREFIX: &str = "gaia_";
/// NEVER CHANGE: the MAC of every key covers it.
const KEY_LABEL: &[u8] = b"gaia-api-key/v1";
/// NEVER CHANGE: every item names its master by a MAC over it.
const MASTER_ID_LABEL: &[u8] = b"gaia-api-key/v1/keyring";
/// Characters of a ULID, and of a secret: 128 bits as Crockford base32.
const ULID_LEN: usize = 26;

/// What names a key and may be shown: `gaia_<ULID>`. The table holds the ULID alone.
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

    /// The ULID alone, as the table holds it.
    pub fn ulid(&self) -> String {
        self.0.to_string()
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

/// A whole key, secret included. Its `Debug` shows the id only, and it is wiped from memory when dropped.
pub struct ApiKey {
    id: KeyId,
    text: Zeroizing<String>,
}

impl ApiKey {
    /// The part that may be shown.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The secret itself: for the response to the caller who may see it, and nothing else.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id)
    }
}

/// The 32 bytes that keys are derived from; wiped from memory when dropped.
pub struct Master(Zeroizing<[u8; 32]>);

impl Master {
    /// Takes the 32 bytes, as KMS returns them.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(..)")
    }
}

/// Which master made a key: 8 hexadecimal digits, the `keyring` attribute of its item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterId(String);

impl MasterId {
    /// The 8 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key as a caller named it: its id, and the master that the secret matched, or none where the id came alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedKey {
    /// The key's id.
    pub id: KeyId,
    /// The master that made the secret given; a key is valid only if its item names the same.
    pub master: Option<MasterId>,
}

/// A master made ready.
struct Slot {
    id: MasterId,
    /// The HMAC state of a key, which has taken in everything but the ULID.
    mac: Hmac<Sha256>,
}

impl Slot {
    fn new(master: &Master, service: &str) -> Self {
        // HMAC itself pads a short key with zeros up to the hash's block.
        let mut block = Zeroizing::new([0; 64]);
        block.iter_mut().zip(master.0.iter()).for_each(|(padded, byte)| *padded = *byte);
        let keyed = Hmac::<Sha256>::new(&(*block).into());
        let id = absorb(keyed.clone(), MASTER_ID_LABEL).finalize().into_bytes();
        let id = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mac = absorb(absorb(keyed, KEY_LABEL), service.as_bytes());
        Self { id: MasterId(id), mac }
    }

    fn mac_of(&self, id: KeyId) -> Hmac<Sha256> {
        let mut buffer = [0; ULID_LEN];
        absorb(self.mac.clone(), id.0.array_to_str(&mut buffer).as_bytes())
    }

    fn key(&self, id: KeyId) -> ApiKey {
        let tag = Zeroizing::new(<[u8; 32]>::from(self.mac_of(id).finalize().into_bytes()));
        let secret = tag.first_chunk::<16>().map_or(Ulid::nil(), |left| Ulid::from_bytes(*left));
        ApiKey { id, text: Zeroizing::new(format!("{id}_{secret}")) }
    }

    /// Compares in constant time.
    fn made(&self, id: KeyId, secret: &[u8; 16]) -> bool {
        self.mac_of(id).verify_truncated_left(secret).is_ok()
    }
}

/// The masters in force: the first issues, the others are accepted too. It makes keys and checks them.
pub struct Keyring {
    issuing: Slot,
    accepted: Vec<Slot>,
    ids: Mutex<Generator>,
}

impl Keyring {
    /// A keyring of one service: `issuing` makes new keys, keys of `accepted` masters are valid too.
    pub fn new(service: &str, issuing: &Master, accepted: &[Master]) -> Self {
        Self {
            issuing: Slot::new(issuing, service),
            accepted: accepted.iter().map(|master| Slot::new(master, service)).collect(),
            ids: Mutex::new(Generator::new()),
        }
    }

    /// Makes a new key, and says which master made it. Ids of one process ascend, even within a millisecond.
    pub fn mint(&self) -> (ApiKey, &MasterId) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let ulid = match ids.generate() {
            Ok(ulid) => ulid,
            Err(overflow) => overflow.commit_overflow_increment(),
        };
        (self.issuing.key(KeyId(ulid)), &self.issuing.id)
    }

    /// Makes the key of an id again, as the master with the id `master` made it; none if that one is in force no more.
    pub fn key(&self, id: KeyId, master: &str) -> Option<ApiKey> {
        self.slots().find(|slot| slot.id.as_str() == master).map(|slot| slot.key(id))
    }

    /// Reads a whole key; none unless it is the canonical spelling of a key that a master in force made.
    pub fn parse_key(&self, text: &str) -> Option<NamedKey> {
        let (id, secret) = text.rsplit_once('_')?;
        let id = KeyId::parse(id)?;
        let secret = canonical_ulid(secret)?.to_bytes();
        let slot = self.slots().find(|slot| slot.made(id, &secret))?;
        Some(NamedKey { id, master: Some(slot.id.clone()) })
    }

    /// Reads a whole key, as [`Keyring::parse_key`] does, or an id alone.
    pub fn parse_key_or_id(&self, text: &str) -> Option<NamedKey> {
        match KeyId::parse(text) {
            Some(id) => Some(NamedKey { id, master: None }),
            None => self.parse_key(text),
        }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        std::iter::once(&self.issuing).chain(&self.accepted)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots().map(|slot| &slot.id)).finish()
    }
}

/// Feeds one field with its length before it (4 bytes, big-endian), so that no two lists of fields are the same bytes.
fn absorb(mac: Hmac<Sha256>, field: &[u8]) -> Hmac<Sha256> {
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    mac.chain_update(length.to_be_bytes()).chain_update(field)
}

/// Crockford base32 has several spellings of a value (case, `I` for `1`, `O` for `0`): only the one we write counts.
fn canonical_ulid(text: &str) -> Option<Ulid> {
    let ulid = Ulid::from_string(text).ok()?;
    (ulid.array_to_str(&mut [0; ULID_LEN]) == text).then_some(ulid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn master(first: u8) -> Master {
        Master::from_bytes(std::array::from_fn(|i| first.wrapping_add(i as u8)))
    }

    fn keyring() -> Keyring {
        Keyring::new("demo", &Master::from_hex(HEX).unwrap(), &[])
    }

    #[test]
    fn test_vectors_of_docs_keys_md() {
        let document = include_str!("../../docs/keys.md");
        let mut rows = 0;
        for row in document.lines().filter(|line| line.starts_with("| `0")) {
            let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let [_, hex, service, ulid, master_id, key, _] = cells[..] else { panic!("row: {row}") };
            let keyring = Keyring::new(service, &Master::from_hex(hex).unwrap(), &[]);
            let id = KeyId::from_ulid(ulid).unwrap();
            assert_eq!(keyring.issuing.id.as_str(), master_id);
            assert_eq!(keyring.key(id, master_id).unwrap().expose(), key);
            rows += 1;
        }
        assert!(rows >= 3, "docs/keys.md lists {rows} test vectors");
    }

    #[test]
    fn minted_keys_ascend_and_are_recognised() {
        let keyring = keyring();
        let keys: Vec<_> = (0..1000).map(|_| keyring.mint().0).collect();
        assert!(keys.is_sorted_by(|a, b| a.id() < b.id()));
        for key in keys {
            assert_eq!(key.expose().len(), 58);
            let named = keyring.parse_key(key.expose()).unwrap();
            assert_eq!((named.id, named.master.as_ref()), (key.id(), Some(&keyring.issuing.id)));
        }
    }

    #[test]
    fn ids_ascend_though_the_clock_steps_back() {
        let keyring = keyring();
        let in_an_hour = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
        let ahead = keyring.ids.lock().unwrap().generate_from_datetime(in_an_hour).unwrap();
        let (first, second) = (keyring.mint().0, keyring.mint().0);
        assert!(KeyId(ahead) < first.id() && first.id() < second.id());
    }

    #[test]
    fn debug_shows_no_secret() {
        let keyring = keyring();
        let (key, _) = keyring.mint();
        let secret = key.expose().rsplit('_').next().unwrap().to_owned();
        let shown = format!("{key:?} {:?} {keyring:?} {:?}", key.id(), Master::from_hex(HEX).unwrap());
        assert!(!shown.contains(&secret) && !shown.contains("0102"), "{shown}");
    }

    /// What holds a master, a state made of one, or a key, wipes itself; the compiler is the test.
    #[test]
    fn secrets_are_wiped_on_drop() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: Option<T>) {}
        // What an HMAC state is made of; the type itself doesn't say so.
        wiped::<sha2::block_api::Sha256VarCore>(None);
        wiped(None::<Master>.map(|master| master.0));
        wiped(None::<ApiKey>.map(|key| key.text));
    }

    #[test]
    fn another_service_or_master_makes_other_keys() {
        let (key, _) = keyring().mint();
        assert!(Keyring::new("demo2", &master(0), &[]).parse_key(key.expose()).is_none());
        assert!(Keyring::new("demo", &master(1), &[]).parse_key(key.expose()).is_none());
    }

    #[test]
    fn a_replaced_master_is_accepted_and_named() {
        let (key, old) = (keyring().mint().0, keyring().issuing.id);
        let both = Keyring::new("demo", &master(1), &[master(0)]);
        assert_eq!(both.parse_key(key.expose()).unwrap().master, Some(old.clone()));
        assert_eq!(both.key(key.id(), old.as_str()).unwrap().expose(), key.expose());
        assert_ne!(both.mint().1, &old);
    }

    #[test]
    fn a_master_is_64_hexadecimal_digits() {
        for wrong in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert!(Master::from_hex(wrong).is_none(), "{wrong}");
        }
        assert!(Master::from_hex(&"aF".repeat(32)).is_some());
    }

    proptest! {
        #[test]
        fn no_other_text_is_the_key(position in 0usize..58, other in any::<char>()) {
            let keyring = keyring();
            let key = keyring.key(KeyId::from_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(), keyring.issuing.id.as_str()).unwrap();
            let mut text: Vec<char> = key.expose().chars().collect();
            prop_assume!(text[position] != other);
            text[position] = other;
            prop_assert!(keyring.parse_key(&text.into_iter().collect::<String>()).is_none());
        }

        #[test]
        fn no_arbitrary_text_is_a_key(text in any::<String>()) {
            prop_assert!(keyring().parse_key(&text).is_none());
        }
    }
}
