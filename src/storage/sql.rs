//! One SQL for two databases: the places in which they differ, and inserting many rows at once.

use std::fmt::Write;

use super::db_conn::DbConn;
use super::error::DbError;
use super::value::Value;

/// Most rows in one statement. Each number of rows is a statement of its own, which the connection
/// has to prepare and keep, so there should not be too many.
const ROWS_PER_STATEMENT_MAX: usize = 256;

/// Most values in one statement: the limit of SQLite; that of MySQL is twice as high.
const VALUES_PER_STATEMENT_MAX: usize = 32_766;

/// Most bytes of text in one statement, well below what servers accept as one packet.
const TEXT_PER_STATEMENT_MAX: usize = 1024 * 1024;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// What makes a query on `table` use an index; goes behind the name of the table. In SQLite
    /// the names of indexes are global, so they begin with that of the table.
    pub fn index_hint(self, table: &str, index: &str) -> String {
        match self {
            Self::MySql => format!(" force index ({index})"),
            Self::Sqlite => format!(" indexed by {table}_{index}"),
        }
    }

    /// What makes a query keep its rows from others until the end of the transaction; goes to the
    /// end of the query. In SQLite a transaction excludes other writers as a whole.
    pub fn for_update(self) -> &'static str {
        match self {
            Self::MySql => " for update",
            Self::Sqlite => "",
        }
    }

    fn on_conflict(self, key: &[&str], set: &[(&str, Merge)]) -> String {
        let mut sql = match self {
            Self::MySql => " on duplicate key update ".to_owned(),
            Self::Sqlite => format!(" on conflict ({}) do update set ", quoted(key)),
        };
        for (at, (column, merge)) in set.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let value = merge.sql(self, column);
            let _ = write!(sql, "{comma}`{column}`={value}");
        }
        sql
    }
}

/// `?,?,?` for a list of `count` values, as in `where id in (?,?,?)`.
pub fn placeholders(count: usize) -> String {
    let mut sql = "?,".repeat(count);
    sql.pop();
    sql
}

/// `(a=? and b=?) or (a=? and b=?)` for a list of `count` keys of several columns.
pub fn any_of(condition: &str, count: usize) -> String {
    vec![condition; count].join(" or ")
}

fn quoted(columns: &[&str]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!("`{column}`")).collect();
    columns.join(", ")
}

/// What becomes of a column when the row is there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Merge {
    /// The new value.
    New,
    /// The greater of both.
    Greater,
    /// The sum of both.
    Sum,
    /// The stored value.
    Stored,
}

impl Merge {
    fn sql(self, dialect: Dialect, column: &str) -> String {
        let (new, max) = match dialect {
            Dialect::MySql => (format!("values(`{column}`)"), "greatest"),
            Dialect::Sqlite => (format!("excluded.`{column}`"), "max"),
        };
        match self {
            Self::New => new,
            Self::Greater => format!("{max}(`{column}`, {new})"),
            Self::Sum => format!("`{column}` + {new}"),
            Self::Stored => format!("`{column}`"),
        }
    }
}

/// What to do with a row whose key exists.
#[derive(Clone, Copy, Debug)]
pub enum OnConflict<'a> {
    /// Nothing of the statement is stored: [`DbError::Duplicate`].
    Fail,
    /// The existing row is changed.
    Update {
        /// The columns of the unique key. The table has no other one that these rows could meet.
        key: &'a [&'a str],
        /// What becomes of which column.
        set: &'a [(&'a str, Merge)],
    },
}

/// Rows to be stored with as few statements as possible.
#[derive(Clone, Copy, Debug)]
pub struct InsertRows<'a> {
    /// The table.
    pub table: &'a str,
    /// The columns that get values; the others get their defaults.
    pub columns: &'a [&'a str],
    /// What to do with a row whose key exists.
    pub conflict: OnConflict<'a>,
}

impl InsertRows<'_> {
    /// Stores the rows, whose values stand one behind the other. Several statements are needed
    /// only for more rows or longer text than one can take: begin a transaction if all or none
    /// shall be stored. Of two rows with the same key the later one wins.
    pub fn execute(&self, conn: &mut dyn DbConn, values: &[Value]) -> Result<u64, DbError> {
        let width = self.columns.len();
        if width == 0 || !values.len().is_multiple_of(width) {
            let text = format!("{} values for {width} columns of {}", values.len(), self.table);
            return Err(DbError::Misuse(text));
        }
        let mut rest = values;
        let mut affected = 0;
        while !rest.is_empty() {
            let rows = rows_of_one_statement(rest, width);
            let (these, others) = rest.split_at(rows * width);
            affected += conn.execute_update(&self.sql(conn.dialect(), rows), these)?;
            rest = others;
        }
        Ok(affected)
    }

    fn sql(&self, dialect: Dialect, rows: usize) -> String {
        let row = format!("({}),", placeholders(self.columns.len()));
        let mut sql = format!("insert into {} ({}) values ", self.table, quoted(self.columns));
        sql.push_str(&row.repeat(rows));
        sql.pop();
        if let OnConflict::Update { key, set } = self.conflict {
            sql.push_str(&dialect.on_conflict(key, set));
        }
        sql
    }
}

fn rows_of_one_statement(values: &[Value], width: usize) -> usize {
    let rows_max = ROWS_PER_STATEMENT_MAX.min(VALUES_PER_STATEMENT_MAX / width).max(1);
    let mut text = 0;
    for (at, row) in values.chunks(width).take(rows_max).enumerate() {
        text += row.iter().map(text_len).sum::<usize>();
        if text > TEXT_PER_STATEMENT_MAX && at > 0 {
            return at;
        }
    }
    rows_max.min(values.len() / width)
}

fn text_len(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Int(_) | Value::Null => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSIONS: InsertRows<'_> = InsertRows {
        table: "IMRecentSession",
        columns: &["userId", "updated"],
        conflict: OnConflict::Update {
            key: &["userId"],
            set: &[("status", Merge::New), ("updated", Merge::Greater), ("n", Merge::Sum)],
        },
    };

    #[test]
    fn each_dialect_has_its_upsert() {
        assert_eq!(
            SESSIONS.sql(Dialect::MySql, 2),
            "insert into IMRecentSession (`userId`, `updated`) values (?,?),(?,?) on duplicate \
             key update `status`=values(`status`), `updated`=greatest(`updated`, \
             values(`updated`)), `n`=`n` + values(`n`)"
        );
        assert_eq!(
            SESSIONS.sql(Dialect::Sqlite, 1),
            "insert into IMRecentSession (`userId`, `updated`) values (?,?) on conflict \
             (`userId`) do update set `status`=excluded.`status`, `updated`=max(`updated`, \
             excluded.`updated`), `n`=`n` + excluded.`n`"
        );
    }

    #[test]
    fn a_statement_takes_as_many_rows_as_fit() {
        let numbers = vec![Value::Int(1); 600];
        assert_eq!(rows_of_one_statement(&numbers, 2), ROWS_PER_STATEMENT_MAX);
        assert_eq!(rows_of_one_statement(&numbers[..6], 2), 3);
        assert_eq!(rows_of_one_statement(&vec![Value::Int(1); 50_000], 20_000), 1);
        let long = Value::Text("x".repeat(TEXT_PER_STATEMENT_MAX / 3 + 1));
        assert_eq!(rows_of_one_statement(&vec![long; 10], 1), 2);
        let longest = Value::Text("x".repeat(TEXT_PER_STATEMENT_MAX + 1));
        assert_eq!(rows_of_one_statement(&[longest.clone(), longest], 1), 1);
    }

    #[test]
    fn hints_and_locks_are_said_in_the_dialect() {
        assert_eq!(Dialect::MySql.index_hint("T", "i"), " force index (i)");
        assert_eq!(Dialect::Sqlite.index_hint("T", "i"), " indexed by T_i");
        assert_eq!(Dialect::Sqlite.for_update(), "");
        assert_eq!(placeholders(3), "?,?,?");
        assert_eq!(placeholders(0), "");
        assert_eq!(any_of("(a=? and b=?)", 2), "(a=? and b=?) or (a=? and b=?)");
    }
}
