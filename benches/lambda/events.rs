//! What API Gateway hands over, with the headers that a real one has; and the key in what it gets
//! back.

use serde_json::{Value, json};

const API_KEYS: &str = "/es/api/v1/credentials/api_keys/";
const CONFIG: &str =
    r#"{"permissions":"read","note":"orders to billing","allowed_ips":["192.0.2.0/24"]}"#;

pub fn create() -> String {
    request("POST", "", Some(&format!(r#"{{"config":{CONFIG}}}"#)))
}

pub fn update(api_key: &str) -> String {
    request("PUT", api_key, Some(&format!(r#"{{"config":{CONFIG}}}"#)))
}

pub fn delete(api_key: &str) -> String {
    request("DELETE", &format!("delete/{api_key}"), None)
}

pub fn list() -> String {
    request("GET", "", None)
}

pub fn first_page() -> String {
    let mut event: Value = serde_json::from_str(&list()).expect("JSON");
    event["rawQueryString"] = json!("limit=50");
    event.to_string()
}

pub fn verify(api_key: &str) -> String {
    request(
        "POST",
        "verify",
        Some(&json!({ "api_key": api_key, "source_ip": "192.0.2.1" }).to_string()),
    )
}

/// A request to the management API: payload format 2.0, signed with IAM credentials.
fn request(method: &str, below: &str, body: Option<&str>) -> String {
    let path = format!("{API_KEYS}{below}");
    json!({
        "version": "2.0",
        "routeKey": format!("{method} {API_KEYS}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers("AWS4-HMAC-SHA256 Credential=AKID/20300101/eu-central-1/execute-api/aws4_request"),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "authorizer": { "iam": {
                "accessKey": "AKID", "accountId": "123456789012", "callerId": "AIDA", "cognitoIdentity": null,
                "principalOrgId": "o-1", "userArn": "arn:aws:iam::123456789012:user/alice", "userId": "AIDA",
            } },
            "domainName": "api.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "api",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": format!("{method} {API_KEYS}"),
            "stage": "$default",
            "time": "01/Jan/2030:00:00:00 +0000",
            "timeEpoch": 1893456000000_u64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
    .to_string()
}

/// A question to the authorizer: a protected HTTP API, payload format 2.0.
pub fn check(api_key: &str) -> String {
    json!({
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": "arn:aws:execute-api:eu-central-1:123456789012:api/$default/GET/orders",
        "identitySource": [format!("Bearer {api_key}")],
        "routeKey": "GET /orders",
        "rawPath": "/orders",
        "rawQueryString": "",
        "headers": headers(&format!("Bearer {api_key}")),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "api",
            "http": {
                "method": "GET", "path": "/orders", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "GET /orders",
            "stage": "$default",
            "time": "01/Jan/2030:00:00:00 +0000",
            "timeEpoch": 1893456000000_u64,
        },
        "pathParameters": {},
        "stageVariables": {},
    })
    .to_string()
}

/// The key in the body of a response.
pub fn api_key(response: &str) -> String {
    let start = response
        .find("gaia_")
        .unwrap_or_else(|| panic!("no key: {response}"));
    response[start..start + 58].to_owned()
}

/// The same key but for one character of the secret.
pub fn forge(api_key: &str) -> String {
    let other = if api_key.ends_with('0') { '1' } else { '0' };
    format!("{}{other}", &api_key[..57])
}

fn headers(authorization: &str) -> Value {
    json!({
        "accept": "*/*",
        "authorization": authorization,
        "content-type": "application/json",
        "host": "api.execute-api.eu-central-1.amazonaws.com",
        "user-agent": "curl/8.5.0",
        "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    })
}
