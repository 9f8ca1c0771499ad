//! Errors, word for word.

use super::*;

#[tokio::test]
async fn every_refusal_has_googles_status_and_words() {
    let cases = [
        (Behaviour::Invalid, 400, "API_KEY_INVALID"),
        (Behaviour::InvalidEchoingKey, 400, KEY),
        (Behaviour::Expired, 400, "API key expired"),
        (Behaviour::NotFound, 400, "API Key not found"),
        (
            Behaviour::Unauthenticated,
            401,
            "v1beta.GenerativeService.GenerateContent",
        ),
        (Behaviour::Leaked, 403, "reported as leaked"),
        (Behaviour::Suspended, 403, "projects/100000000001"),
        (Behaviour::ServiceDisabled, 403, "project=100000000001"),
        (Behaviour::ServiceBlocked, 403, "API_KEY_SERVICE_BLOCKED"),
        (
            Behaviour::ReferrerBlocked,
            403,
            "API_KEY_HTTP_REFERRER_BLOCKED",
        ),
        (Behaviour::ProjectDenied, 403, "denied access"),
        (Behaviour::BillingEmpty, 402, "prepayment credits"),
        (Behaviour::BillingEmpty429, 429, "prepayment credits"),
        (Behaviour::SpendingCap, 429, "spending cap"),
        (
            Behaviour::QuotaZero("gemini-2.5-flash".into()),
            429,
            "limit: 0, model: gemini-2.5-flash",
        ),
        (
            Behaviour::ModelRetired("gemini-2.5-flash".into()),
            404,
            "no longer available",
        ),
        (Behaviour::LocationUnsupported, 400, "User location"),
        (Behaviour::Exhausted, 429, "check quota"),
        (Behaviour::ExhaustedHelpOnly, 429, "rpc.Help"),
        (Behaviour::ForbiddenHtml, 403, "<!DOCTYPE html>"),
        (Behaviour::InternalError, 500, "INTERNAL"),
        (Behaviour::BadGatewayHtml, 502, "<!DOCTYPE html>"),
        (Behaviour::Overloaded, 503, "high demand"),
        (Behaviour::OverloadedLegacyText, 503, "overloaded"),
        (Behaviour::DeadlineExceeded, 504, "DEADLINE_EXCEEDED"),
        (Behaviour::FixedResponse(418, "tea".into()), 418, "tea"),
    ];
    let fake = fake(Behaviour::Healthy).await;

    for (behaviour, status, words) in cases {
        fake.set_behaviour(KEY, behaviour.clone());
        let response = post_and_read(&fake, GENERATE, PROMPT).await;
        assert_eq!(response.0, status, "{behaviour:?}: {}", response.2);
        assert!(response.2.contains(words), "{behaviour:?}: {}", response.2);
        assert!(
            !response.2.contains("<API_KEY>") && !response.2.contains("<PROJECT"),
            "{behaviour:?}"
        );
    }
}

#[tokio::test]
async fn errors_have_the_form_of_their_surface() {
    let fake = fake(Behaviour::Exhausted).await;
    let native = "{\n  \"error\": {\n    \"code\": 429,\n    \"message\": \"Resource has been exhausted (e.g. check quota).\",\n    \
        \"status\": \"RESOURCE_EXHAUSTED\"\n  }\n}\n";

    let told_by = async |path, body| {
        let (_, content_type, body) = post_and_read(&fake, path, body).await;
        (content_type, body)
    };

    let json = "application/json; charset=UTF-8".to_owned();
    assert_eq!(
        told_by(GENERATE, PROMPT).await,
        (json.clone(), native.to_owned())
    );
    assert_eq!(
        told_by(STREAM, PROMPT).await,
        ("text/event-stream".to_owned(), native.to_owned())
    );
    assert_eq!(
        told_by(ARRAY, PROMPT).await,
        (json.clone(), format!("[{native}]"))
    );
    assert_eq!(
        told_by(CHAT, CHAT_BODY).await,
        (json.clone(), format!("[{native}]\n"))
    );
    let interaction = r#"{"model":"gemini-2.5-flash","input":"Hi"}"#;
    let error_body = r#"{"error": {"code": "rate_limit_exceeded","message": "Resource has been exhausted (e.g. check quota)."}}"#;
    assert_eq!(
        told_by("/v1beta/interactions", interaction).await,
        (json, error_body.to_owned())
    );
}

#[tokio::test]
async fn credentials_are_taken_as_google_takes_them() {
    let fake = fake(Behaviour::Healthy).await;
    let send = async |path: &str, body: &str, headers: &[(&str, &str)]| {
        let mut request = client().post(fake.url() + path).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let bearer = format!("Bearer {KEY}");

    let cases = [
        (
            send(GENERATE, PROMPT, &[]).await,
            403,
            "unregistered callers",
        ),
        (
            send(GENERATE, PROMPT, &[("authorization", &bearer)]).await,
            401,
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        ),
        (
            send(
                GENERATE,
                PROMPT,
                &[("authorization", &bearer), ("x-goog-api-key", KEY)],
            )
            .await,
            400,
            "Multiple authentication credentials received. Please pass only one.",
        ),
        (
            send(GENERATE, PROMPT, &[("x-goog-api-key", "AIzaOther")]).await,
            400,
            "API_KEY_INVALID",
        ),
        (
            send(&format!("{GENERATE}?key={KEY}"), PROMPT, &[]).await,
            200,
            "candidates",
        ),
        (
            send(CHAT, CHAT_BODY, &[("authorization", &bearer)]).await,
            200,
            "chat.completion",
        ),
        (
            send(CHAT, CHAT_BODY, &[("x-goog-api-key", KEY)]).await,
            200,
            "chat.completion",
        ),
        (
            send(
                CHAT,
                CHAT_BODY,
                &[("authorization", &bearer), ("openai-organization", "o")],
            )
            .await,
            400,
            "[{\n  \"error\": {\n    \"code\": 400,\n    \"message\": \"Multiple",
        ),
    ];

    for ((status, body), expected, words) in cases {
        assert_eq!(status, expected, "{body}");
        assert!(body.contains(words), "{body}");
    }
}

#[tokio::test]
async fn wrong_requests_are_the_clients_fault() {
    let fake = fake(Behaviour::Healthy).await;
    let cases = [
        (GENERATE, "{", 400, "Invalid JSON payload received."),
        (GENERATE, "{}", 400, "contents is not specified"),
        (
            GENERATE,
            r#"{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"temperature":9}}"#,
            400,
            "Request contains an invalid argument.",
        ),
        (
            "/v1beta/models/no-such:generateContent",
            PROMPT,
            404,
            "models/no-such is not found for API version v1beta, or is not supported for generateContent.",
        ),
        (
            "/v1/models/gemini-flash-latest:countTokens",
            PROMPT,
            404,
            "models/gemini-flash-latest is not found for API version v1, or is not supported for countTokens.",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:embedContent",
            "{}",
            404,
            "is not supported for embedContent",
        ),
        ("/v1beta/nothing", "", 404, "NOT_FOUND"),
        ("/nothing", "", 404, "<!DOCTYPE html>"),
    ];

    for (path, body, status, words) in cases {
        let response = post_and_read(&fake, path, body).await;
        assert_eq!(response.0, status, "{path} {body}: {}", response.2);
        assert!(response.2.contains(words), "{path} {body}: {}", response.2);
    }
}

#[tokio::test]
async fn egress_and_overload_strike_whatever_the_key() {
    let fake = fake(Behaviour::Healthy).await;

    fake.set_overload("gemini-2.5-flash", Some(2));
    let statuses = [
        post_and_read(&fake, GENERATE, PROMPT).await.0,
        post_and_read(&fake, GENERATE, PROMPT).await.0,
    ];
    fake.set_overload("gemini-2.5-flash", None);
    fake.set_egress_behaviour(Some(Behaviour::LocationUnsupported));
    let blocked = post_and_read(&fake, GENERATE, PROMPT).await.0;
    fake.set_egress_behaviour(None);

    assert_eq!(statuses, [200, 503]);
    assert_eq!(blocked, 400);
    assert_eq!(post_and_read(&fake, GENERATE, PROMPT).await.0, 200);
}
