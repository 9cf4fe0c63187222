//! `teamtalk db`.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{NOT_ENDED, Store, db_import, show_warnings};
use crate::storage::db_pool::TEAMTALK_MASTER;
use crate::storage::schema::{self, SchemaState};
use crate::storage::{DbConn, DbError, DbManager};
use crate::tool::output::Output;

/// Makes the database, brings it up to date, fills it from another one
///
/// db_proxy_server makes and migrates its tables by itself when it starts; init and migrate are
/// for those who want to see that happen, and to do it with a user who may.
#[derive(Args, Debug)]
pub struct DbCommand {
    #[command(flatten)]
    store: Store,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the database and its tables
    ///
    /// A database that the MySQL server does not have is made as well, if the user may. What is
    /// there already stays as it is.
    Init,
    /// Bring the tables of an older version up to date
    ///
    /// Tables of an original (C++) server count as such: rows that its missing unique keys let in
    /// twice are joined, no message is lost, and an original server can go on working with it.
    /// Back up first: there is no way back.
    Migrate,
    /// Fill the database from the one of another installation
    ///
    /// Copies users, departments, groups, messages, sessions and files that wait from a database
    /// that an original (C++) server filled, or this one, on whatever driver, into the database
    /// of --conf. The source is only read, in one snapshot. Rows that exist twice are joined. With
    /// the cache of the source, unread counters, shields and push tokens come along; without it
    /// everything counts as read where the new cache is embedded.
    ///
    /// Stop the servers on both sides first. Each table is one transaction; until all of them are
    /// done servers refuse to start on the new database, and after an interruption the same
    /// command begins again.
    #[command(after_help = "Examples:\n  \
                      teamtalk db import --from mysql://tt:secret@10.0.0.5/teamtalk\n  \
                      teamtalk db import --from /opt/old/dbproxyserver.conf\n\n\
                      A password on the command line can be read by everybody on the machine while \
                      the command runs; one in a file cannot.")]
    Import {
        /// mysql://user:password@host:port/database, or the dbproxyserver.conf of the old
        /// installation, which names its cache as well
        #[arg(long, value_name = "URL|FILE")]
        from: String,
        /// Its Redis, if all of its pools are in one database: redis://:password@host:port/number
        #[arg(long, value_name = "URL")]
        from_redis: Option<String>,
        /// Throw away what is in the database of --conf
        #[arg(long)]
        force: bool,
    },
}

/// What MySQL says when there is no such database.
const UNKNOWN_DATABASE: &str = "1049";

impl DbCommand {
    /// Does it and prints what came of it.
    ///
    /// # Errors
    /// A database is away, or not what it has to be.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        show_warnings();
        match &self.what {
            What::Init => self.init(output),
            What::Migrate => self.migrate(output),
            What::Import { from, from_redis, force } => {
                db_import::run(&self.store, output, from, from_redis.as_deref(), *force)
            }
        }
    }

    fn init(&self, output: &Output) -> anyhow::Result<()> {
        let db = self.store.config()?.db;
        let target = db.target(TEAMTALK_MASTER)?;
        let mut conn = open(&db)?;
        match schema::state(&mut *conn)? {
            SchemaState::Empty => {}
            SchemaState::Current => {
                let value = json!({ "target": target, "steps": 0 });
                return output
                    .one(&value, &format!("{target}: nothing to do, all tables are there"));
            }
            SchemaState::Old => bail!(
                "{target} has tables of an older version; back it up, then `{}`",
                self.store.db_command("migrate")
            ),
            SchemaState::Loading => bail!("{target}: {NOT_ENDED}"),
            SchemaState::New => bail!("{target} has tables of a newer version"),
        }
        let steps = schema::migrate(&mut *conn)?;
        let value = json!({ "target": target, "steps": steps });
        output.one(&value, &format!("{target}: tables made"))
    }

    fn migrate(&self, output: &Output) -> anyhow::Result<()> {
        let db = self.store.config()?.db;
        let target = db.target(TEAMTALK_MASTER)?;
        if db.is_missing(TEAMTALK_MASTER)? {
            bail!("{target} does not exist; `{}` makes it", self.store.db_command("init"));
        }
        let mut conn = db.open_patient(TEAMTALK_MASTER)?;
        match schema::state(&mut *conn)? {
            SchemaState::Old | SchemaState::Current => {}
            SchemaState::Empty => {
                bail!("{target} has no tables; `{}` makes them", self.store.db_command("init"))
            }
            SchemaState::Loading => bail!("{target}: {NOT_ENDED}"),
            SchemaState::New => bail!("{target} has tables of a newer version"),
        }
        let steps = schema::migrate(&mut *conn)?;
        let value = json!({ "target": target, "steps": steps });
        let text = match steps {
            0 => format!("{target}: nothing to do, it is up to date"),
            steps => format!("{target}: brought up to date in {steps} steps"),
        };
        output.one(&value, &text)
    }
}

/// A connection to the database, which is made if its server has none of this name.
pub(super) fn open(db: &DbManager) -> anyhow::Result<Box<dyn DbConn>> {
    match db.open_patient(TEAMTALK_MASTER) {
        Err(DbError::Connect { reason, .. }) if reason.contains(UNKNOWN_DATABASE) => {
            db.create_database(TEAMTALK_MASTER)
                .context("there is no such database, and it cannot be made")?;
            Ok(db.open_patient(TEAMTALK_MASTER)?)
        }
        result => result.context("no storage (`teamtalk doctor` tells what is wrong)"),
    }
}
