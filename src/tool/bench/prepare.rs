//! The accounts benchmarks log in with.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::progress;
use crate::base::config_file_reader::ConfigFileReader;
use crate::base::md5::md5_hex;
use crate::storage::DbManager;
use crate::storage::db_conn::Transaction;
use crate::storage::db_pool::TEAMTALK_MASTER;
use crate::tool::output::Output;

/// Their names begin with this.
pub(super) const PREFIX: &str = "bench";

/// The password of all of them. It is no secret: these accounts belong on no installation that
/// people use.
pub(super) const PASSWORD: &str = "bench";

const SALT: &str = "77";

/// Accounts made at a time.
const BATCH: u32 = 1_000;

/// Makes accounts in the storage of db_proxy_server.
///
/// Anybody can log in with them: do this on no installation that people use.
#[derive(Args, Debug)]
pub(super) struct Prepare {
    /// Configuration of db_proxy_server, which names the storage
    #[arg(long, value_name = "FILE", default_value = "conf/dbproxyserver.conf")]
    conf: PathBuf,

    /// How many accounts there are to be
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    users: u32,

    /// Their names begin with this, a number follows
    #[arg(long, value_name = "NAME", default_value = PREFIX)]
    prefix: String,
}

impl Prepare {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let mut config = ConfigFileReader::load(&self.conf)?;
        let db = DbManager::from_config(&mut config)?;
        db.migrate()?;
        let mut conn = db.db_conn(TEAMTALK_MASTER)?;
        let password = md5_hex(format!("{}{SALT}", md5_hex(PASSWORD.as_bytes())).as_bytes());
        let (bar, mut made) = (progress(self.users.into(), "accounts"), 0);
        for from in (1..=self.users).step_by(BATCH as usize) {
            let mut conn = Transaction::begin(&mut *conn)?;
            for at in from..=self.users.min(from + BATCH - 1) {
                let name = format!("{}{at}", self.prefix);
                let known = conn
                    .execute_query("select id from IMUser where name=?", &[name.clone().into()])?;
                if known.first().is_none() {
                    let values =
                        [name.clone().into(), name.into(), password.clone().into(), SALT.into()];
                    conn.execute_update(
                        "insert into IMUser (name, nick, password, salt, departId, created, \
                         updated) values (?, ?, ?, ?, 1, 1, 1)",
                        &values,
                    )?;
                    made += 1;
                }
                bar.inc(1);
            }
            conn.commit().context("storing the accounts")?;
        }
        bar.finish_and_clear();
        let (users, prefix) = (self.users, &self.prefix);
        let text = format!("{users} accounts, {prefix}1 to {prefix}{users}, {made} of them new");
        output.one(&json!({ "users": users, "made": made }), &text)
    }
}
