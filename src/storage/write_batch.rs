//! `WriteBatch`: rows of several tables that few statement texts write in the caller's transaction.
//!
//! Not checked macros, whose number of parameters is fixed at build time: one statement per row costs a thread switch
//! each, and with all rows in one JSON parameter its parsing took more than half of SQLite's time.

use std::collections::HashMap;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Sqlite, Transaction};

use crate::storage::error::Result;

/// Maximum number of rows of a table per execution; SQLite accepts 32,766 parameters.
const MAX_ROWS: usize = 128;
/// Up to so many rows in each table, one text writes all tables: each execution costs a thread switch.
const FEW_ROWS: usize = 4;

/// A column of a table: its name, its use for a row that exists, and its value in a new row.
pub type Column<R> = (&'static str, Merge, fn(&R) -> Cell);

/// The use of a column for a row that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Part of the primary key.
    Key,
    Keep,
    Replace,
    Add,
    /// The new text after the one that is there.
    Append,
    /// The larger value; absent counts as zero.
    Maximum,
    /// Replaced unless the new value is absent.
    ReplaceIfKnown,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Integer(i64),
    Text(Box<str>),
    /// One of the program's own names.
    Name(&'static str),
}

/// The statement of one table; rows whose first column is null are ignored.
#[derive(Debug)]
pub struct TableStatement {
    before_rows: String,
    after_rows: String,
    /// The number of cells of a row.
    width: usize,
}

impl TableStatement {
    /// Inserts rows, and merges them into those with the same key.
    pub fn upsert<R>(table: &str, columns: &[&[Column<R>]]) -> Self {
        let columns = named(columns);
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        let keys = columns.iter().filter(|(_, merge)| *merge == Merge::Key);
        let keys: Vec<_> = keys.map(|(name, _)| *name).collect();
        let set = assignments(&columns, |name, _| format!("excluded.{name}"));
        Self {
            before_rows: format!(
                "INSERT INTO {table} ({}) SELECT * FROM (VALUES ",
                names.join(", ")
            ),
            after_rows: format!(
                ") WHERE column1 IS NOT NULL ON CONFLICT ({}) DO UPDATE SET {set};",
                keys.join(", ")
            ),
            width: columns.len(),
        }
    }

    /// Merges rows into those with the same key, the first column, and ignores other rows.
    pub fn update<R>(table: &str, columns: &[&[Column<R>]]) -> Self {
        let columns = named(columns);
        let set = assignments(&columns, |_, number| format!("v.column{number}"));
        let key = columns[0].0;
        Self {
            before_rows: format!("UPDATE {table} SET {set} FROM (VALUES "),
            after_rows: format!(") AS v WHERE {table}.{key} = v.column1;"),
            width: columns.len(),
        }
    }
}

fn named<R>(columns: &[&[Column<R>]]) -> Vec<(&'static str, Merge)> {
    let columns = columns.iter().copied().flatten();
    columns.map(|(name, merge, _)| (*name, *merge)).collect()
}

fn assignments(
    columns: &[(&'static str, Merge)],
    new_value: impl Fn(&str, usize) -> String,
) -> String {
    let set = (1..).zip(columns).filter_map(|(number, (name, merge))| {
        let new = new_value(name, number);
        match merge {
            Merge::Key | Merge::Keep => None,
            Merge::Replace => Some(format!("{name} = {new}")),
            Merge::Add => Some(format!("{name} = {name} + {new}")),
            Merge::Append => Some(format!("{name} = {name} || {new}")),
            Merge::Maximum => Some(format!("{name} = max(ifnull({name}, 0), {new})")),
            Merge::ReplaceIfKnown => Some(format!("{name} = ifnull({new}, {name})")),
        }
    });
    set.collect::<Vec<_>>().join(", ")
}

/// The rows of each table, in the order of the statements. In a box, because it is part of the future that writes it.
#[derive(Debug)]
pub struct WriteBatch<const TABLES: usize>(Box<[Vec<Cell>; TABLES]>);

impl<const TABLES: usize> Default for WriteBatch<TABLES> {
    fn default() -> Self {
        Self(Box::new([const { Vec::new() }; TABLES]))
    }
}

/// The statements by table (`None`: of all tables) and number of rows, built once for each power of two so that SQLite parses each
/// once.
#[derive(Debug)]
pub struct StatementCache<const TABLES: usize> {
    tables: Box<[TableStatement; TABLES]>,
    by_rows: HashMap<(Option<usize>, usize), String>,
}

impl<const TABLES: usize> WriteBatch<TABLES> {
    /// Adds a row of the table with this index.
    pub fn add<R>(&mut self, table: usize, columns: &[&[Column<R>]], row: &R) {
        let columns = columns.iter().copied().flatten();
        self.0[table].extend(columns.map(|(_, _, value)| value(row)));
    }

    /// Writes all rows within the caller's transaction.
    pub async fn write(
        self,
        tx: &mut Transaction<'_, Sqlite>,
        statements: &mut StatementCache<TABLES>,
    ) -> Result<()> {
        let widths = statements.tables.each_ref().map(|table| table.width);
        let most = self
            .0
            .iter()
            .zip(widths)
            .map(|(cells, width)| cells.len() / width)
            .max();
        let most = most.unwrap_or(0);
        if most == 0 {
            return Ok(());
        }
        if most <= FEW_ROWS {
            let rows = most.next_power_of_two();
            let mut arguments = SqliteArguments::default();
            for (cells, width) in (*self.0).into_iter().zip(widths) {
                add_padded(&mut arguments, &mut cells.into_iter(), rows * width)?;
            }
            return execute(tx, statements.text(None, rows), arguments).await;
        }
        for (table, (cells, width)) in (*self.0).into_iter().zip(widths).enumerate() {
            let mut cells = cells.into_iter();
            while cells.len() > 0 {
                let rows = (cells.len() / width).min(MAX_ROWS).next_power_of_two();
                let mut arguments = SqliteArguments::default();
                add_padded(&mut arguments, &mut cells, rows * width)?;
                execute(tx, statements.text(Some(table), rows), arguments).await?;
            }
        }
        Ok(())
    }
}

/// Adds `count` cells, the missing ones as nulls.
fn add_padded(
    arguments: &mut SqliteArguments<'_>,
    cells: &mut impl Iterator<Item = Cell>,
    count: usize,
) -> Result<()> {
    for _ in 0..count {
        let added = match cells.next().unwrap_or(Cell::Null) {
            Cell::Null => arguments.add(None::<i64>),
            Cell::Integer(number) => arguments.add(number),
            Cell::Text(text) => arguments.add(String::from(text)),
            Cell::Name(name) => arguments.add(name),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}

async fn execute(
    tx: &mut Transaction<'_, Sqlite>,
    text: &str,
    arguments: SqliteArguments<'_>,
) -> Result<()> {
    let statement = sqlx::query_with(text, arguments);
    statement.execute(&mut **tx).await?;
    Ok(())
}

impl<const TABLES: usize> StatementCache<TABLES> {
    pub fn new(tables: [TableStatement; TABLES]) -> Self {
        Self {
            tables: Box::new(tables),
            by_rows: HashMap::new(),
        }
    }

    fn text(&mut self, table: Option<usize>, rows: usize) -> &str {
        self.by_rows.entry((table, rows)).or_insert_with(|| {
            let tables = table.map_or(&self.tables[..], |table| {
                std::slice::from_ref(&self.tables[table])
            });
            let texts = tables.iter().map(|table| {
                let row = format!("({})", vec!["?"; table.width].join(","));
                let rows = vec![row; rows].join(",");
                format!("{}{rows}{}", table.before_rows, table.after_rows)
            });
            texts.collect()
        })
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u16> for Cell {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
