//! What a PDU costs before any system call: encoding, parsing, and the worst way to split a stream.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use teamtalk::base::im_pdu::{ImPdu, PduHeader, PduRef};
use teamtalk::pb::message::ImMsgData;

const LEN_MAX: u32 = 1 << 20;
const BODIES: [usize; 3] = [0, 100, 4096];
const HEADER: PduHeader = PduHeader::new(3, 0x0301, 9);

/// A chat message whose text has `length` bytes.
fn message(length: usize) -> ImMsgData {
    ImMsgData {
        from_user_id: 10_001,
        to_session_id: 10_002,
        msg_data: vec![b'x'; length].into(),
        ..ImMsgData::default()
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for body in BODIES {
        let message = message(body);
        group.throughput(Throughput::Bytes((16 + message.encoded_len()) as u64));
        group.bench_with_input(BenchmarkId::from_parameter(body), &message, |b, message| {
            b.iter(|| ImPdu::encode_with(HEADER, black_box(message)));
        });
    }
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for body in BODIES {
        let pdu = ImPdu::encode_with(HEADER, &message(body));
        let bytes = pdu.as_pdu().as_bytes();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(body), bytes, |b, bytes| {
            b.iter(|| {
                let pdu = PduRef::parse(black_box(bytes), LEN_MAX).expect("a PDU").expect("whole");
                pdu.decode::<ImMsgData>().expect("a message")
            });
        });
    }
}

/// A thousand heartbeats in one buffer: framing alone.
fn frames(criterion: &mut Criterion) {
    const COUNT: u64 = 1000;
    let stream = ImPdu::encode(7, 0x0701, 0, &()).as_pdu().as_bytes().repeat(COUNT as usize);
    let mut group = criterion.benchmark_group("frames");
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("pipelined", |b| {
        b.iter(|| {
            let mut rest = black_box(&stream[..]);
            while let Some(pdu) = PduRef::parse(rest, LEN_MAX).expect("PDUs") {
                rest = &rest[pdu.as_bytes().len()..];
            }
            assert!(rest.is_empty());
        });
    });
    // Every byte arrives alone, and each time the parser is asked again.
    let one = ImPdu::encode_with(HEADER, &message(100)).as_pdu().as_bytes().to_vec();
    group.throughput(Throughput::Bytes(one.len() as u64));
    group.bench_function("worst_split", |b| {
        b.iter(|| {
            let whole =
                |end: &usize| PduRef::parse(&one[..*end], LEN_MAX).expect("a PDU").is_some();
            black_box((1..=one.len()).find(whole))
        });
    });
}

criterion_group!(benches, encode, decode, frames);
criterion_main!(benches);
