//! Pairs of users who have written to each other: rows of IMRelationShip.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use super::HandlerError;
use crate::storage::sql::any_of;
use crate::storage::{DbConn, InsertRows, Merge, OnConflict, Row, Value};

/// Pairs whose number is remembered. The number of a pair never changes, so what is remembered
/// never is wrong; beyond this many all are forgotten and asked for again.
pub const REMEMBERED_MAX: usize = 500_000;

/// Two users, the smaller id first.
pub type Pair = (u32, u32);

/// The numbers of pairs this process has met.
#[derive(Debug, Default)]
pub struct Relations {
    known: Mutex<HashMap<Pair, u32>>,
}

/// The pair of two users, whoever writes.
pub fn pair(a: u32, b: u32) -> Pair {
    (a.min(b), a.max(b))
}

impl Relations {
    /// The numbers of these pairs. A new pair gets one, and one that was removed comes back.
    ///
    /// C++: db_proxy_server/business/RelationModel.cpp CRelationModel::getRelationId
    /// Differs: one statement for all that are missing, and a pair has one row (F94, F101, S10).
    pub fn ids(
        &self,
        conn: &mut dyn DbConn,
        pairs: &[Pair],
        now: u32,
    ) -> Result<HashMap<Pair, u32>, HandlerError> {
        let (mut ids, missing) = self.remembered(pairs);
        if missing.is_empty() {
            return Ok(ids);
        }
        let values: Vec<Value> = missing
            .iter()
            .flat_map(|&(small, big)| [small, big, 0, now, now].map(Value::from))
            .collect();
        let rows = InsertRows {
            table: "IMRelationShip",
            columns: &["smallId", "bigId", "status", "created", "updated"],
            conflict: OnConflict::Update {
                key: &["smallId", "bigId"],
                set: &[("status", Merge::New), ("updated", Merge::New)],
            },
        };
        rows.execute(conn, &values)?;
        ids.extend(self.find(conn, &missing)?);
        Ok(ids)
    }

    /// The numbers of those pairs that have one.
    pub fn known_ids(
        &self,
        conn: &mut dyn DbConn,
        pairs: &[Pair],
    ) -> Result<HashMap<Pair, u32>, HandlerError> {
        let (mut ids, missing) = self.remembered(pairs);
        if !missing.is_empty() {
            ids.extend(self.find(conn, &missing)?);
        }
        Ok(ids)
    }

    /// What is remembered, and each pair once that is not.
    fn remembered(&self, pairs: &[Pair]) -> (HashMap<Pair, u32>, Vec<Pair>) {
        let known = self.known.lock();
        let (mut ids, mut missing) = (HashMap::new(), BTreeSet::new());
        for pair in pairs {
            match known.get(pair) {
                Some(&id) => {
                    ids.insert(*pair, id);
                }
                None => {
                    missing.insert(*pair);
                }
            }
        }
        (ids, missing.into_iter().collect())
    }

    fn find(
        &self,
        conn: &mut dyn DbConn,
        pairs: &[Pair],
    ) -> Result<HashMap<Pair, u32>, HandlerError> {
        let found = find(conn, pairs)?;
        let mut known = self.known.lock();
        if known.len() + found.len() > REMEMBERED_MAX {
            known.clear();
        }
        known.extend(found.iter().map(|(&pair, &id)| (pair, id)));
        Ok(found)
    }
}

fn find(conn: &mut dyn DbConn, pairs: &[Pair]) -> Result<HashMap<Pair, u32>, HandlerError> {
    let condition = any_of("(smallId=? and bigId=?)", pairs.len());
    let sql = format!("select id, smallId, bigId from IMRelationShip where {condition}");
    let values: Vec<Value> =
        pairs.iter().flat_map(|&(small, big)| [small, big].map(Value::from)).collect();
    let rows = conn.execute_query(&sql, &values)?;
    let relation = |row: Row<'_>| -> Result<(Pair, u32), HandlerError> {
        Ok(((row.get("smallId")?, row.get("bigId")?), row.get("id")?))
    };
    rows.rows().map(relation).collect()
}
