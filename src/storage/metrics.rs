//! What pools and their connections do, as figures.

use super::cache_pool::CacheManager;
use super::db_pool::DbManager;
use super::pool::PoolFigures;
use super::timed::{Op, Times};
use crate::base::metrics_text::{Family, MetricsText};

/// What is told of one pool.
struct Row<'a> {
    kind: &'static str,
    name: &'a str,
    pool: PoolFigures,
    times: &'a Times,
}

/// Writes the figures of all pools.
pub fn write_metrics(db: &DbManager, cache: &CacheManager, text: &mut MetricsText) {
    let row = |kind, (name, pool, times)| Row { kind, name, pool, times };
    let db = db.figures().map(|figures| row("db", figures));
    let rows: Vec<_> = db.chain(cache.figures().map(|figures| row("cache", figures))).collect();
    write_pools(&rows, text);
    let help = "Time of statements and cache commands.";
    let mut family = text.histogram("teamtalk_storage_seconds", help);
    for Row { kind, name, times, .. } in &rows {
        for op in Op::ALL {
            let seen = times.snapshot(op);
            if seen.count() > 0 {
                family.times(&[("kind", *kind), ("pool", *name), ("op", op.label())], &seen);
            }
        }
    }
    let help = "Statements and cache commands that failed.";
    let mut family = text.counter("teamtalk_storage_errors_total", help);
    for Row { kind, name, times, .. } in &rows {
        for op in Op::ALL.into_iter().filter(|op| times.snapshot(*op).count() > 0) {
            let labels = [("kind", *kind), ("pool", *name), ("op", op.label())];
            family.sample(&labels, times.errors(op));
        }
    }
}

fn write_pools(rows: &[Row<'_>], text: &mut MetricsText) {
    let write = |mut family: Family<'_>, part: fn(&PoolFigures) -> u64| {
        for row in rows {
            family.sample(&[("kind", row.kind), ("pool", row.name)], part(&row.pool));
        }
    };
    let help = "Connections of a pool that are lent.";
    write(text.gauge("teamtalk_pool_in_use", help), |pool| pool.in_use);
    let help = "Connections of a pool that wait for their next use.";
    write(text.gauge("teamtalk_pool_idle", help), |pool| pool.idle);
    let help = "Most connections of a pool.";
    write(text.gauge("teamtalk_pool_conns_max", help), |pool| pool.conns_max);
    let help = "Times that somebody had to wait for a connection of a pool.";
    write(text.counter("teamtalk_pool_waits_total", help), |pool| pool.waits);
    let help = "Times that somebody waited for a connection in vain.";
    write(text.counter("teamtalk_pool_wait_timeouts_total", help), |pool| pool.timeouts);
    let help = "Connections that were opened.";
    write(text.counter("teamtalk_pool_connects_total", help), |pool| pool.connects);
    let help = "Connections that could not be opened.";
    write(text.counter("teamtalk_pool_connect_errors_total", help), |pool| pool.connect_errors);
}
