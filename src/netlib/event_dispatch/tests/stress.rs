//! Thousands of random lives of connections, and nothing left of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Replays a run: the seed that a failure printed.
const SEED_VAR: &str = "TEAMTALK_TEST_SEED";
const THREADS: u64 = 4;
const LIVES_PER_THREAD: u64 = 1_500;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn seed() -> u64 {
    let given = std::env::var(SEED_VAR).ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) ^ 0x7ea3_7a1c)
}

#[test]
fn random_lives_leave_no_slot_handle_socket_or_byte() {
    let seed = seed();
    println!("replay with {SEED_VAR}={seed}");
    let mut bed = bed();
    // Closed connections must not wait for clients that never look at theirs.
    bed.dispatch.lingering = Deadlines::new(200);
    let running = Arc::new(AtomicUsize::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|id| {
            let (addr, running) = (bed.addr, Arc::clone(&running));
            let wake = bed.dispatch.response_list::<()>();
            let mut random = Random(seed.wrapping_mul(31).wrapping_add(id));
            thread::spawn(move || {
                for _ in 0..LIVES_PER_THREAD {
                    live(addr, &mut random);
                }
                running.fetch_sub(1, Ordering::SeqCst);
                wake.push(());
            })
        })
        .collect();
    while running.load(Ordering::SeqCst) > 0 {
        bed.turn();
        check_agreement(&mut bed);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // What is left are paused connections, those of the server to itself, and clients that left
    // before they were accepted.
    bed.turn_until(|bed| {
        close_all(bed);
        bed.net().stats().accepted >= THREADS * LIVES_PER_THREAD && bed.net().conn_count() == 0
    });
    bed.assert_empty();
    for buf in std::iter::repeat_with(|| bed.dispatch.net.pool.take()).take(100) {
        assert!(buf.is_empty(), "a pooled buffer holds bytes");
    }
}

fn close_all(bed: &mut Bed) {
    for conn in bed.srv.conns.handles().collect::<Vec<_>>() {
        TestConn::close(&mut Cx { srv: &mut bed.srv, net: &mut bed.dispatch.net }, conn);
    }
}

/// The service's half and netlib's half know the same open connections.
fn check_agreement(bed: &mut Bed) {
    for conn in bed.srv.conns.handles() {
        assert!(bed.dispatch.net.is_open(conn), "conn={conn} is dead but not removed");
    }
    let open = bed.dispatch.net.conns.handles().filter(|conn| bed.dispatch.net.is_open(*conn));
    assert_eq!(open.count(), bed.srv.conns.len());
    bed.srv.seen.clear();
}

/// One client: connects, does some random things, and leaves in a random way.
fn live(addr: SocketAddr, random: &mut Random) {
    let mut stream = TcpStream::connect(addr).unwrap();
    // A client that looks whether there is something, and goes on when there is not.
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    for _ in 0..random.below(6) {
        let pdu = match random.below(12) {
            0 => command(CLOSE_ME),
            1 => request(
                CLOSE_OTHER,
                (1 << 20) * (1 + random.below(8) as u32) + random.below(8) as u32,
            ),
            2 => command(BROADCAST),
            3 => command(PAUSE_ME),
            4 | 5 => command(RESUME_ALL),
            6 => command(WORK),
            7 => request(SEND_BIG, random.below(600_000) as u32),
            8 => request(CONNECT_BACK, u32::from(addr.port())),
            9 => command(REFUSED),
            10 => request(SEND_BIG_AND_CLOSE, random.below(300_000) as u32),
            _ => command(ECHO),
        };
        let bytes = pdu.as_pdu().as_bytes();
        let bytes = bytes.repeat(1 + random.below(3) as usize);
        let cut = random.below(bytes.len() as u64 + 1) as usize;
        // The server may have closed meanwhile: that is part of the life.
        if stream.write_all(&bytes[..cut]).and_then(|()| stream.write_all(&bytes[cut..])).is_err() {
            break;
        }
        if random.below(3) == 0 {
            let _ = stream.read(&mut vec![0; 70_000]);
        }
    }
    match random.below(4) {
        0 => {
            // A partial PDU, then the end.
            let _ = stream.write_all(&[0, 0, 0, 99]);
        }
        1 => {
            let _ = stream.shutdown(Shutdown::Write);
        }
        2 => {
            let linger = Some(Duration::ZERO);
            socket2::SockRef::from(&stream).set_linger(linger).unwrap();
        }
        _ => {}
    }
}
