//! Events as gateways and emulators write them: what the service doesn't read can't make an event
//! unreadable.

use serde_json::{Value, json};

use crate::support::{
    API_KEYS, App, Call, FORMATS, Format, ODD_VALUES, Response, TIMEOUT, invoke_text, pointers,
    with_json,
};

async fn send_text(app: &App, event: String) -> Response {
    Response::from_lambda(invoke_text(&app.api, event, TIMEOUT).await)
}

/// A request with everything that API Gateway may write into an event, from one who signed in with
/// a JWT.
fn complete(method: &str, format: Format) -> Value {
    let mut call = Call::new(method, API_KEYS)
        .json(&json!({ "config": {} }))
        .query("a", "b");
    call.headers["idempotency-key"] = Value::Null;
    call.headers["x-odd"] = "text".into();
    call.headers["x-forwarded-proto"] = "https".into();
    let mut event = call.event(format);
    let claims = json!({ "sub": "u1", "iss": "https://issuer.example", "exp": "1618366253", "scope": "a b" });
    let certificate = json!({ "clientCertPem": "-----", "validity": { "notBefore": "May 28 2019", "notAfter": "x" } });
    event["stageVariables"] = json!({ "name": "value" });
    event["pathParameters"] = json!({ "proxy": "value" });
    let context = &mut event["requestContext"];
    context["domainName"] = "api.example.com".into();
    context["domainPrefix"] = "api".into();
    context["time"] = "10/Mar/2026:12:00:00 +0000".into();
    match format {
        Format::Http | Format::HttpNamedStage => {
            context["authorizer"] = json!({
                "jwt": { "claims": claims, "scopes": ["a", "b"] },
                "lambda": { "key": "value" },
                "iam": { "userArn": null, "cognitoIdentity": { "amr": ["a"], "identityId": "x" }, "userId": "AIDA" },
            });
            context["authentication"] = json!({ "clientCert": certificate });
            context["http"]["userAgent"] = "curl".into();
            event["cookies"] = json!(["a=b"]);
        }
        Format::Rest | Format::RestStageInPath => {
            context["authorizer"] =
                json!({ "claims": claims, "scopes": ["a"], "principalId": "x", "latency": "3" });
            context["identity"] = json!({
                "userArn": null, "sourceIp": "192.0.2.1", "user": null, "clientCert": certificate, "apiKey": "x",
            });
            context["requestTimeEpoch"] = 1.into();
            event["version"] = "1.0".into();
            event["multiValueHeaders"] =
                json!({ "Content-Type": ["application/json"], "X-Odd": ["text"] });
            event["multiValueQueryStringParameters"] = json!({ "a": ["b"] });
        }
    }
    event
}

/// What decides the response, in either format. Everything else may be anything.
const READ: [&str; 24] = [
    "/version",
    "/rawPath",
    "/rawQueryString",
    "/path",
    "/httpMethod",
    "/headers",
    "/headers/Content-Type",
    "/headers/idempotency-key",
    "/multiValueHeaders",
    "/multiValueHeaders/Content-Type",
    "/multiValueHeaders/Content-Type/0",
    "/body",
    "/isBase64Encoded",
    "/requestContext",
    "/requestContext/http",
    "/requestContext/http/method",
    "/requestContext/identity/userArn",
    "/requestContext/authorizer",
    "/requestContext/authorizer/iam/userArn",
    "/requestContext/authorizer/jwt",
    "/requestContext/authorizer/jwt/claims",
    "/requestContext/authorizer/jwt/claims/sub",
    "/requestContext/authorizer/claims",
    "/requestContext/authorizer/claims/sub",
];

#[tokio::test]
async fn a_field_that_the_service_does_not_read_may_be_anything() {
    let app = App::new().await;
    for format in FORMATS {
        let event = complete("GET", format);
        let rest = matches!(format, Format::Rest | Format::RestStageInPath);
        let mut tried = 0;
        for pointer in pointers(&event) {
            // The query is in these only in format 1.0. Without the stage, a path that begins with
            // it is unknown.
            let query = rest
                && pointer
                    .to_ascii_lowercase()
                    .ends_with("querystringparameters");
            let stage = pointer.ends_with("/stage")
                && [Format::HttpNamedStage, Format::RestStageInPath].contains(&format);
            if READ.contains(&pointer.as_str()) || query || stage {
                continue;
            }
            for odd in ODD_VALUES {
                let response = send_text(&app, with_json(&event, &pointer, odd)).await;
                assert_eq!(
                    response.status, 200,
                    "{format:?} {pointer} is {odd}: {response:?}"
                );
                tried += 1;
            }
        }
        assert!(tried > 300, "{tried}");
    }
}

#[tokio::test]
async fn claims_need_not_be_strings_apart_from_the_subject() {
    let app = App::new().await;
    for format in FORMATS {
        let claims = match format {
            Format::Http | Format::HttpNamedStage => "/requestContext/authorizer/jwt/claims",
            Format::Rest | Format::RestStageInPath => "/requestContext/authorizer/claims",
        };
        let event = complete("POST", format);
        for odd in ODD_VALUES {
            let with_claims = with_json(
                &event,
                claims,
                &format!(r#"{{"exp":{odd},"sub":"u1","groups":{odd}}}"#),
            );
            assert_eq!(
                send_text(&app, with_claims).await.status,
                200,
                "{format:?} {odd}"
            );
            let no_caller = with_json(&event, &format!("{claims}/sub"), odd);
            let expected = if odd == r#""text""# { 200 } else { 401 };
            assert_eq!(
                send_text(&app, no_caller).await.status,
                expected,
                "{format:?}, sub is {odd}"
            );
            let no_caller = with_json(&event, claims, odd);
            assert_eq!(
                send_text(&app, no_caller).await.status,
                401,
                "{format:?}, claims are {odd}"
            );
        }
    }
    let items = app.table.items();
    let created_by = |item: &&Value| item["created_by"]["S"] == "u1";
    assert_eq!(
        items.iter().filter(created_by).count(),
        FORMATS.len() * ODD_VALUES.len()
    );
}

/// A header that asks for something must not be dropped in silence because a gateway wrote it in
/// another type.
#[tokio::test]
async fn a_header_of_another_type_is_rejected_by_the_check_that_reads_it() {
    let app = App::new().await;
    for format in FORMATS {
        let event = complete("POST", format);
        for odd in ODD_VALUES {
            let response =
                send_text(&app, with_json(&event, "/headers/idempotency-key", odd)).await;
            let expected = if [r#""text""#, "null", "[]"].contains(&odd) {
                200
            } else {
                422
            };
            assert_eq!(response.status, expected, "{format:?} {odd}: {response:?}");
        }
    }
}

/// What is read must have its type: a query that is dropped would list other keys than were asked
/// for.
#[tokio::test]
async fn an_unreadable_method_path_query_or_body_is_a_400_in_the_format_of_the_event() {
    let app = App::new().await;
    for (format, pointers) in [
        (
            Format::Http,
            &[
                "/rawPath",
                "/rawQueryString",
                "/requestContext/http/method",
                "/body",
                "/isBase64Encoded",
            ][..],
        ),
        (
            Format::Rest,
            &[
                "/path",
                "/queryStringParameters",
                "/httpMethod",
                "/body",
                "/isBase64Encoded",
                "/headers",
                "/requestContext",
            ],
        ),
    ] {
        for pointer in pointers {
            for odd in ["7", r#""\ud800""#, "[7]"] {
                let response = invoke_text(
                    &app.api,
                    with_json(&complete("POST", format), pointer, odd),
                    TIMEOUT,
                )
                .await;
                assert_eq!(
                    response["statusCode"], 400,
                    "{format:?}, {pointer} is {odd}: {response}"
                );
                assert_eq!(
                    response["cookies"].is_array(),
                    format == Format::Http,
                    "{response}"
                );
            }
        }
    }
    assert!(app.table.items().is_empty());
}

#[tokio::test]
async fn null_and_missing_fields_are_the_same() {
    let app = App::new().await;
    for format in FORMATS {
        for pointer in [
            "/headers",
            "/isBase64Encoded",
            "/rawQueryString",
            "/queryStringParameters",
            "/multiValueHeaders",
        ] {
            let mut event = Call::new("GET", API_KEYS).event(format);
            event[&pointer[1..]] = Value::Null;
            assert_eq!(
                app.send_event(event.clone()).await.status,
                200,
                "{format:?} {pointer}"
            );
            event
                .as_object_mut()
                .expect("an object")
                .remove(&pointer[1..]);
            assert_eq!(
                app.send_event(event).await.status,
                200,
                "{format:?} without {pointer}"
            );
        }
        let mut event = Call::new("GET", API_KEYS).event(format);
        let context = event["requestContext"].as_object_mut().expect("an object");
        context.remove("httpMethod");
        assert_eq!(
            app.send_event(event).await.status,
            200,
            "{format:?}: the method stands in one place"
        );
    }
}

#[tokio::test]
async fn a_path_is_matched_as_it_is_without_decoding() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let (encoded, every_byte) = (
        key.replace('_', "%5F"),
        key.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>(),
    );
    let collection = "/es/api/v1/credentials/api_keys";
    let (not_found, no_key) = ("Not Found", "API key not found");
    let table = [
        (
            "GET",
            "/es/api/v1/credentials/api%5Fkeys/".to_owned(),
            404,
            not_found,
        ),
        (
            "GET",
            "/es/api/v1/credentials/api%5fkeys".to_owned(),
            404,
            not_found,
        ),
        (
            "GET",
            "/%65s/api/v1/credentials/api_keys/".to_owned(),
            404,
            not_found,
        ),
        (
            "GET",
            "/es%2Fapi%2Fv1%2Fcredentials%2Fapi_keys%2F".to_owned(),
            404,
            not_found,
        ),
        (
            "POST",
            format!("{collection}/%76erify"),
            405,
            "Method Not Allowed",
        ),
        ("PUT", format!("{collection}/{encoded}"), 404, no_key),
        ("PUT", format!("{collection}/{every_byte}"), 404, no_key),
        ("PUT", format!("{collection}/a%2Fb"), 404, no_key),
        ("PUT", format!("{collection}/delete%2F{key}"), 404, no_key),
        (
            "DELETE",
            format!("{collection}/delete%2F{key}"),
            405,
            "Method Not Allowed",
        ),
        (
            "DELETE",
            format!("{collection}/%64elete/{key}"),
            404,
            not_found,
        ),
        (
            "DELETE",
            format!("{collection}/delete/{encoded}"),
            404,
            no_key,
        ),
    ];
    let before = app.table.items();
    for (method, path, status, detail) in table {
        for format in FORMATS {
            let call = Call::new(method, &path).json(&json!({ "config": {}, "api_key": key }));
            let response = app.send_event(call.event(format)).await;
            let expected = (status, json!({ "detail": detail }));
            assert_eq!(
                (response.status, response.json()),
                expected,
                "{method} {path} {format:?}"
            );
        }
    }
    assert_eq!(app.table.items(), before);
}
