//! netlib against a plain epoll loop, in one run on one machine.
//!
//! Both servers echo 16-byte PDUs over loopback to the same clients. The plain one knows no PDUs:
//! it is the physical limit. The last line sums up; its ratios are medians of paired rounds.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod counting_alloc;
mod load;
mod netlib_echo;
mod plain_epoll;

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};

use counting_alloc::CountingAlloc;
use load::{Crowd, Pipeline};

#[global_allocator]
static ALLOC: CountingAlloc = CountingAlloc;

/// Paired rounds per ratio, each side once per round in alternating order.
const ROUNDS: u64 = 41;
/// Connections that arrive at once, from as many threads as may connect side by side.
const BURST_CONNS: usize = 8_000;
const BURST_THREADS: usize = 8;

/// Just past a growth of the tables, when they are at their emptiest and a connection costs most.
const IDLE_CONNS: usize = 4_200;

fn main() -> io::Result<()> {
    plain_epoll::pin_to_core(plain_epoll::CLIENT_CORE);
    let servers =
        [("netlib", netlib_echo::spawn_echo()?), ("plain_epoll", plain_epoll::spawn_echo()?)];
    let mut criterion = Criterion::default().configure_from_args();
    round_trip(&mut criterion, &servers);
    pipelined(&mut criterion, &servers);
    broadcast(&mut criterion);
    criterion.final_summary();
    summary(servers[0].1, servers[1].1)
}

fn round_trip(criterion: &mut Criterion, servers: &[(&str, SocketAddr)]) {
    let mut group = criterion.benchmark_group("round_trip");
    group.measurement_time(Duration::from_secs(2)).throughput(Throughput::Elements(1));
    for &(name, addr) in servers {
        let mut pipeline = Pipeline::connect(addr, 1).expect("connect");
        group.bench_function(name, |b| b.iter_custom(|n| pipeline.run(n).expect("echo")));
    }
}

fn pipelined(criterion: &mut Criterion, servers: &[(&str, SocketAddr)]) {
    for depth in [64, 1024] {
        let mut group = criterion.benchmark_group(format!("pipelined_{depth}"));
        group.measurement_time(Duration::from_secs(2)).sample_size(20);
        group.throughput(Throughput::Elements(depth as u64));
        for conns in [1, 100, 1000] {
            for &(name, addr) in servers {
                let mut crowd = Crowd::connect(addr, conns, depth).expect("connect");
                group.bench_function(BenchmarkId::new(name, conns), |b| {
                    b.iter_custom(|n| crowd.run(n).expect("echo"));
                });
            }
        }
    }
}

fn broadcast(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("broadcast");
    group.measurement_time(Duration::from_secs(2)).sample_size(20);
    group.throughput(Throughput::Elements(1000));
    // A server of its own: a broadcast reaches every connection there is.
    let addr = netlib_echo::spawn_echo().expect("listen");
    let mut crowd = Crowd::connect(addr, 1000, 1).expect("connect");
    group.bench_function("netlib/1000", |b| {
        b.iter_custom(|n| crowd.broadcast(netlib_echo::CID_BROADCAST, n).expect("broadcast"));
    });
}

/// The figures the project is held to, in one line.
fn summary(netlib: SocketAddr, plain: SocketAddr) -> io::Result<()> {
    let (depth1_ratio, depth1) = paired(netlib, plain, 1, 2_000)?;
    let (pipelined_ratio, _) = paired(netlib, plain, 64, 1_000)?;
    let (_, deep) = paired(netlib, plain, 1024, 200)?;
    let allocs_per_pdu = allocations_per_pdu(netlib)?;
    let idle = idle_bytes_per_conn()?;
    let burst = burst()?;
    println!("depth 1: {:.1} us per round trip", 1e6 / depth1);
    println!("allocations per PDU, 64 in flight: {allocs_per_pdu:.4}");
    println!("{BURST_CONNS} connections arriving at once: served after {} ms", burst.as_millis());
    println!(
        "reactor: depth1_ratio={depth1_ratio:.3} pipelined_ratio={pipelined_ratio:.3} \
         pipelined_pdus_per_s={deep:.0} idle_bytes_per_conn={idle}"
    );
    Ok(())
}

/// The median ratio netlib ÷ plain, and netlib's median PDUs per second.
fn paired(
    netlib: SocketAddr,
    plain: SocketAddr,
    depth: usize,
    batches: u64,
) -> io::Result<(f64, f64)> {
    let mut netlib = Pipeline::connect(netlib, depth)?;
    let mut plain = Pipeline::connect(plain, depth)?;
    netlib.run(batches)?;
    plain.run(batches)?;
    let pdus = (batches * depth as u64) as f64;
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (ours, theirs) = if round % 2 == 0 {
            let ours = netlib.run(batches)?;
            (ours, plain.run(batches)?)
        } else {
            let theirs = plain.run(batches)?;
            (netlib.run(batches)?, theirs)
        };
        ratios.push(theirs.as_secs_f64() / ours.as_secs_f64());
        rates.push(pdus / ours.as_secs_f64());
    }
    let (ratio, rate) = (median(&mut ratios), median(&mut rates));
    println!(
        "depth {depth}: ratio median={ratio:.3} min={:.3} max={:.3}, {rate:.0} pdus/s",
        ratios[0],
        ratios[ratios.len() - 1],
    );
    Ok((ratio, rate))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn allocations_per_pdu(netlib: SocketAddr) -> io::Result<f64> {
    let mut pipeline = Pipeline::connect(netlib, 64)?;
    pipeline.run(100)?;
    let before = counting_alloc::allocations();
    pipeline.run(1_000)?;
    Ok((counting_alloc::allocations() - before) as f64 / 64_000.0)
}

/// User memory the server holds per accepted connection that has been idle since it came.
fn idle_bytes_per_conn() -> io::Result<i64> {
    let addr = netlib_echo::spawn_echo()?;
    let mut conns = load::idle(addr, 1)?;
    // Answered once the connections before it are accepted.
    Pipeline::connect(addr, 1)?.run(1)?;
    let before = counting_alloc::live_bytes();
    conns.reserve_exact(IDLE_CONNS);
    let own = (IDLE_CONNS * size_of::<std::net::TcpStream>()) as i64;
    for conn in load::idle(addr, IDLE_CONNS)? {
        conns.push(conn);
    }
    Pipeline::connect(addr, 1)?.run(1)?;
    Ok((counting_alloc::live_bytes() - before - own) / IDLE_CONNS as i64)
}

/// From the first connect until every connection of a burst has had its first answer.
fn burst() -> io::Result<Duration> {
    let addr = netlib_echo::spawn_echo()?;
    let start = Instant::now();
    let arrive = move || -> io::Result<Vec<Pipeline>> {
        let mut conns = Vec::new();
        for _ in 0..BURST_CONNS / BURST_THREADS {
            conns.push(Pipeline::connect(addr, 1)?);
        }
        for conn in &mut conns {
            conn.run(1)?;
        }
        Ok(conns)
    };
    let threads: Vec<_> = (0..BURST_THREADS).map(|_| thread::spawn(arrive)).collect();
    let conns: io::Result<Vec<_>> =
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let elapsed = start.elapsed();
    conns.map(|_| elapsed)
}
