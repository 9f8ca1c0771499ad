//! Tests of parsing paths.

use proptest::prelude::*;

use super::*;
use crate::gemini::url::{loggable_path, query_parameter};

fn read(line: &str) -> Result<Target, TargetError> {
    let (method, uri) = line.split_once(' ').unwrap();
    let (path, query) = uri
        .split_once('?')
        .map_or((uri, None), |(path, query)| (path, Some(query)));
    Target::read(&method.parse().unwrap(), path, query, false)
}

#[test]
fn operations_that_bypass_the_server_are_recognized() {
    for (line, expected) in [
        ("POST /v1alpha/auth_tokens", true),
        ("POST /v1alpha/auth%5Ftokens", true),
        ("POST /v1beta/tunedModels/x/permissions", true),
        ("GET /v1beta/corpora/x/permissions/y?a=b", true),
        ("POST /v1beta/tunedModels/x:transferOwnership", true),
        ("POST /v1beta/webhooks/x:rotateSigningSecret", true),
        ("POST /v1beta/credentials", true),
        ("GET /v1beta/files?pageToken=permissions", false),
        ("POST /v1beta/interactions", false),
    ] {
        assert_eq!(
            read(line).unwrap().grants_direct_access(),
            expected,
            "{line}"
        );
    }
}

#[test]
fn paths_name_their_operation_and_model() {
    let cases = [
        (
            "POST /v1beta/models/gemini-2.5-flash:generateContent",
            "generateContent",
            "gemini-2.5-flash",
        ),
        (
            "POST /v1/models/gemini-2.5-flash%3AgenerateContent",
            "generateContent",
            "gemini-2.5-flash",
        ),
        (
            "POST /v1beta/tunedModels/mine:generateContent",
            "generateContent",
            "tunedModels/mine",
        ),
        ("POST /v1beta/models/m:somethingNew", "", "m"),
        ("GET /v1beta/models", "models.list", ""),
        ("GET /v1beta/models/m", "models.get", "m"),
        (
            "GET /v1beta/models/m/operations/x",
            "models.operations.get",
            "",
        ),
        ("GET /v1beta/cachedContents", "cachedContents.list", ""),
        ("POST /v1beta/cachedContents", "cachedContents.create", ""),
        (
            "PATCH /v1beta/cachedContents/x?updateMask=ttl",
            "cachedContents.update",
            "",
        ),
        ("DELETE /v1beta/files/x", "files.delete", ""),
        ("POST /v1beta/batches/x:cancel", "batches.cancel", ""),
        (
            "POST /v1beta/openai/chat/completions",
            "chat.completions",
            "",
        ),
        ("POST /v1beta/openai/embeddings", "embeddings", ""),
        ("GET /v1beta/openai/batches%2Fb1", "", ""),
        ("POST /v1beta/interactions", "interactions.create", ""),
        (
            "POST /v1beta/interactions/x/cancel",
            "interactions.cancel",
            "",
        ),
        (
            "POST /v1beta/fileSearchStores/s/documents",
            "fileSearchStores.documents.create",
            "",
        ),
        ("POST /v1beta/files:register", "files.register", ""),
        ("POST /upload/v1beta/files", "files.upload", ""),
        (
            "POST /resumable/upload/v1beta/files?upload_id=x",
            "files.upload",
            "",
        ),
        (
            "POST /upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
            "fileSearchStores.uploadToFileSearchStore",
            "",
        ),
        (
            "GET /download/v1beta/files/f:download?alt=media",
            "files.download",
            "",
        ),
        (
            "GET /ws/google.ai.X.BidiGenerateContent",
            "BidiGenerateContent",
            "",
        ),
        (
            "GET /gemini//ws/google.ai.X.BidiGenerateMusic?key=x",
            "BidiGenerateMusic",
            "",
        ),
        ("GET /ws/google.ai.X.Bidi-x", "", ""),
        ("GET /ws/google.ai.X.BidiInvented", "", ""),
        ("POST /v1beta/files/x:inventedMethod", "files.other", ""),
        ("GET /v1beta/brandNew/thing", "", ""),
    ];
    for (line, operation, model) in cases {
        let target = read(line).unwrap();

        assert_eq!(
            target.operation.as_deref().unwrap_or_default(),
            operation,
            "{line}"
        );
        assert_eq!(target.model.as_deref().unwrap_or_default(), model, "{line}");
    }
}

#[test]
fn aliases_become_googles_paths_and_credentials_are_removed() {
    let cases = [
        ("GET /gemini/v1beta/models", "/v1beta/models"),
        (
            "POST /openai/v1/chat/completions",
            "/v1beta/openai/chat/completions",
        ),
        (
            "POST /v1/chat/completions?x=1",
            "/v1beta/openai/chat/completions?x=1",
        ),
        ("POST /gemini/v1/embeddings", "/v1beta/openai/embeddings"),
        (
            "POST /v1/images/generations",
            "/v1beta/openai/images/generations",
        ),
        ("POST /v1/imagesX", "/v1/imagesX"),
        ("GET /v1/files", "/v1/files"),
        ("GET /v1/models/m?key=SECRET", "/v1/models/m"),
        (
            "GET /v1beta/models?pageSize=5&%6Bey=SECRET&%24alt=json%3Benum-encoding%3Dint",
            "/v1beta/models?pageSize=5&%24alt=json%3Benum-encoding%3Dint",
        ),
        (
            "GET /v1beta/models?access_token=a&oauth_token=b&alt=sse",
            "/v1beta/models?alt=sse",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(read(line).unwrap().path_and_query, expected, "{line}");
    }
}

#[test]
fn rows_contain_no_parameter_that_may_hold_a_credential_a_token_or_an_id() {
    let cases = [
        (None, "/upload/v1beta/files"),
        (Some("upload_id=SECRET"), "/upload/v1beta/files"),
        (
            Some("a=b&upload%5Fid=SECRET&upload_protocol=resumable&key=SECRET"),
            "/upload/v1beta/files?upload_protocol=resumable",
        ),
        (
            Some("pageToken=x&pageSize=10&alt=json&filter=name%3Dx&after=file-1&fields=a"),
            "/upload/v1beta/files?pageSize=10&alt=json",
        ),
        (
            Some("alt=an-invented-value&pageSize=12345678901234567"),
            "/upload/v1beta/files",
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(loggable_path("/upload/v1beta/files", query), expected);
    }
}

#[test]
fn only_a_bearer_token_makes_v1_models_an_openai_path() {
    let read =
        |path, has_bearer_token| Target::read(&Method::GET, path, None, has_bearer_token).unwrap();

    assert_eq!(
        read("/v1/models", true).path_and_query,
        "/v1beta/openai/models"
    );
    assert_eq!(read("/v1/models/m", true).surface, Surface::OpenAi);
    assert_eq!(read("/v1/models", false).path_and_query, "/v1/models");
    assert_eq!(
        read("/v1/models/m:generateContent", true).surface,
        Surface::Native
    );
}

#[test]
fn only_listed_system_parameters_pass() {
    let query = |query: &str| Target::read(&Method::GET, "/v1beta/models/m", Some(query), false);
    for passed in [
        "alt=json",
        "alt=sse",
        "alt=media",
        "%24alt=json%3Benum-encoding%3Dint",
        "$alt=sse;enum-encoding=int",
        "$prettyPrint=false",
        "prettyPrint=true",
        "$.xgafv=2",
        "uploadType=media",
        "upload_protocol=raw",
        "pageSize=5",
        "updateMask=ttl",
        "force=true",
        "somethingNew=1",
        "fields=a",
        "$fields=a",
    ] {
        assert_eq!(
            query(passed).unwrap().path_and_query,
            format!("/v1beta/models/m?{passed}")
        );
    }
    for refused in [
        "$key=x",
        "$userProject=p",
        "userProject=p",
        "user_project=p",
        "bearer_token=t",
        "$callback=f",
        "callback=f",
        "c%61llback=f",
        "alt=proto",
        "alt=json;charset=x",
        "%61lt=proto",
        "$alt=proto",
        "$ct=x",
        "$httpMethod=DELETE",
        "quotaUser=u",
        "$unknown=1",
        "x-goog-fieldmask=a",
        "X_Goog_User_Project=p",
        "KEY=x",
        "alt",
        "$alt=media",
        "Alt=json",
    ] {
        assert!(
            matches!(query(refused), Err(TargetError::ForbiddenParameter(_))),
            "{refused}"
        );
    }
    assert!(query("fields=usage&x=1").unwrap().selects_fields());
    assert!(!query("x=fields").unwrap().selects_fields());
}

#[test]
fn models_and_methods_are_plain_and_uploads_are_for_operations_that_take_them() {
    for path in [
        "/v1beta/models/a%2Fb:generateContent",
        "/v1beta/models/a%252Fb:generateContent",
        "/v1beta/models/m;x=1:generateContent",
        "/v1beta/models/m%3Bx:generateContent",
        "/v1beta/models/m%3F:generateContent",
        "/v1beta/models/m%23:generateContent",
        "/v1beta/models/m:countTokens:generateContent",
        "/v1beta/models/m%3AcountTokens:generateContent",
        "/v1beta/tunedModels/t:generate%2FContent",
        "/v1beta/files/f:download%3Fx",
        "/v1beta/files/f:a:b",
        "/v1beta/dynamic/d;x:generateContent",
    ] {
        let read = Target::read(&Method::POST, path, None, false);
        assert_eq!(read, Err(TargetError::UnsafePath), "{path}");
    }
    for path in [
        "/v1beta/openai/batches/batches%2Fb1",
        "/v1beta/openai/files/files%2Ff/content",
        "/v1beta/openai/models/models%2Fm",
        "/v1beta/environments/e/files/a%2Fb;c%3F:d:e",
        "/upload/v1beta/environments/e/files/a%2Fb",
        "/upload/v1beta/files",
        "/resumable/upload/v1beta/files",
        "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
    ] {
        let read = Target::read(&Method::POST, path, None, false);
        assert_eq!(
            read.map(|target| target.path_and_query),
            Ok(path.to_owned())
        );
    }
    for path in [
        "/upload/v1beta/models/m:generateContent",
        "/upload/v1beta/cachedContents",
        "/resumable/upload/v1beta/models/m:batchGenerateContent",
        "/upload/v1beta/somethingNew",
    ] {
        let read = Target::read(&Method::POST, path, None, false);
        assert_eq!(read, Err(TargetError::NotAnUpload), "{path}");
    }
    for method in ["TRACE", "CONNECT", "PROPFIND", "get"] {
        let read = Target::read(&method.parse().unwrap(), "/v1beta/models", None, false);
        assert_eq!(read, Err(TargetError::Method), "{method}");
    }
}

#[test]
fn ambiguous_paths_are_refused() {
    for path in [
        "/v1beta/../admin",
        "/v1beta/./models",
        "/v1beta/%2e%2E/x",
        "/v1beta/models/..%2f..%2fx",
        "/v1beta//models",
        "/v1beta/models\\x",
        "/v1beta/models/%5c",
        "/v1beta/models/%0d%0aHost",
        "v1beta",
    ] {
        assert_eq!(
            Target::read(&Method::GET, path, None, false),
            Err(TargetError::UnsafePath),
            "{path}"
        );
    }
    assert_eq!(read("POST /batch/v1beta"), Err(TargetError::BatchEndpoint));
    assert_eq!(
        read("GET /v1beta/models?callback=f"),
        Err(TargetError::ForbiddenParameter(ForbiddenParameter(
            "callback".to_owned()
        )))
    );
    assert_eq!(
        read("GET /v1beta/models?%24httpHeaders=f"),
        Err(TargetError::ForbiddenParameter(ForbiddenParameter(
            "$httpHeaders".to_owned()
        )))
    );
}

proptest! {
    #[test]
    fn no_credential_is_left_in_any_query(query in "[a-z%0-9=&+$;]{0,60}") {
        if let Ok(left) = upstream_query(&query) {
            for name in ["key", "access_token", "oauth_token"] {
                prop_assert_eq!(query_parameter(&left, name), None);
            }
        }
    }

    #[test]
    fn a_path_is_forwarded_unchanged_or_not_at_all(path in "/v1beta/[ -~]{0,40}") {
        if let Ok(target) = Target::read(&Method::POST, &path, None, false) {
            prop_assert_eq!(target.path_and_query, path);
        }
    }
}
