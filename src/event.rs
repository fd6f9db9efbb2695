//! JSON objects in events. Each field is read by itself, so one that nobody reads can't make an
//! event unreadable: gateways and emulators differ in the types that they write.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's fields. It may hold a key, so it has no `Debug`.
#[derive(Default)]
pub(crate) struct Object<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// The object in a JSON value. Returns `None` if the value is something else.
    pub(crate) fn read(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
    }

    /// A field's value. `None` if it is missing or `null`. Of several with one name, the last
    /// counts.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rfind(|(field, _)| field.0 == name)?;
        Some(*value).filter(|value| value.get() != "null")
    }

    /// A field's object. Empty if the field is missing or something else.
    pub(crate) fn object(&self, name: &str) -> Self {
        self.get(name).and_then(Self::read).unwrap_or_default()
    }

    /// A field's text. `None` if the field is missing or something else.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        text(self.get(name)?)
    }

    /// The caller's address, as the gateway saw it: `sourceIp`, without the port that mutual TLS
    /// and some proxies add (`192.0.2.7:39870`, `[2001:db8::1]:443`, `[2001:db8::1]`). Any other
    /// text stays as it is.
    pub(crate) fn source_ip(&self) -> Option<String> {
        let text = self.text("sourceIp")?;
        let host = match text.parse::<SocketAddr>() {
            Ok(_) => text
                .rsplit_once(':')
                .map_or(text.as_str(), |(host, _)| host),
            Err(_) => &text,
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        Some(
            bare.filter(|bare| bare.parse::<Ipv6Addr>().is_ok())
                .unwrap_or(host)
                .to_owned(),
        )
    }

    /// All names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.0.as_ref(), *value))
    }

    /// The names and texts of the fields that are text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (String, String)> {
        self.iter()
            .filter_map(|(name, value)| Some((name.to_owned(), text(value)?)))
    }
}

/// A string's text. `None` if the value is something else, or not Unicode: JSON can spell a lone
/// surrogate.
pub(crate) fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A field's name. Read as bytes, because a name that isn't Unicode would end the reading of the
/// whole object.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Name(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Name(String::from_utf8_lossy(bytes).into_owned().into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
