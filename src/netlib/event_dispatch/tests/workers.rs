//! A loop that hands its requests to a bounded pool, as db_proxy_server and msfs do.

use std::num::NonZeroUsize;
use std::sync::mpsc;

use super::*;
use crate::base::thread_pool::{Task, ThreadPool};

struct JobServer {
    pool: ThreadPool,
    answers: ResponseList<(NetHandle, ImPdu)>,
    /// The pool has room again.
    room: ResponseList<()>,
    /// Tasks the full pool handed back, and whose connections pause until they are taken.
    refused: VecDeque<(NetHandle, Task)>,
}

struct JobConn;

impl ConnHandler for JobConn {
    type Server = JobServer;
    type Framing = PduFraming;

    fn on_close(_cx: &mut Cx<'_, JobServer>, _this: NetHandle) {}
}

impl PduHandler for JobConn {
    fn handle_pdu(
        cx: &mut Cx<'_, JobServer>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let (answers, pdu) = (cx.srv.answers.clone(), pdu.to_owned());
        let task: Task = Box::new(move || answers.push((this, pdu)));
        if let Err(error) = cx.srv.pool.try_add_task(Some(this.to_u32().into()), task) {
            cx.srv.refused.push_back((this, error.into_task()));
            cx.net.pause_read(this);
        }
        Ok(())
    }
}

fn send_answers(cx: &mut Cx<'_, JobServer>) {
    for (conn, pdu) in cx.srv.answers.take() {
        cx.net.send_pdu(conn, &pdu);
    }
    cx.srv.room.take();
    while let Some((conn, task)) = cx.srv.refused.pop_front() {
        if let Err(error) = cx.srv.pool.try_add_task(Some(conn.to_u32().into()), task) {
            return cx.srv.refused.push_front((conn, error.into_task()));
        }
        cx.net.resume_read(conn);
    }
}

#[test]
fn f44_a_full_queue_pauses_reading_and_the_order_is_kept() {
    let mut dispatch = EventDispatch::new().unwrap();
    let options = ListenOptions::new(ConnLimits::SERVER);
    let addr = dispatch.listen::<JobConn>(localhost(), options).unwrap();
    dispatch.net().add_loop(send_answers);
    let one = NonZeroUsize::MIN;
    let mut srv = JobServer {
        pool: ThreadPool::new("test", one, one).unwrap(),
        answers: dispatch.response_list(),
        room: dispatch.response_list(),
        refused: VecDeque::new(),
    };
    let room = srv.room.clone();
    srv.pool.notify_room(move || room.push(()));
    let (open_gate, gate) = mpsc::channel::<()>();
    srv.pool.try_add_task(None, Box::new(move || gate.recv().unwrap())).map_err(drop).unwrap();
    let mut client = Client::connect(addr);
    for number in 0..100 {
        client.send(&request(ECHO, number));
    }
    let mut events = Events::with_capacity(64);
    while srv.refused.is_empty() {
        dispatch.run_once(&mut events, &mut srv).unwrap();
    }
    // Of a hundred PDUs that have arrived one waits here, and the rest is not even looked at.
    assert_eq!((srv.refused.len(), srv.pool.queue_len()), (1, 1));
    open_gate.send(()).unwrap();
    let thread = thread::spawn(move || {
        let bytes: Vec<_> = (0..100).map(|_| client.receive_bytes(20)).collect();
        drop(client);
        bytes
    });
    while dispatch.net().conn_count() > 0 {
        dispatch.run_once(&mut events, &mut srv).unwrap();
        dispatch.settle(&mut srv);
    }
    let expected = (0..100).map(|number| request(ECHO, number).as_pdu().as_bytes().to_vec());
    assert_eq!(thread.join().unwrap(), expected.collect::<Vec<_>>());
}
