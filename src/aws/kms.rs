//! Root keys from KMS: asked for once at start, so that the KMS key itself never leaves KMS.

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::MacAlgorithmSpec;
use zeroize::Zeroize;

use crate::error::{Cause, describe};
use crate::keys::keyring::RootKey;

/// NEVER CHANGE: a root key is KMS's MAC of it. No region and no ARN in it, so that a multi-Region key's replicas agree.
const MESSAGE: &[u8] = b"gaia-api-key/v1/root-key";

/// Asks KMS for the root key of one key id or ARN: `GenerateMac` with HMAC_SHA_256, 32 bytes. Errors: what KMS
/// said, or a MAC of another length.
pub async fn root_key(client: &Client, key_id: &str) -> Result<RootKey, Cause> {
    let request =
        client.generate_mac().key_id(key_id).mac_algorithm(MacAlgorithmSpec::HmacSha256).message(Blob::new(MESSAGE));
    let answer =
        request.send().await.map_err(|error| format!("KMS_KEY_ID: GenerateMac with {key_id}: {}", describe(&error)))?;
    let mut mac = answer.mac.map(Blob::into_inner).unwrap_or_default();
    let root_key = <[u8; 32]>::try_from(mac.as_slice()).map(RootKey::from_bytes);
    mac.zeroize();
    root_key.map_err(|_| format!("KMS_KEY_ID: GenerateMac with {key_id}: the MAC is not 32 bytes long").into())
}
