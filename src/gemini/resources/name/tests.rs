//! Tests of parsing resource names.

use proptest::prelude::*;

use super::*;

#[test]
fn a_path_with_an_unreadable_name_is_recognized() {
    let long = format!("/v1beta/environments/e/files/{}", "x".repeat(3_000));
    for (path, expected) in [
        ("/v1beta/files/", true),
        ("/v1beta/files%2F", true),
        ("/v1beta/openai/files/", true),
        ("/v1beta/fileSearchStores/-/documents", true),
        ("/v1beta/files/a b", true),
        (
            "/upload/v1beta/fileSearchStores/%20:uploadToFileSearchStore",
            true,
        ),
        (long.as_str(), true),
        ("/v1beta/files", false),
        ("/v1beta/files?x=/", false),
        ("/v1beta/files:register", false),
        ("/v1beta/files/a:download?alt=media", false),
        ("/v1beta/openai/batches/batches%2Fb", false),
        ("/v1beta/models/", false),
        ("/v1beta/models/m/operations/o", false),
        ("/v1beta/tunedModels/t/permissions/p", false),
        ("/v1beta/somethingNew/", false),
    ] {
        assert_eq!(ResourceName::has_unreadable_name(path), expected, "{path}");
    }
    let whole = |path| ResourceName::of_whole_path(path).is_some();
    assert!(whole("/v1beta/files/a?x=1") && whole("/v1beta/openai/files/files%2Fa"));
    assert!(!whole("/v1beta/tunedModels/t/permissions/p"));
    let snapshot = ResourceName::of_path("/v1beta/files/environment-e1:download").unwrap();
    assert_eq!(snapshot.as_str(), "environments/e1");
}

#[test]
fn a_name_that_is_a_credential_is_not_shown() {
    assert_eq!(
        ResourceName::without_secret("auth_tokens/abc"),
        "auth_tokens/…"
    );
    assert_eq!(
        ResourceName::without_secret("liveSessions/a/b"),
        "liveSessions/…"
    );
    assert_eq!(ResourceName::without_secret("files/abc"), "files/abc");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn every_spelling_of_a_name_parses_to_the_same_name() {
    use ResourceKind::{
        Agent, AuthToken, Batch, CachedContent, Document, Environment, File, FileSearchStore,
        Interaction, Operation, Trigger, TunedModel, Video,
    };
    let cases = [
        ("/v1beta/files/abc", "files/abc", File),
        ("/v1/files/abc:download?alt=media", "files/abc", File),
        (
            "/download/v1beta/files/abc:download?alt=media",
            "files/abc",
            File,
        ),
        ("/v1beta/files/abc%3Adownload", "files/abc", File),
        ("/v1beta/openai/files/abc/content", "files/abc", File),
        (
            "/v1beta/openai/files/files%2Fabc/content",
            "files/abc",
            File,
        ),
        ("/v1beta/openai/files/files/abc", "files/abc", File),
        ("/v1beta/openai/files/file-abc", "files/file-abc", File),
        (
            "/v1beta/openai/batches/batches%2Fb1/cancel",
            "batches/b1",
            Batch,
        ),
        ("/v1beta/openai/videos/v1", "videos/v1", Video),
        ("/v1beta/batches/b1:cancel", "batches/b1", Batch),
        (
            "/v1beta/cachedContents/c?updateMask=ttl",
            "cachedContents/c",
            CachedContent,
        ),
        (
            "/v1beta/models/veo-3.1/operations/o",
            "models/veo-3.1/operations/o",
            Operation,
        ),
        (
            "/v1beta/fileSearchStores/s:importFile",
            "fileSearchStores/s",
            FileSearchStore,
        ),
        (
            "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
            "fileSearchStores/s",
            FileSearchStore,
        ),
        (
            "/v1beta/fileSearchStores/s/documents",
            "fileSearchStores/s",
            FileSearchStore,
        ),
        (
            "/v1beta/fileSearchStores/s/documents/d",
            "fileSearchStores/s/documents/d",
            Document,
        ),
        (
            "/v1beta/fileSearchStores/s/operations/o",
            "fileSearchStores/s/operations/o",
            Operation,
        ),
        (
            "/v1beta/fileSearchStores/s/upload/operations/o",
            "fileSearchStores/s/upload/operations/o",
            Operation,
        ),
        (
            "/v1beta/tunedModels/t:generateContent",
            "tunedModels/t",
            TunedModel,
        ),
        (
            "/v1beta/tunedModels/t/permissions/p",
            "tunedModels/t",
            TunedModel,
        ),
        (
            "/v1beta/interactions/v1_Chd/cancel",
            "interactions/v1_Chd",
            Interaction,
        ),
        (
            "/v1beta/environments/e/files/a/b.txt",
            "environments/e",
            Environment,
        ),
        (
            "/upload/v1beta/environments/e/files/a",
            "environments/e",
            Environment,
        ),
        ("/v1beta/triggers/t/executions", "triggers/t", Trigger),
        ("/v1beta/agents/a", "agents/a", Agent),
        ("/v1alpha/auth_tokens/a", "auth_tokens/a", AuthToken),
    ];
    for (path, text, kind) in cases {
        let name = ResourceName::of_path(path).unwrap_or_else(|| panic!("{path}"));

        assert_eq!((name.as_str(), name.kind()), (text, kind), "{path}");
        for same in [
            text,
            path,
            &format!("https://{GOOGLE_HOST}{path}"),
            &format!("HTTPS://{}{path}", GOOGLE_HOST.to_uppercase()),
        ] {
            assert_eq!(ResourceName::of_text(same), Some(name.clone()), "{same}");
        }
    }
}

#[test]
fn things_without_an_owner_have_no_name() {
    for text in [
        "",
        "/",
        "/v1beta",
        "/v1beta/files",
        "/v1beta/files:register",
        "/v1beta/files/",
        "/v1beta/files/..",
        "/v1beta/models/gemini-2.5-flash",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        "/v1beta/openai/chat/completions",
        "/v9/files/abc",
        "models/gemini-2.5-flash",
        "files",
        "files/",
        "files/a b",
        "files/a\nb",
        "abc",
        "gs://bucket/files/abc",
        "https://www.youtube.com/watch?v=files/abc",
        "https://example.com/v1beta/files/abc",
        "https://generativelanguage.googleapis.com.example.com/v1beta/files/abc",
        "https://generativelanguage.googleapis.com@example.com/v1beta/files/abc",
        "liveSessions/",
    ] {
        assert_eq!(ResourceName::of_text(text), None, "{text}");
    }
    assert_eq!(
        ResourceName::of_text(&format!("files/{}", "a".repeat(MAX_NAME_BYTES))),
        None
    );
    assert_eq!(ResourceName::of_path("/v1beta/liveSessions/x"), None);
}

#[test]
fn an_id_and_a_kind_make_a_name() {
    let of_id = |kind, id| ResourceName::of_id(kind, id).map(|name| name.to_string());

    assert_eq!(
        of_id(ResourceKind::Interaction, "v1_x").unwrap(),
        "interactions/v1_x"
    );
    assert_eq!(of_id(ResourceKind::File, "file-x").unwrap(), "files/file-x");
    assert_eq!(of_id(ResourceKind::File, "files/x").unwrap(), "files/x");
    assert_eq!(
        of_id(ResourceKind::LiveSession, "a/b+c=").unwrap(),
        "liveSessions/a/b+c="
    );
    assert_eq!(of_id(ResourceKind::Agent, "models/x"), None);
    assert_eq!(of_id(ResourceKind::File, "report final.pdf"), None);
}

#[test]
fn a_part_has_the_owner_of_the_whole() {
    let cases = [
        (
            "fileSearchStores/s/documents/d",
            &["fileSearchStores/s/documents/d", "fileSearchStores/s"][..],
        ),
        (
            "fileSearchStores/s/upload/operations/o",
            &[
                "fileSearchStores/s/upload/operations/o",
                "fileSearchStores/s",
            ],
        ),
        ("models/m/operations/o", &["models/m/operations/o"]),
        ("files/f", &["files/f"]),
        ("liveSessions/a/b/c", &["liveSessions/a/b/c"]),
    ];
    for (text, expected) in cases {
        let lineage: Vec<_> = ResourceName::of_text(text).unwrap().lineage().collect();
        let lineage: Vec<_> = lineage.iter().map(ResourceName::as_str).collect();

        assert_eq!(lineage, expected);
    }
}

proptest! {
    #[test]
    fn the_text_of_a_name_parses_to_the_same_name(text in "(https://generativelanguage.googleapis.com)?(/v1beta/|/)?(openai/)?[a-zA-Z]{0,9}(files|fileSearchStores|models|liveSessions|batches)/[!-~]{0,9}(/(documents|upload/operations|operations)/[ -~]{0,9})?") {
        if let Some(name) = ResourceName::of_text(&text) {
            prop_assert_eq!(ResourceName::of_text(name.as_str()), Some(name.clone()));
            prop_assert!(name.lineage().count() <= 2);
        }
    }

    #[test]
    fn nothing_panics(text in ".{0,60}", kind in 0..19_usize) {
        ResourceName::of_text(&text);
        ResourceName::of_text(&format!("https://{text}"));
        ResourceName::of_path(&text);
        ResourceName::of_id(ResourceKind::ALL[kind], &text);
    }
}
