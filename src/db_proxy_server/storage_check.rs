//! Whether databases and caches are there, asked in the background while an administration port
//! wants to know.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use log::{info, warn};

use super::business::Business;
use super::{Cx, DbProxyServer};
use crate::base::thread_pool::ThreadPool;
use crate::netlib::{EventDispatch, ResponseList};

/// How often they are asked.
pub const CHECK_MS: u64 = 2_000;

/// An answer that takes longer is none. A pool that has nothing to lend says so after 2 s.
pub const CHECK_PATIENCE_MS: u64 = 10_000;

/// Asks with a worker of its own, so that busy ones cannot pass for a dead database.
#[derive(Debug)]
pub(super) struct StorageCheck {
    worker: ThreadPool,
    answers: ResponseList<Vec<String>>,
    /// When the question was asked that has no answer yet.
    asked_tick: Option<u64>,
    /// What did not answer.
    unreachable: Vec<String>,
}

impl StorageCheck {
    fn new(answers: ResponseList<Vec<String>>) -> io::Result<Self> {
        Ok(Self {
            worker: ThreadPool::new("storage check", NonZeroUsize::MIN, NonZeroUsize::MIN)?,
            answers,
            asked_tick: None,
            unreachable: vec!["the storage was not asked yet".to_owned()],
        })
    }

    /// What is missing.
    pub(super) fn reasons(&self) -> impl Iterator<Item = String> {
        self.unreachable.iter().cloned()
    }

    fn ask(&mut self, business: &Arc<Business>, tick: u64) {
        if let Some(asked) = self.asked_tick {
            if tick >= asked + CHECK_PATIENCE_MS {
                self.set(vec![format!("the storage does not answer for {CHECK_PATIENCE_MS} ms")]);
            }
            return;
        }
        let (business, answers) = (Arc::clone(business), self.answers.clone());
        let question = move || {
            let mut unreachable = business.db.unreachable();
            unreachable.extend(business.cache.unreachable());
            answers.push(unreachable);
        };
        if self.worker.try_add_task(None, Box::new(question)).is_ok() {
            self.asked_tick = Some(tick);
        }
    }

    fn take_answers(&mut self) {
        for unreachable in self.answers.take() {
            self.asked_tick = None;
            self.set(unreachable);
        }
    }

    fn set(&mut self, unreachable: Vec<String>) {
        if unreachable.is_empty() && !self.unreachable.is_empty() {
            info!("databases and caches answer");
        }
        for reason in unreachable.iter().filter(|reason| !self.unreachable.contains(reason)) {
            warn!("not ready: {reason}");
        }
        self.unreachable = unreachable;
    }
}

/// Asks now and from time to time.
pub(super) fn init_storage_check(
    srv: &mut DbProxyServer,
    dispatch: &mut EventDispatch<DbProxyServer>,
) -> io::Result<()> {
    let mut check = StorageCheck::new(dispatch.response_list())?;
    check.ask(&srv.business, dispatch.net().tick());
    srv.storage_check = Some(check);
    dispatch.net().register_timer(ask_storage, CHECK_MS);
    dispatch.net().add_loop(take_answers);
    Ok(())
}

fn ask_storage(cx: &mut Cx<'_>) {
    let tick = cx.net.tick();
    if let Some(check) = &mut cx.srv.storage_check {
        check.ask(&cx.srv.business, tick);
    }
}

fn take_answers(cx: &mut Cx<'_>) {
    if let Some(check) = &mut cx.srv.storage_check {
        check.take_answers();
    }
}
