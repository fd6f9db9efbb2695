//! Root keys, and the keyring that derives API keys from them and checks API keys.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::api_key::{ApiKey, KeyId, parse_parts};

/// NEVER CHANGE: the MAC of every key covers it.
const KEY_LABEL: &[u8] = b"gaia-api-key/v1";
/// NEVER CHANGE: every item names its root key by a MAC over it.
const ROOT_KEY_ID_LABEL: &[u8] = b"gaia-api-key/v1/root-key-id";
/// NEVER CHANGE: the MAC of every idempotency record covers it.
const RECORD_LABEL: &[u8] = b"gaia-api-key/v1/idempotency";

/// The 32 bytes that API keys are derived from; wiped from memory when dropped.
pub struct RootKey(Zeroizing<[u8; 32]>);

impl RootKey {
    /// Takes the 32 bytes, as KMS returns them.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

/// Which root key an API key is derived from: 8 hexadecimal digits, the attribute `root_key_id` of
/// its item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootKeyId(String);

impl RootKeyId {
    /// The 8 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key as a caller named it: its ID, and the root key of its secret if the secret was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedKey {
    /// The key's ID.
    pub id: KeyId,
    /// The root key of the secret. A key is valid only if its item names the same one. `None` if
    /// only the ID was given.
    pub root_key: Option<RootKeyId>,
}

/// A root key prepared for the keys of one service.
struct SigningKey {
    id: RootKeyId,
    /// The HMAC's state before the ULID. What it has absorbed is the same for all keys of the
    /// service.
    mac: Hmac<Sha256>,
    /// Likewise, before the parts of an idempotency record.
    record_mac: Hmac<Sha256>,
}

impl SigningKey {
    fn new(root_key: &RootKey, service: &str) -> Self {
        // `new` takes a whole block. HMAC itself pads a shorter key with zeros up to it.
        let mut block = Zeroizing::new([0; 64]);
        block
            .iter_mut()
            .zip(root_key.0.iter())
            .for_each(|(padded, byte)| *padded = *byte);
        let keyed = Hmac::<Sha256>::new(&(*block).into());
        let id = first::<4>(
            &absorb(keyed.clone(), ROOT_KEY_ID_LABEL)
                .finalize()
                .into_bytes()
                .into(),
        );
        let labelled = |label| absorb(absorb(keyed.clone(), label), service.as_bytes());
        Self {
            id: RootKeyId(hex::encode(id)),
            mac: labelled(KEY_LABEL),
            record_mac: labelled(RECORD_LABEL),
        }
    }

    fn mac_of(&self, id: KeyId) -> Hmac<Sha256> {
        absorb(self.mac.clone(), id.ulid().as_bytes())
    }

    fn key(&self, id: KeyId) -> ApiKey {
        let tag = Zeroizing::new(<[u8; 32]>::from(self.mac_of(id).finalize().into_bytes()));
        ApiKey::new(id, first(&tag))
    }

    fn record_mac_of(&self, parts: &[&str]) -> Hmac<Sha256> {
        parts.iter().fold(self.record_mac.clone(), |mac, part| {
            absorb(mac, part.as_bytes())
        })
    }

    /// Compares in constant time.
    fn signed(&self, id: KeyId, secret: &[u8; 16]) -> bool {
        self.mac_of(id).verify_truncated_left(secret).is_ok()
    }
}

/// The configured root keys of one service: the primary signs new keys, the secondary only
/// verifies.
pub struct Keyring {
    primary: SigningKey,
    secondary: Option<SigningKey>,
}

impl Keyring {
    /// The keyring of a service.
    pub fn new(service: &str, primary: &RootKey, secondary: Option<&RootKey>) -> Self {
        Self {
            primary: SigningKey::new(primary, service),
            secondary: secondary.map(|root_key| SigningKey::new(root_key, service)),
        }
    }

    /// The ID of the primary root key, which signs new keys.
    pub fn primary_id(&self) -> &RootKeyId {
        &self.primary.id
    }

    /// The IDs of the configured root keys, the primary's first.
    pub fn root_key_ids(&self) -> impl Iterator<Item = &RootKeyId> {
        self.signing_keys().map(|signing_key| &signing_key.id)
    }

    /// Creates the key of a new ID under the primary root key.
    pub fn create(&self, id: KeyId) -> (ApiKey, &RootKeyId) {
        (self.primary.key(id), &self.primary.id)
    }

    /// Computes the key of an ID again under the root key with the ID `root_key`. Returns `None` if
    /// that root key is no longer configured.
    pub fn key(&self, id: KeyId, root_key: &str) -> Option<ApiKey> {
        Some(self.signing_key(root_key)?.key(id))
    }

    /// The MAC of an idempotency record's parts under the root key with the ID `root_key`. Returns
    /// `None` if that root key is no longer configured.
    pub fn record_mac(&self, root_key: &str, parts: &[&str]) -> Option<[u8; 32]> {
        Some(
            self.signing_key(root_key)?
                .record_mac_of(parts)
                .finalize()
                .into_bytes()
                .into(),
        )
    }

    /// Whether `mac` is what [`Keyring::record_mac`] computes; compares in constant time. Returns
    /// `None` if that root key is no longer configured.
    pub fn is_record_mac(&self, root_key: &str, parts: &[&str], mac: &[u8]) -> Option<bool> {
        Some(
            self.signing_key(root_key)?
                .record_mac_of(parts)
                .verify_slice(mac)
                .is_ok(),
        )
    }

    /// Reads a whole key. Returns `None` unless it is the canonical spelling of a key under a
    /// configured root key.
    pub fn parse_key(&self, text: &str) -> Option<NamedKey> {
        let (id, secret) = parse_parts(text)?;
        let signing_key = self
            .signing_keys()
            .find(|signing_key| signing_key.signed(id, &secret))?;
        Some(NamedKey {
            id,
            root_key: Some(signing_key.id.clone()),
        })
    }

    /// Reads a whole key, as [`Keyring::parse_key`] does, or an ID alone.
    pub fn parse_key_or_id(&self, text: &str) -> Option<NamedKey> {
        match KeyId::parse(text) {
            Some(id) => Some(NamedKey { id, root_key: None }),
            None => self.parse_key(text),
        }
    }

    fn signing_key(&self, id: &str) -> Option<&SigningKey> {
        self.signing_keys()
            .find(|signing_key| signing_key.id.as_str() == id)
    }

    fn signing_keys(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.primary).chain(&self.secondary)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.root_key_ids()).finish()
    }
}

/// The first bytes of a MAC.
#[expect(
    clippy::expect_used,
    reason = "no caller takes more than the 32 bytes of a MAC"
)]
fn first<const N: usize>(tag: &[u8; 32]) -> [u8; N] {
    *tag.first_chunk().expect("32 bytes")
}

/// Feeds one field with its length before it (4 bytes, big-endian), so that no two lists of fields
/// are the same bytes.
#[expect(
    clippy::expect_used,
    reason = "no field is longer than a request's body"
)]
fn absorb(mac: Hmac<Sha256>, field: &[u8]) -> Hmac<Sha256> {
    let length = u32::try_from(field.len()).expect("less than 4 GiB");
    mac.chain_update(length.to_be_bytes()).chain_update(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ulid::Ulid;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn root_key(first: u8) -> RootKey {
        RootKey::from_bytes(std::array::from_fn(|i| first.wrapping_add(i as u8)))
    }

    fn keyring() -> Keyring {
        Keyring::new("demo", &RootKey::from_hex(HEX).unwrap(), None)
    }

    fn created(keyring: &Keyring) -> ApiKey {
        keyring.create(Ulid::generate().into()).0
    }

    /// Root key, service, ULID, `root_key_id`, API key: an independent implementation computed
    /// them.
    const VECTORS: [[&str; 5]; 4] = [
        [
            HEX,
            "demo",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "053bcb62",
            "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV_22K4KK659SYTCHNBQB1Z55H2Z7",
        ],
        [
            HEX,
            "search",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "053bcb62",
            "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV_6D32TQRRDNDFHFSKVEBA8D0C71",
        ],
        [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "demo",
            "00000000000000000000000000",
            "dce7739e",
            "gaia_00000000000000000000000000_2RSHPGETNPZCPFAYY44G4R3RF1",
        ],
        [
            "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            "a-service.of_64-characters-0000000000000000000000000000000000000",
            "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "782947d9",
            "gaia_7ZZZZZZZZZZZZZZZZZZZZZZZZZ_5YYY1CHHWQK05ZRVFM755J83TV",
        ],
    ];

    #[test]
    fn keys_are_derived_as_they_always_were() {
        for [hex, service, ulid, root_key_id, key] in VECTORS {
            let keyring = Keyring::new(service, &RootKey::from_hex(hex).unwrap(), None);
            let id = KeyId::from_ulid(ulid).unwrap();
            assert_eq!(keyring.primary.id.as_str(), root_key_id);
            assert_eq!(keyring.key(id, root_key_id).unwrap().expose(), key);
        }
    }

    #[test]
    fn created_keys_are_recognised() {
        let keyring = keyring();
        for _ in 0..1000 {
            let key = created(&keyring);
            assert_eq!(key.expose().len(), 58);
            let named = keyring.parse_key(key.expose()).unwrap();
            assert_eq!(
                (named.id, named.root_key.as_ref()),
                (key.id(), Some(&keyring.primary.id))
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let keyring = keyring();
        let key = created(&keyring);
        let secret = key.expose().rsplit('_').next().unwrap().to_owned();
        let shown = format!(
            "{key:?} {:?} {keyring:?} {:?}",
            key.id(),
            RootKey::from_hex(HEX).unwrap()
        );
        assert!(
            !shown.contains(&secret) && !shown.contains("0102"),
            "{shown}"
        );
    }

    /// What holds a root key or the HMAC state of one wipes itself; the compiler is the test.
    #[test]
    fn root_keys_are_wiped_on_drop() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: Option<T>) {}
        // The HMAC state consists of it; the HMAC type itself doesn't implement the trait.
        wiped::<sha2::block_api::Sha256VarCore>(None);
        wiped(None::<RootKey>.map(|root_key| root_key.0));
    }

    #[test]
    fn another_service_or_root_key_derives_other_keys() {
        let key = created(&keyring());
        assert!(
            Keyring::new("demo2", &root_key(0), None)
                .parse_key(key.expose())
                .is_none()
        );
        assert!(
            Keyring::new("demo", &root_key(1), None)
                .parse_key(key.expose())
                .is_none()
        );
    }

    #[test]
    fn a_secondary_root_key_verifies_and_is_named() {
        let (key, old) = (created(&keyring()), keyring().primary.id);
        let both = Keyring::new("demo", &root_key(1), Some(&root_key(0)));
        assert_eq!(
            both.parse_key(key.expose()).unwrap().root_key,
            Some(old.clone())
        );
        assert_eq!(
            both.key(key.id(), old.as_str()).unwrap().expose(),
            key.expose()
        );
        assert_ne!(both.create(key.id()).1, &old);
    }

    /// An independent implementation computed the MAC.
    #[test]
    fn the_mac_of_a_record_covers_the_service_and_each_part() {
        let (keyring, id) = (keyring(), "053bcb62");
        let mac = keyring.record_mac(id, &["a", "bc"]).unwrap();
        assert_eq!(
            hex::encode(mac),
            "4fb016cc5e438d77c8dba838c16e3c4597db08dacba33d01c621398227dfd3ab"
        );
        assert_eq!(keyring.is_record_mac(id, &["a", "bc"], &mac), Some(true));
        for parts in [&["ab", "c"][..], &["a", "b"], &["a", "bc", ""], &[]] {
            assert_eq!(
                keyring.is_record_mac(id, parts, &mac),
                Some(false),
                "{parts:?}"
            );
        }
        assert_eq!(
            keyring.is_record_mac(id, &["a", "bc"], &mac[..31]),
            Some(false)
        );
        assert_eq!(keyring.is_record_mac(id, &["a", "bc"], &[]), Some(false));
        assert_eq!(keyring.record_mac("00000000", &["a", "bc"]), None);
        let other = Keyring::new("demo2", &root_key(0), None);
        assert_eq!(other.is_record_mac(id, &["a", "bc"], &mac), Some(false));
    }

    #[test]
    fn a_root_key_is_64_hexadecimal_digits() {
        for wrong in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g".repeat(64),
            &"+1".repeat(32),
            &"é".repeat(32),
        ] {
            assert!(RootKey::from_hex(wrong).is_none(), "{wrong}");
        }
        assert!(RootKey::from_hex(&"aF".repeat(32)).is_some());
    }

    proptest! {
        #[test]
        fn no_other_text_is_the_key(position in 0usize..58, other in any::<char>()) {
            let keyring = keyring();
            let id = KeyId::from_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
            let mut text: Vec<char> = keyring.create(id).0.expose().chars().collect();
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
