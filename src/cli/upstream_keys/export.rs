//! `upstream-keys export`: writes keys with their attributes, masked or whole, so that `import` reads them again.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use csv::WriterBuilder;

use super::list::KeyFilterArgs;
use crate::cli::pool_access::PoolAccess;
use crate::cli::whole_file::write_whole_file;
use crate::cli::{database, output};
use crate::config::DatabaseArgs;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::secret::Secret;
use crate::storage::paging::Page;
use crate::storage::upstream_keys::exported::{self, COLUMNS, ExportedKey};

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The form of the file; `import` reads each of them
    #[arg(long, value_enum, default_value_t)]
    format: KeyFormat,
    /// The file, which only its owner can read; default: standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With the whole keys instead of their last characters; the audit records it
    #[arg(long)]
    secrets: bool,
    #[command(flatten)]
    filter: KeyFilterArgs,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum KeyFormat {
    /// A line per key, with columns separated by commas
    #[default]
    Csv,
    /// A line per key, with columns separated by tabs, the key first
    Text,
    /// A list of objects
    Json,
}

pub(super) async fn export(pool: &PoolAccess, arguments: ExportArgs) -> Result<()> {
    let mut listed = arguments.filter.find(pool).await?;
    let mut secrets = HashMap::new();
    if arguments.secrets {
        // No answer of the API contains a secret but the one that creates it.
        let args = pool.file("`upstream-keys export --secrets`")?;
        let ids: Vec<_> = listed.iter().map(|key| key.id).collect();
        secrets = export_secrets(args, &ids).await?;
        // Removed since they were listed.
        listed.retain(|key| secrets.contains_key(&key.id));
        let count = output::count(listed.len(), "whole key");
        output::warn(&[format!(
            "the export contains {count}: keep it where only you can read it, and delete it after use"
        )]);
    }
    let keys = listed.into_iter().map(|key| {
        let secret = secrets.get(&key.id);
        ExportedKey::new(key, secret)
    });
    let keys: Vec<_> = keys.collect();
    let count = output::count(keys.len(), "upstream key");
    let text = written(keys, arguments.format);
    match &arguments.output {
        Some(path) => write_whole_file(path, async |file| Ok(file.write_all(&text)?)).await?,
        None => io::stdout().lock().write_all(&text)?,
    }
    eprintln!("exported {count}");
    Ok(())
}

/// The secrets of keys, once the audit contains that they were exported.
async fn export_secrets(
    args: &DatabaseArgs,
    ids: &[UpstreamKeyId],
) -> Result<HashMap<UpstreamKeyId, Secret>> {
    database::change_with_keys(args, async |tx, act, store| {
        let data_keys = store.load(tx).await?;
        Ok(exported::export_secrets(tx, &data_keys, ids, act).await?)
    })
    .await
}

fn written(keys: Vec<ExportedKey>, format: KeyFormat) -> Vec<u8> {
    let separator = match format {
        KeyFormat::Csv => b',',
        KeyFormat::Text => b'\t',
        KeyFormat::Json => {
            let list = serde_json::to_string_pretty(&Page::whole(keys));
            let list = list.expect("keys serialize to JSON");
            return format!("{list}\n").into_bytes();
        }
    };
    let mut writer = WriterBuilder::new()
        .delimiter(separator)
        .from_writer(Vec::new());
    let write = |writer: &mut csv::Writer<Vec<u8>>| {
        writer.write_record(COLUMNS)?;
        keys.iter()
            .try_for_each(|key| writer.write_record(key.cells()))
    };
    write(&mut writer).expect("memory can be written, and all rows have the same columns");
    writer.into_inner().expect("memory can be written")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pool::keys::import::{self, Expected};
    use crate::pool::keys::imported_keys::ImportedKey;
    use crate::pool::keys::upstream_key::{Billing, KeyAttributes};

    fn key(number: usize, secret: &str) -> ExportedKey {
        ExportedKey {
            key: format!("{secret}{number:02}"),
            label: format!("key {number}"),
            project: None,
            billing: Billing::Unknown,
            priority: 0,
            weight: 1,
            tags: Vec::new(),
            enabled: true,
        }
    }

    fn exported() -> impl Strategy<Value = ExportedKey> {
        (
            "[A-Za-z0-9Grüß你好🙂,;|\"=+@#:/()\\[\\]{}-]([A-Za-z0-9 你,;|'\"=+@#:/-]{0,12}[A-Za-z0-9])?",
            proptest::option::of("[a-z0-9][a-z0-9-]{0,8}|projects/[1-9][0-9]{5,9}"),
            prop_oneof![Just(Billing::Free), Just(Billing::Paid), Just(Billing::Unknown)],
            (any::<i32>(), 1..=1000i64),
            proptest::collection::btree_set("[a-z=+@-][a-z0-9=-]{0,6}", 0..3),
            any::<bool>(),
        )
            .prop_map(|(label, project, billing, (priority, weight), tags, enabled)| ExportedKey {
                key: "AIzaSyExportedKeyOfTheRoundTrip_0000000".to_owned(),
                label,
                project,
                billing,
                priority: priority.into(),
                weight,
                tags: tags.into_iter().collect(),
                enabled,
            })
    }

    proptest! {
        #[test]
        fn an_import_of_an_export_gives_the_same_keys(
            keys in proptest::collection::vec(exported(), 1..5),
        ) {
            let keys = || keys.iter().enumerate().map(|(number, exported)| ExportedKey {
                key: format!("AIzaSyExportedKeyOfTheRoundTrip_00000{number:02}"),
                label: exported.label.clone(),
                project: exported.project.clone(),
                tags: exported.tags.clone(),
                ..*exported
            });
            for format in [KeyFormat::Csv, KeyFormat::Text, KeyFormat::Json] {
                let text = String::from_utf8(written(keys().collect(), format)).unwrap();

                let read = import::read(&text, Expected::AnyText);

                prop_assert_eq!(&read.not_taken, &vec![], "{}", text);
                let read: Vec<_> = read.keys.iter().map(without_line).collect();
                let expected: Vec<_> = keys().map(|key| (
                    key.key.clone(),
                    KeyAttributes {
                        label: Some(key.label),
                        project: key.project,
                        billing: Some(key.billing),
                        priority: Some(key.priority),
                        weight: u32::try_from(key.weight).ok(),
                        // Without tags nothing is said of them: an import takes none away.
                        tags: Some(key.tags).filter(|tags| !tags.is_empty()),
                    },
                    !key.enabled,
                )).collect();
                prop_assert_eq!(read, expected, "{}", text);
            }
        }
    }

    fn without_line(key: &ImportedKey) -> (String, KeyAttributes, bool) {
        let secret = key.secret.expose().to_owned();
        (secret, key.attributes.clone(), key.is_disabled)
    }

    #[test]
    fn a_masked_export_contains_no_key() {
        let keys = [key(1, "…wxyz"), key(2, "…wxyz")];
        for format in [KeyFormat::Csv, KeyFormat::Text, KeyFormat::Json] {
            let keys = keys.iter().map(|one| key(1, &one.key)).collect();
            let text = String::from_utf8(written(keys, format)).unwrap();

            let read = import::read(&text, Expected::AnyText);

            assert_eq!(read.keys, [], "{text}");
        }
    }
}
