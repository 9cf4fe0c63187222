//! Files: offered, sent, fetched, refused.

use std::path::PathBuf;

use super::*;
use crate::client::Transfer;
use crate::pb::base_define::TransferFileType;
use crate::tool::chat::event::Offer;
use crate::tool::chat::state::OFFERS_MAX;

fn offer(from: u32, name: &str) -> Offer {
    let transfer = Transfer {
        task_id: format!("task of {name}"),
        size: 1_000,
        trans_mode: TransferFileType::FileTypeOffline,
        addrs: vec![],
    };
    Offer { from, name: name.to_owned(), transfer }
}

/// The only request that was made.
#[track_caller]
fn request(test: &mut Test) -> Request {
    let mut asked = test.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked.remove(0)
}

#[test]
fn a_file_is_sent_to_who_is_there_and_kept_for_who_is_not() {
    let mut test = Test::online(vec![]);
    test.enter("/file send a.txt");
    assert!(test.state.notice.starts_with("this is for a single user"));
    for (session, there) in [(BOB, true), (Session::User(3), false)] {
        test.open(session);
        test.asked();
        test.enter("/file send  my dir/报告.pdf ");
        let asked = test.asked();
        let [Request::SendFile { local, to, path, online }] = &asked[..] else {
            panic!("{asked:?}")
        };
        let expected = (session.id(), PathBuf::from("my dir/报告.pdf"), there);
        assert_eq!((*to, path.clone(), *online), expected);
        let local = *local;
        test.news(News::Progress { local, done: (250, 1_000) });
        assert!(test.screen()[11].contains("↑ 报告.pdf 25 %"), "{:?}", test.screen());
        let result = if there { Ok(String::new()) } else { Err("no such file".to_owned()) };
        test.news(News::Finished { local, result });
        let text = if there { "报告.pdf is sent" } else { "报告.pdf: no such file" };
        assert_eq!((test.state.notice.as_str(), test.state.moving.len()), (text, 0));
    }
    test.enter("/file send");
    assert_eq!(test.state.notice, "/file send PATH: which file?");
    test.enter("/file");
    assert!(test.state.notice.starts_with("/file send PATH, "));
}

#[test]
fn a_file_is_taken_and_taken_again_if_that_fails() {
    let mut test = Test::online(vec![]);
    test.news(News::Offer(offer(2, "a\x1b.txt")));
    let text = "Bob sends a\u{fffd}.txt (1000 bytes): /file accept 1, /file refuse 1";
    assert_eq!((test.state.notice.as_str(), &*test.talk(BOB).notes[0].text), (text, text));
    // It is announced when it comes, and listed at the next connection.
    test.connect(vec![]);
    test.news(News::Offer(offer(2, "a\x1b.txt")));
    assert_eq!(test.state.offers.len(), 1);
    for fails in [true, false] {
        test.enter("/file accept");
        let Request::FetchFile { local, offer: asked } = request(&mut test) else { panic!() };
        assert_eq!(asked, offer(2, "a\x1b.txt"));
        test.news(News::Offer(asked));
        assert!(test.state.offers.is_empty(), "it is on its way");
        let result = if fails { Err("it broke".to_owned()) } else { Ok("/x/a.txt".to_owned()) };
        test.news(News::Finished { local, result });
        let told = test.state.notice.as_str();
        if fails {
            assert_eq!(told, "a\u{fffd}.txt: it broke; /file accept 1 tries again");
        } else {
            assert_eq!(told, "a\u{fffd}.txt is here: /x/a.txt");
        }
    }
    test.enter("/file accept");
    assert_eq!(test.state.notice, "no file is offered");
}

#[test]
fn the_file_that_is_meant_is_taken() {
    let mut test = Test::online(vec![]);
    for (from, name) in [(3, "a"), (2, "b"), (2, "c")] {
        test.news(News::Offer(offer(from, name)));
    }
    test.enter("/file list");
    assert_eq!(test.state.notice, "1: a from 爱丽丝; 2: b from Bob; 3: c from Bob");
    test.enter("/file refuse 3");
    assert_eq!(request(&mut test), Request::RefuseFile(offer(2, "c")));
    test.enter("/file accept 3");
    assert_eq!(test.state.notice, "there is no file 3");
    test.enter("/file accept x");
    assert_eq!(test.state.notice, "x is no number of an offer");
    test.open(BOB);
    test.asked();
    test.enter("/file refuse");
    assert_eq!(request(&mut test), Request::RefuseFile(offer(2, "b")), "that of who is talked to");
    test.enter("/file refuse");
    assert_eq!(request(&mut test), Request::RefuseFile(offer(3, "a")));
}

#[test]
fn offers_have_a_limit() {
    let mut test = Test::online(vec![]);
    (0..OFFERS_MAX + 5).for_each(|n| test.news(News::Offer(offer(2, &n.to_string()))));
    assert_eq!(test.state.offers.len(), OFFERS_MAX);
}
