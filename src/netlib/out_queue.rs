//! What a connection has still to write, and the pool its buffers come from.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::Bytes;

/// Shorter PDUs are copied behind bytes already queued: cheaper than one more segment to write.
const SHARE_MIN: usize = 512;

/// An owned segment longer than this is not appended to any more, so that growing it stays cheap
/// and its memory can go back to the pool.
const SEGMENT_MAX: usize = 64 * 1024;

/// Segments per `writev`. Far below IOV_MAX; enough to fill any socket buffer.
const IOV_MAX: usize = 64;

/// Buffers that wait for their next use.
///
/// A connection holds a buffer only while there is something in it; the pool makes that cheap.
#[derive(Default)]
pub(crate) struct BufPool {
    spare: Vec<Vec<u8>>,
}

impl BufPool {
    /// The pool keeps at most this many buffers …
    const SPARE_MAX: usize = 32;
    /// … and none that grew beyond this.
    const CAPACITY_MAX: usize = 2 * SEGMENT_MAX;

    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    pub(crate) fn give(&mut self, mut buf: Vec<u8>) {
        if self.spare.len() < Self::SPARE_MAX && buf.capacity() <= Self::CAPACITY_MAX {
            buf.clear();
            self.spare.push(buf);
        }
    }
}

enum Segment {
    /// Bytes of this connection alone.
    Owned(Vec<u8>),
    /// One PDU that several connections send.
    Shared(Bytes),
}

impl Segment {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Owned(buf) => buf,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// What one write attempt achieved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    /// Everything is with the kernel.
    All,
    /// The socket takes no more for now; a writable event will follow.
    Blocked,
}

/// The unsent bytes of one connection.
///
/// Most of the time there is nothing or one segment, so the first one needs no list.
///
/// C++: base/imconn.h CImConn::m_out_buf
#[derive(Default)]
pub(crate) struct OutQueue {
    first: Option<Segment>,
    rest: VecDeque<Segment>,
    /// How much of `first` is written.
    sent: usize,
    /// Unsent bytes in all segments.
    len: usize,
}

impl OutQueue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory this queue holds, shared segments not counted.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        let owned = |segment: &Segment| match segment {
            Segment::Owned(buf) => buf.capacity(),
            Segment::Shared(_) => 0,
        };
        let list = self.rest.capacity() * size_of::<Segment>();
        list + self.first.iter().chain(&self.rest).map(owned).sum::<usize>()
    }

    /// Lets `put` append to the connection's own bytes.
    #[inline]
    pub(crate) fn append(&mut self, pool: &mut BufPool, put: impl FnOnce(&mut Vec<u8>)) {
        let tail = self.tail(pool);
        let before = tail.len();
        put(tail);
        let added = tail.len() - before;
        self.len += added;
    }

    /// Queues a PDU without copying it, unless a copy costs less.
    pub(crate) fn push_shared(&mut self, pool: &mut BufPool, bytes: &Bytes) {
        if self.first.is_some() && bytes.len() < SHARE_MIN {
            return self.append(pool, |tail| tail.extend_from_slice(bytes));
        }
        self.len += bytes.len();
        self.push(Segment::Shared(bytes.clone()));
    }

    /// One write attempt with everything there is.
    pub(crate) fn write_to(
        &mut self,
        stream: &mut impl Write,
        pool: &mut BufPool,
    ) -> io::Result<Written> {
        while !self.is_empty() {
            let (offered, result) = self.write_once(stream);
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.advance(n, pool);
                    // A short write means a full socket buffer: trying again would only be told so.
                    if n < offered {
                        return Ok(Written::Blocked);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Written::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Written::All)
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    #[inline]
    fn tail(&mut self, pool: &mut BufPool) -> &mut Vec<u8> {
        let last = self.rest.back().or(self.first.as_ref());
        if !matches!(last, Some(Segment::Owned(buf)) if buf.len() < SEGMENT_MAX) {
            self.push(Segment::Owned(pool.take()));
        }
        match self.rest.back_mut().or(self.first.as_mut()) {
            Some(Segment::Owned(buf)) => buf,
            _ => unreachable!("an owned segment was just made the last"),
        }
    }

    fn push(&mut self, segment: Segment) {
        if self.first.is_none() {
            self.first = Some(segment);
        } else {
            self.rest.push_back(segment);
        }
    }

    fn write_once(&self, stream: &mut impl Write) -> (usize, io::Result<usize>) {
        let first = self.first.as_ref().map_or(&[][..], |s| &s.as_bytes()[self.sent..]);
        if self.rest.is_empty() {
            return (first.len(), stream.write(first));
        }
        let mut slices = [IoSlice::new(&[]); IOV_MAX];
        slices[0] = IoSlice::new(first);
        let mut count = 1;
        for (slice, segment) in slices[1..].iter_mut().zip(&self.rest) {
            *slice = IoSlice::new(segment.as_bytes());
            count += 1;
        }
        let slices = &slices[..count];
        (slices.iter().map(|s| s.len()).sum(), stream.write_vectored(slices))
    }

    fn advance(&mut self, n: usize, pool: &mut BufPool) {
        self.len -= n;
        self.sent += n;
        while let Some(first) = &self.first {
            let length = first.as_bytes().len();
            if self.sent < length {
                break;
            }
            self.sent -= length;
            if let Some(Segment::Owned(buf)) = self.first.take() {
                pool.give(buf);
            }
            self.first = self.rest.pop_front();
        }
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes at most `room` bytes in all and `per_call` in one call.
    struct Peer {
        got: Vec<u8>,
        room: usize,
        per_call: usize,
        calls: usize,
    }

    impl Peer {
        fn new(room: usize, per_call: usize) -> Self {
            Self { got: Vec::new(), room, per_call, calls: 0 }
        }
    }

    impl Write for Peer {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            let n = buf.len().min(self.per_call).min(self.room);
            if n == 0 && !buf.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= n;
            self.got.extend_from_slice(&buf[..n]);
            Ok(n)
        }

        fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            let whole: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).collect();
            self.write(&whole)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn many_pdus_of_one_turn_leave_in_one_write() {
        let (mut queue, mut pool) = (OutQueue::default(), BufPool::default());
        for i in 0..1024u16 {
            queue.append(&mut pool, |tail| tail.extend_from_slice(&i.to_be_bytes()));
        }
        queue.push_shared(&mut pool, &Bytes::from(vec![7; 4000]));
        let mut peer = Peer::new(usize::MAX, usize::MAX);
        assert_eq!(queue.write_to(&mut peer, &mut pool).unwrap(), Written::All);
        assert_eq!((peer.calls, peer.got.len()), (1, 6048));
        assert!(queue.is_empty() && queue.rest.capacity() == 0);
        assert_eq!(pool.spare.len(), 1, "the buffer went back");
    }

    #[test]
    fn a_broadcast_pdu_is_shared_not_copied() {
        let pdu = Bytes::from(vec![1; 100]);
        let mut pool = BufPool::default();
        let mut queues: Vec<_> = (0..10).map(|_| OutQueue::default()).collect();
        for queue in &mut queues {
            queue.push_shared(&mut pool, &pdu);
            let Some(Segment::Shared(bytes)) = &queue.first else { panic!("copied") };
            assert_eq!(bytes.as_ptr(), pdu.as_ptr());
        }
    }

    #[test]
    fn after_a_short_write_the_rest_waits_for_the_event() {
        let (mut queue, mut pool) = (OutQueue::default(), BufPool::default());
        queue.append(&mut pool, |tail| tail.extend_from_slice(&[9; 1000]));
        let mut peer = Peer::new(600, usize::MAX);
        assert_eq!(queue.write_to(&mut peer, &mut pool).unwrap(), Written::Blocked);
        assert_eq!((peer.calls, queue.len()), (1, 400));
        assert_eq!(queue.write_to(&mut peer, &mut pool).unwrap(), Written::Blocked);
        peer.room = 1000;
        assert_eq!(queue.write_to(&mut peer, &mut pool).unwrap(), Written::All);
        assert_eq!(peer.got, [9; 1000]);
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_of_bounded_buffers() {
        let mut pool = BufPool::default();
        for _ in 0..2 * BufPool::SPARE_MAX {
            pool.give(Vec::with_capacity(100));
        }
        assert_eq!(pool.spare.len(), BufPool::SPARE_MAX);
        pool.take();
        pool.give(Vec::with_capacity(BufPool::CAPACITY_MAX + 1));
        assert_eq!(pool.spare.len(), BufPool::SPARE_MAX - 1);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_however_the_socket_takes_them(
            pieces in prop::collection::vec((any::<bool>(), 1..3000usize), 1..40),
            rooms in prop::collection::vec(1..9000usize, 1..40),
            per_call in 200..4000usize,
        ) {
            let (mut queue, mut pool) = (OutQueue::default(), BufPool::default());
            let mut expected = Vec::new();
            let mut peer = Peer::new(0, per_call);
            let mut rooms = rooms.into_iter().cycle();
            for (i, (shared, length)) in pieces.into_iter().enumerate() {
                let piece = vec![i as u8; length];
                expected.extend_from_slice(&piece);
                if shared {
                    queue.push_shared(&mut pool, &Bytes::from(piece));
                } else {
                    queue.append(&mut pool, |tail| tail.extend_from_slice(&piece));
                }
                if i % 3 == 0 {
                    peer.room = rooms.next().unwrap();
                    queue.write_to(&mut peer, &mut pool).unwrap();
                }
                prop_assert_eq!(queue.len() + peer.got.len(), expected.len());
            }
            peer.room = usize::MAX;
            while queue.write_to(&mut peer, &mut pool).unwrap() == Written::Blocked {}
            prop_assert!(queue.is_empty());
            prop_assert_eq!(peer.got, expected);
        }
    }
}
