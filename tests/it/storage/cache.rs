//! What every cache driver does, run on both.

use std::collections::HashMap;
use std::thread;

use teamtalk::storage::{CacheCmd, CacheError, CacheReply};

use super::{OpenCache, on_each_cache, strange_texts};

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn strings_are_stored_and_removed() {
    fn contract(open: OpenCache<'_>) {
        let mut conn = open();
        assert_eq!(conn.get("k").unwrap(), None);
        assert!(!conn.is_exists("k").unwrap() && !conn.del("k").unwrap());
        conn.set("k", "1").unwrap();
        conn.set("k", "2").unwrap();
        assert_eq!(conn.get("k").unwrap().as_deref(), Some("2"));
        assert!(conn.is_exists("k").unwrap() && conn.del("k").unwrap());
        assert_eq!(conn.get("k").unwrap(), None);
    }
    on_each_cache(contract);
}

#[test]
fn f90_keys_fields_and_values_may_be_any_text() {
    fn contract(open: OpenCache<'_>) {
        let mut conn = open();
        let texts = strange_texts();
        for text in &texts {
            conn.set(text, text).unwrap();
            conn.hset("hash", text, text).unwrap();
        }
        for text in &texts {
            assert_eq!(conn.get(text).unwrap().as_ref(), Some(text), "{text:.20}");
            assert_eq!(conn.hget("hash", text).unwrap().as_ref(), Some(text), "{text:.20}");
        }
        let found = conn.mget(&texts).unwrap();
        assert!(found.iter().flatten().eq(&texts));
        let found = conn.hmget("hash", &texts).unwrap();
        assert!(found.iter().flatten().eq(&texts));
        assert_eq!(conn.hget_all("hash").unwrap().len(), texts.len());
    }
    on_each_cache(contract);
}

#[test]
fn several_strings_come_in_the_order_of_their_keys() {
    fn contract(open: OpenCache<'_>) {
        let mut conn = open();
        conn.set("device_1", "ios:a").unwrap();
        conn.set("device_3", "").unwrap();
        let found = conn.mget(&texts(&["device_3", "device_2", "device_1"])).unwrap();
        assert_eq!(found, [Some(String::new()), None, Some("ios:a".to_owned())]);
        assert_eq!(conn.mget(&[]).unwrap(), Vec::<Option<String>>::new());
    }
    on_each_cache(contract);
}

#[test]
fn s2_numbers_are_counted_and_what_is_no_number_is_an_error() {
    fn contract(open: OpenCache<'_>) {
        let mut conn = open();
        assert_eq!(conn.incr_by("msg_id_7", 1).unwrap(), 1);
        assert_eq!(conn.incr_by("msg_id_7", 41).unwrap(), 42);
        assert_eq!(conn.get("msg_id_7").unwrap().as_deref(), Some("42"));
        assert_eq!(conn.hincr_by("unread_1", "2", 5).unwrap(), 5);
        assert_eq!(conn.hincr_by("unread_1", "2", -7).unwrap(), -2);
        conn.set("text", "many").unwrap();
        conn.hset("unread_1", "text", "many").unwrap();
        for error in [conn.incr_by("text", 1), conn.hincr_by("unread_1", "text", 1)] {
            assert!(matches!(error, Err(CacheError::Refused(_))));
        }
        conn.set("large", &i64::MAX.to_string()).unwrap();
        assert!(matches!(conn.incr_by("large", 1), Err(CacheError::Refused(_))));
        assert_eq!(conn.incr_by("large", -1).unwrap(), i64::MAX - 1);
        assert!(!conn.is_broken());
    }
    on_each_cache(contract);
}

#[test]
fn hashes_have_fields() {
    fn contract(open: OpenCache<'_>) {
        let mut conn = open();
        assert!(conn.hget_all("h").unwrap().is_empty());
        let pairs = [("a", "1"), ("b", "2"), ("c", "3")];
        let fields: Vec<_> = map(&pairs).into_iter().collect();
        conn.hmset("h", &fields).unwrap();
        conn.hset("h", "a", "4").unwrap();
        assert_eq!(conn.hget_all("h").unwrap(), map(&[("a", "4"), ("b", "2"), ("c", "3")]));
        assert_eq!(conn.hget("h", "d").unwrap(), None);
        let found = conn.hmget("h", &texts(&["c", "d"])).unwrap();
        assert_eq!(found, [Some("3".to_owned()), None]);
        assert!(conn.hdel("h", "a").unwrap() && !conn.hdel("h", "a").unwrap());
        let fields = texts(&["b", "c", "d"]);
        let removed = conn.command(CacheCmd::HDel { key: "h".to_owned(), fields }).unwrap();
        assert_eq!(removed, CacheReply::Int(2));
        assert!(!conn.is_exists("h").unwrap(), "without fields there is no hash");
        conn.hmset("h", &[]).unwrap();
        assert_eq!(conn.hmget("h", &[]).unwrap(), Vec::<Option<String>>::new());
        conn.hset("h", "a", "").unwrap();
        assert!(conn.is_exists("h").unwrap() && conn.del("h").unwrap());
    }
    on_each_cache(contract);
}

#[test]
fn f97_a_pipeline_is_one_round_trip_and_keeps_the_order() {
    fn contract(open: OpenCache<'_>) {
        let mut conn = open();
        let key = |n: u32| format!("unread_{n}");
        let field = || "9".to_owned();
        let mut cmds: Vec<CacheCmd> = (0..100)
            .map(|n| CacheCmd::HIncrBy { key: key(n % 10), field: field(), by: 1 })
            .collect();
        cmds.push(CacheCmd::MGet { keys: Vec::new() });
        cmds.push(CacheCmd::HGetAll { key: key(3) });
        cmds.push(CacheCmd::Exists { key: key(10) });
        let before = conn.counters();
        let replies = conn.pipeline(&cmds).unwrap();
        assert_eq!(conn.counters().since(before).round_trips, 1);
        assert_eq!(replies.len(), cmds.len());
        assert_eq!(replies[9], CacheReply::Int(1));
        assert_eq!(replies[99], CacheReply::Int(10));
        assert_eq!(replies[100], CacheReply::Texts(Vec::new()));
        assert_eq!(replies[101], CacheReply::Map(map(&[("9", "10")])));
        assert_eq!(replies[102], CacheReply::Int(0));
        assert_eq!(conn.pipeline(&[]).unwrap(), []);
    }
    on_each_cache(contract);
}

#[test]
fn an_error_in_a_pipeline_does_not_mix_up_later_replies() {
    fn contract(open: OpenCache<'_>) {
        let mut conn = open();
        conn.set("text", "many").unwrap();
        let get = CacheCmd::Get { key: "text".to_owned() };
        let count = CacheCmd::IncrBy { key: "text".to_owned(), by: 1 };
        assert!(conn.pipeline(&[get.clone(), count, get]).is_err());
        assert_eq!(conn.incr_by("n", 1).unwrap(), 1);
        assert_eq!(conn.get("text").unwrap().as_deref(), Some("many"));
        conn.ping().unwrap();
    }
    on_each_cache(contract);
}

#[test]
fn f91_s1_counting_from_several_threads_gives_no_number_twice() {
    fn contract(open: OpenCache<'_>) {
        let count = || {
            let mut conn = open();
            (0..50).map(|_| conn.incr_by("msg_id_1", 1).unwrap()).collect::<Vec<_>>()
        };
        let mut all: Vec<i64> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (1..=200).collect::<Vec<_>>());
    }
    on_each_cache(contract);
}
