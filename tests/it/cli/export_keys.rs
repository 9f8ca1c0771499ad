//! `upstream-keys export`: keys leave whole only on request, the audit records it, and an import reads them again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use gemini_pool::storage::audit::{self, Action, AuditFilter};
use serde_json::Value;

use crate::support::process::{database, run_command};

const KEYS: &str = "key,label,project,billing,priority,weight,tags,enabled
AIzaSyExportedKeyOne000000000000000001,first,team,paid,-5,7,a;b,true
AIzaSyExportedKeyTwo000000000000000002,\"=1+1, \"\"second\"\"\",team,,0,1,,false
AIzaSyExportedKeyThree0000000000000003,三號,projects/123456789012,free,2,1000,,true
";
const SECRETS: [&str; 3] = [
    "AIzaSyExportedKeyOne000000000000000001",
    "AIzaSyExportedKeyTwo000000000000000002",
    "AIzaSyExportedKeyThree0000000000000003",
];

fn import(folder: &Path, file: &Path) {
    let output = run_command(folder, &["keys", "import", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

fn export(folder: &Path, arguments: &[&str]) -> Output {
    let output = run_command(folder, &[&["keys", "export"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What `list` shows of the attributes.
fn attributes(folder: &Path) -> Vec<String> {
    let output = run_command(folder, &["keys", "list", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let names = [
        "id", "label", "last4", "project", "billing", "priority", "weight", "tags", "enabled",
    ];
    let line = |key: &Value| names.map(|name| key[name].to_string()).join(" ");
    items.map(line).collect()
}

#[tokio::test]
async fn an_export_with_secrets_is_read_back_in_every_format_and_is_in_the_audit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.csv");
    std::fs::write(&file, KEYS).unwrap();
    import(folder.path(), &file);
    let expected = attributes(folder.path());
    assert_eq!(expected.len(), 3);

    for format in ["csv", "text", "json"] {
        let other = tempfile::tempdir().unwrap();
        let file = other.path().join("export");
        let path = file.to_str().unwrap();
        let output = export(
            folder.path(),
            &["--secrets", "--format", format, "--output", path],
        );

        let warning = text(&output.stderr);
        assert!(warning.contains("warning: the export contains 3 whole keys"));
        assert!(!SECRETS.iter().any(|secret| warning.contains(secret)));
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{format}");
        import(other.path(), &file);
        assert_eq!(attributes(other.path()), expected, "{format}");
    }

    let db = database(folder.path()).await;
    let filter = AuditFilter {
        action: Some(Action::Export),
        ..AuditFilter::default()
    };
    let changes = audit::list(&db.readers, &filter, None, 100).await.unwrap();
    db.close().await;
    assert_eq!(changes.items.len(), 9, "each key, each time");
    assert_eq!(changes.items[0].actor, "cli");
    let audit = format!("{:?}", changes.items);
    assert!(!SECRETS.iter().any(|secret| audit.contains(secret)));
}

#[tokio::test]
async fn an_export_is_masked_without_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.csv");
    std::fs::write(&file, KEYS).unwrap();
    import(folder.path(), &file);

    for format in ["csv", "text", "json"] {
        let output = export(folder.path(), &["--format", format]);

        let printed = text(&output.stdout);
        assert!(
            printed.contains("…0001") && printed.contains("三號"),
            "{printed}"
        );
        assert!(
            !SECRETS.iter().any(|secret| printed.contains(&secret[8..])),
            "{printed}"
        );
        assert_eq!(text(&output.stderr), "exported 3 upstream keys\n");
    }
    let one = export(folder.path(), &["--project", "team", "--state", "disabled"]);
    assert_eq!(text(&one.stderr), "exported 1 upstream key\n");

    let db = database(folder.path()).await;
    let filter = AuditFilter {
        action: Some(Action::Export),
        ..AuditFilter::default()
    };
    let changes = audit::list(&db.readers, &filter, None, 9).await.unwrap();
    db.close().await;
    assert_eq!(changes.items, []);
}
