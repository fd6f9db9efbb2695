//! Three lines (method, stage, path): decoded the same in both formats, and routed without a surprise.
#![no_main]

use gaia_api_keys::event::ProxyEvent;
use gaia_api_keys::router::{Route, route};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// Percent-decoding, another way.
fn decoded(path: &str) -> String {
    let digit = |c: Option<&u8>| c.and_then(|c| char::from(*c).to_digit(16));
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn outcome(method: &str, path: &str, stage: Option<&str>) -> String {
    route(method, path, stage).map_or_else(|error| format!("{error:?}"), |route| format!("{route:?}"))
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let (Some(method), Some(stage), Some(path)) = (lines.next(), lines.next(), lines.next()) else { return };
    let old = json!({ "httpMethod": method, "path": path, "requestContext": { "stage": stage } });
    let new = json!({ "rawPath": path, "requestContext": { "stage": stage, "http": { "method": method } } });
    let [old, new] = [old, new].map(|event| serde_json::from_value::<ProxyEvent>(event).expect("an event"));
    assert_eq!((old.method(), old.stage()), (new.method(), new.stage()));
    assert_eq!(old.path(), new.path());
    assert_eq!(new.path(), decoded(path));

    let (path, stage) = (new.path(), new.stage());
    match route(method, &path, stage) {
        Ok(found @ (Route::Update(key) | Route::Delete(key))) => {
            assert!(!key.is_empty() && !key.contains('/') && path.contains(key));
            assert!(!found.name().contains(key) || "{api_key}".contains(key) || found.name().starts_with(method));
        }
        Ok(found) => assert!(found.name().starts_with(method)),
        Err(error) => assert!(matches!(error.status(), 404 | 405), "{error:?}"),
    }
    if !path.ends_with('/') {
        assert_eq!(outcome(method, &path, stage), outcome(method, &format!("{path}/"), stage));
    }
    if let Some(stage) = stage.filter(|stage| !stage.is_empty() && !stage.contains('/'))
        && path.starts_with("/es/api/v1/credentials/api_keys")
    {
        let staged = format!("/{stage}{path}");
        assert_eq!(outcome(method, &path, Some(stage)), outcome(method, &staged, Some(stage)));
        if !staged.starts_with("/es/api/v1/credentials/api_keys") {
            assert!(route(method, &staged, None).is_err());
        }
    }
});
