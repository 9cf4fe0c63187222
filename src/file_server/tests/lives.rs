//! Random lives of many transfers: whatever clients do, the books agree, and nobody gets the bytes
//! of another file.

use std::env;

use super::*;
use crate::netlib::ConnHandler;

const TASKS: usize = 6;
const SEGMENT: u32 = transfer_task::SEGMENT_SIZE;

/// What a test knows of a transfer.
struct Life {
    task_id: String,
    content: Vec<u8>,
    clients: Vec<(NetHandle, ClientFileRole)>,
    /// Where the next block begins that the server, or the receiver, has asked the sender for.
    asked: Option<(u32, u32)>,
    /// Of the receiver's download.
    received: Vec<u8>,
}

/// A sequence that looks random and is the same for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn all_books_agree_whatever_clients_do() {
    let seed = env::var("TEAMTALK_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut fetched = 0;
    for seed in seed.map_or(0..40, |seed| seed..seed + 1) {
        println!("TEAMTALK_SEED={seed}");
        fetched += random_lives(seed);
    }
    assert!(fetched > 0, "no file ever came to its receiver");
}

fn random_lives(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let mut bed = Bed::new();
    let mut lives: Vec<Life> = (0..TASKS).map(|at| new_life(&mut bed, &mut dice, at)).collect();
    let mut fetched = 0;
    for _ in 0..600 {
        let at = dice.below(TASKS);
        fetched += step(&mut bed, &mut dice, &mut lives[at]);
        if dice.below(200) == 0 {
            leave(&mut bed, &lives[at]);
            lives[at] = new_life(&mut bed, &mut dice, at);
        }
        assert_agreement(&bed);
    }
    lives.iter().for_each(|life| leave(&mut bed, life));
    bed.settle();
    bed.skip_s(60);
    bed.settle();
    let (tasks, stored, bytes, conns) = bed.totals();
    assert_eq!((tasks, conns), (0, 0));
    let files = bed.files();
    assert_eq!(files.len(), stored);
    let len = |path: &PathBuf| fs::metadata(path).unwrap().len().next_multiple_of(4096);
    assert_eq!(bytes, files.iter().map(len).sum::<u64>());
    let mut bed = bed.restart();
    assert_eq!(bed.totals(), (0, stored, bytes, 0));
    for life in &lives {
        if files.iter().any(|path| path.ends_with(&life.task_id)) {
            assert!(bed.fetch(&life.task_id) == life.content);
        }
    }
    fetched
}

fn new_life(bed: &mut Bed, dice: &mut Dice, at: usize) -> Life {
    let len = [1, SEGMENT as usize, 70_000][dice.below(3)];
    let content: Vec<u8> = content(len).iter().map(|byte| byte ^ at as u8).collect();
    let mode = if dice.below(3) == 0 { ONLINE } else { OFFLINE };
    let task_id = bed.announce(mode, len as u32);
    Life { task_id, content, clients: Vec::new(), asked: None, received: Vec::new() }
}

fn leave(bed: &mut Bed, life: &Life) {
    for &(conn, _) in &life.clients {
        if bed.net.is_open(conn) {
            bed.lose(conn);
        }
    }
}

/// One thing happens to a transfer. How many files have come to their receiver by it.
fn step(bed: &mut Bed, dice: &mut Dice, life: &mut Life) -> usize {
    life.clients.retain(|(conn, _)| bed.net.is_open(*conn));
    let Life { task_id, clients, .. } = life;
    match dice.below(24) {
        0..6 => {
            let role = [SENDER, RECVER, UPLOAD, DOWNLOAD][dice.below(4)];
            let user_id = if transfer_task::is_sender(role) { 1 } else { 2 };
            let conn = bed.client();
            let msg = ImFileLoginReq { user_id, task_id: task_id.clone(), file_role: role.into() };
            bed.client_sends(conn, CID_FILE_LOGIN_REQ, 3, &msg);
            if bed.net.is_open(conn) {
                clients.push((conn, role));
                if matches!(role, RECVER | DOWNLOAD) {
                    life.received.clear();
                }
            }
        }
        6..10 => bed.settle(),
        10 => bed.pass_ms(1000),
        11 if !clients.is_empty() => {
            let (conn, _) = clients[dice.below(clients.len())];
            bed.lose(conn);
        }
        12 if !clients.is_empty() && dice.below(4) == 0 => {
            let (conn, role) = clients[dice.below(clients.len())];
            let user_id = if transfer_task::is_sender(role) { 1 } else { 2 };
            let state = [CANCEL, REFUSE, DONE][dice.below(3)];
            bed.state(conn, task_id, user_id, state);
        }
        13..18 => pull(bed, life),
        _ => answer(bed, dice, life),
    }
    listen(bed, life)
}

/// The receiver asks for what it lacks, if it may.
fn pull(bed: &mut Bed, life: &Life) {
    let receiver = life.clients.iter().find(|(_, role)| !transfer_task::is_sender(*role));
    let Some(&(conn, _)) = receiver.filter(|(conn, _)| bed.net.is_open(*conn)) else { return };
    let offset = life.received.len() as u32;
    let task_id = life.task_id.clone();
    bed.pull(conn, &task_id, 1, (offset, SEGMENT));
}

/// The sender answers what it was asked for, and sometimes anything else.
fn answer(bed: &mut Bed, dice: &mut Dice, life: &mut Life) {
    let sender = life.clients.iter().find(|(_, role)| transfer_task::is_sender(*role));
    let Some(&(conn, _)) = sender.filter(|(conn, _)| bed.net.is_open(*conn)) else { return };
    let (offset, len) = match life.asked.take() {
        Some(asked) if dice.below(30) > 0 => asked,
        _ if dice.below(10) == 0 => (dice.below(3) as u32 * SEGMENT, dice.below(9) as u32),
        asked => return life.asked = asked,
    };
    let from = (offset as usize).min(life.content.len());
    let to = (from + len as usize).min(life.content.len());
    bed.block(conn, &life.task_id, offset, &life.content[from..to]);
}

/// Reads what the clients were sent.
fn listen(bed: &mut Bed, life: &mut Life) -> usize {
    let mut fetched = 0;
    for (conn, role) in life.clients.clone() {
        for got in bed.got(conn) {
            match got {
                Got::Pull(_, offset, len) if transfer_task::is_sender(role) => {
                    life.asked = Some((offset, len));
                }
                Got::Data(0, _, offset, data) if !transfer_task::is_sender(role) => {
                    let offset = offset as usize;
                    assert!(data == life.content[offset..offset + data.len()]);
                    if offset == life.received.len() {
                        life.received.extend(data);
                    }
                    fetched += usize::from(life.received == life.content);
                }
                Got::Login(..) | Got::State(..) | Got::Heartbeat => {}
                got => panic!("{role:?} got {got:?}"),
            }
        }
        if bed.net.is_open(conn) {
            FileClientConn::on_write_complete(&mut bed.cx(), conn);
        }
    }
    fetched
}

/// Every logged-in client has its transfer, and no transfer has a client that is gone.
fn assert_agreement(bed: &Bed) {
    let conns = &bed.srv.file_client_conns;
    assert!(conns.handles().all(|conn| bed.net.is_open(conn)));
    for conn in bed.srv.tasks.conns() {
        assert!(conns.get(conn).is_some(), "a transfer has a client that is gone");
    }
}
