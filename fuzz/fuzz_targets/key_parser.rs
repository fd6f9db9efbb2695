//! Nothing but the canonical spelling of a key under a root key of this keyring is a key.
#![no_main]

use std::sync::LazyLock;

use keys::api_key::KeyId;
use keys::keyring::Keyring;
use libfuzzer_sys::fuzz_target;
use ulid::Ulid;

static KEYRING: LazyLock<Keyring> = LazyLock::new(gaia_api_keys_fuzz::keyring);
static KEY: LazyLock<String> = LazyLock::new(gaia_api_keys_fuzz::key);

fn accepted_is_canonical(text: &str) {
    if let Some(named) = KEYRING.parse_key(text) {
        let root_key = named
            .root_key
            .as_ref()
            .expect("a secret names its root key");
        let again = KEYRING.key(named.id, root_key.as_str()).expect("a key");
        assert_eq!(again.expose(), text);
        assert_eq!(KEYRING.parse_key_or_id(text), Some(named));
    } else if let Some(named) = KEYRING.parse_key_or_id(text) {
        assert_eq!(
            (named.id.to_string().as_str(), named.root_key),
            (text, None)
        );
    }
    for id in [KeyId::parse(text), KeyId::from_ulid(text)]
        .into_iter()
        .flatten()
    {
        assert!(text.ends_with(&id.ulid()) && format!("{id:?}") == format!("gaia_{}", id.ulid()));
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        assert_eq!(KeyId::from_ulid(&id.ulid()), Some(id));
    }
}

fuzz_target!(|data: &[u8]| {
    accepted_is_canonical(&String::from_utf8_lossy(data));

    // Any ID makes a key that is read again, and whose Debug doesn't show the secret.
    if let Some(bytes) = data.first_chunk::<16>() {
        let id = KeyId::from_ulid(&Ulid::from_bytes(*bytes).to_string()).expect("an ID");
        let (key, root_key) = KEYRING.create(id);
        let again = KEYRING.key(id, root_key.as_str()).expect("a key");
        assert_eq!(again.expose(), key.expose());
        let named = KEYRING
            .parse_key(key.expose())
            .expect("a key that was created is read");
        assert_eq!((named.id, named.root_key.as_ref()), (id, Some(root_key)));
        assert!(!format!("{key:?}{named:?}").contains(&key.expose()[32..]));
    }

    // The known key with some characters replaced, dropped or put in: accepted only if it came out
    // the same.
    let mut edited: Vec<char> = KEY.chars().collect();
    for edit in data.as_chunks::<2>().0 {
        let (place, what) = (
            usize::from(edit[0]) % (edited.len() + 1),
            char::from(edit[1] & 0x7f),
        );
        match edit[1] & 0x80 {
            0 if place < edited.len() => edited[place] = what,
            0 => edited.push(what),
            _ if what == '\0' && place < edited.len() => drop(edited.remove(place)),
            _ => edited.insert(place, what),
        }
    }
    let edited: String = edited.into_iter().collect();
    accepted_is_canonical(&edited);
    if edited.starts_with(&KEY[..31]) && edited != *KEY {
        assert!(KEYRING.parse_key(&edited).is_none());
    }
});
