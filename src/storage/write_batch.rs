//! `WriteBatch`: the rows that one transaction of the recorder writes, and the statements that insert them.
//!
//! Not checked macros, whose number of parameters is fixed at build time: one statement per row costs a thread switch
//! each, and with all rows in one JSON parameter its parsing took more than half of SQLite's time.

use std::collections::HashMap;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Sqlite, Transaction};

use crate::storage::error::Result;

/// The statements for one batch, in the order of [`Table`].
const TEMPLATE: &str = include_str!("write_batch.sql");
/// Maximum number of rows of a table per execution; SQLite accepts 32,766 parameters.
const MAX_ROWS: usize = 64;

/// The target of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    RequestLogs,
    Attempts,
    UpstreamKeys,
    ClientKeys,
    ModelHours,
    ModelDays,
    ClientKeyHours,
    UpstreamKeyDays,
    QuotaDays,
}

/// Number of cells in a row of each table.
const ROW_WIDTHS: [usize; 9] = [35, 10, 9, 8, 35, 35, 36, 36, 5];

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Integer(i64),
    Text(Box<str>),
}

/// Rows for all tables.
#[derive(Debug, Default)]
pub struct WriteBatch {
    cells: [Vec<Cell>; 9],
}

/// Statements by number of rows, built once for each power of two so that SQLite parses each once.
#[derive(Debug, Default)]
pub struct StatementCache(HashMap<usize, String>);

impl WriteBatch {
    /// Adds a row, which must have its table's number of cells.
    pub fn add_row(&mut self, table: Table, row: impl IntoIterator<Item = Cell>) {
        let cells = &mut self.cells[table as usize];
        cells.extend(row);
        debug_assert_eq!(cells.len() % ROW_WIDTHS[table as usize], 0, "{table:?}");
    }

    /// Writes all rows within the caller's transaction.
    pub async fn write(
        self,
        tx: &mut Transaction<'_, Sqlite>,
        statements: &mut StatementCache,
    ) -> Result<()> {
        let row_count = |(cells, width): (&Vec<Cell>, &usize)| cells.len() / width;
        let longest = self
            .cells
            .iter()
            .zip(&ROW_WIDTHS)
            .map(row_count)
            .max()
            .unwrap_or(0);
        let mut cells = self.cells.map(Vec::into_iter);
        let mut left = longest;
        while left > 0 {
            let count = left.min(MAX_ROWS).next_power_of_two();
            let mut arguments = SqliteArguments::default();
            for (cells, width) in cells.iter_mut().zip(ROW_WIDTHS) {
                for _ in 0..count * width {
                    let added = match cells.next().unwrap_or(Cell::Null) {
                        Cell::Null => arguments.add(None::<i64>),
                        Cell::Integer(number) => arguments.add(number),
                        Cell::Text(text) => arguments.add(String::from(text)),
                    };
                    added.map_err(sqlx::Error::Encode)?;
                }
            }
            sqlx::query_with(statements.for_rows(count), arguments)
                .execute(&mut **tx)
                .await?;
            left = left.saturating_sub(count);
        }
        Ok(())
    }
}

impl StatementCache {
    fn for_rows(&mut self, count: usize) -> &str {
        self.0.entry(count).or_insert_with(|| {
            let mut sql = TEMPLATE.to_owned();
            for width in ROW_WIDTHS {
                let row = format!("({})", vec!["?"; width].join(","));
                sql = sql.replacen(&format!("@{width}"), &vec![row; count].join(","), 1);
            }
            sql
        })
    }
}

impl From<Option<i64>> for Cell {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Integer)
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

impl From<Option<u64>> for Cell {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::from)
    }
}

impl From<Option<u16>> for Cell {
    fn from(number: Option<u16>) -> Self {
        number.map_or(Self::Null, |number| Self::Integer(number.into()))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}
