//! Root keys from KMS, requested once at start. The KMS key itself never leaves KMS.

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::MacAlgorithmSpec;
use keys::keyring::RootKey;
use zeroize::Zeroize;

use crate::error::{Cause, describe};

/// NEVER CHANGE: a root key is KMS's MAC of it. It names no Region and no ARN, so a multi-Region
/// key's replicas give the same root key.
const MESSAGE: &[u8] = b"gaia-api-key/v1/root-key";

/// Asks KMS for the root key of one KMS key, by ID or ARN: `GenerateMac` with HMAC_SHA_256, 32
/// bytes. Errors: KMS failed, or the MAC has another length.
pub async fn root_key(client: &Client, key_id: &str) -> Result<RootKey, Cause> {
    let request = client
        .generate_mac()
        .key_id(key_id)
        .mac_algorithm(MacAlgorithmSpec::HmacSha256)
        .message(Blob::new(MESSAGE));
    let output = request.send().await.map_err(|error| {
        format!(
            "KMS_KEY_ID: GenerateMac with {key_id}: {}",
            describe(&error)
        )
    })?;
    let mut mac = output.mac.map(Blob::into_inner).unwrap_or_default();
    let root_key = <[u8; 32]>::try_from(mac.as_slice()).map(RootKey::from_bytes);
    mac.zeroize();
    root_key.map_err(|_| {
        format!("KMS_KEY_ID: GenerateMac with {key_id}: the MAC is not 32 bytes long").into()
    })
}
