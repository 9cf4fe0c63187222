//! What is unread: from the messages themselves, whatever became of the cache.

use teamtalk::db_proxy_server::business::msg_ids::Conversation;
use teamtalk::pb::base_define::{GroupType, SessionType};
use teamtalk::storage::cache_pool::UNREAD;

use super::installation::{Installation, on_each};

impl Installation {
    fn cached(&self, key: &str, field: &str) -> Option<String> {
        self.business.cache.cache_conn(UNREAD).unwrap().hget(key, field).unwrap()
    }
}

#[test]
fn f97_unread_messages_are_counted_from_the_messages() {
    on_each(|on| {
        let group_id = on.group(GroupType::Normal, &[1, 2, 3]);
        for _ in 0..3 {
            on.send_to_user(1, 2);
            on.send_to_user(3, 2);
            on.send_to_group(1, group_id);
        }
        let (single, group) = (SessionType::Single, SessionType::Group);
        let all = [(single, on.id(1), 3), (single, on.id(3), 3), (group, group_id, 3)];
        assert_eq!(on.unread(2), all);
        // A cache that comes back empty changes nothing.
        let mut cache = on.business.cache.cache_conn(UNREAD).unwrap();
        cache.del(&format!("unread_{}", on.id(2))).unwrap();
        cache.del(&format!("{group_id}_im_group_msg")).unwrap();
        drop(cache);
        assert_eq!(on.unread(2), all);
        on.read(2, on.id(3), single);
        on.read(2, group_id, group);
        assert_eq!(on.unread(2), all[..1]);
        on.send_to_user(3, 2);
        on.send_to_group(2, group_id);
        assert_eq!(on.unread(2), [all[0], (single, on.id(3), 1)]);
        assert_eq!(on.unread(3), [(group, group_id, 4)]);
    });
}

#[test]
fn an_original_beside_finds_its_counters_in_the_cache() {
    on_each(|on| {
        let group_id = on.group(GroupType::Normal, &[1, 2]);
        on.send_to_user(1, 2);
        on.send_to_user(1, 2);
        on.send_to_group(1, group_id);
        on.send_to_group(1, group_id);
        on.read(2, group_id, SessionType::Group);
        on.send_to_group(1, group_id);
        let (sent, seen) = (format!("{group_id}_im_group_msg"), |n| {
            format!("{}_{group_id}_im_user_group", on.id(n))
        });
        let single = || on.cached(&format!("unread_{}", on.id(2)), &on.id(1).to_string());
        let found = [
            single(),
            on.cached(&sent, "count"),
            on.cached(&seen(1), "count"),
            on.cached(&seen(2), "count"),
        ];
        if on.is_embedded {
            assert_eq!(found, [const { None }; 4], "nobody is beside");
        } else {
            assert_eq!(found.map(Option::unwrap), ["2", "3", "3", "2"]);
            on.read(2, on.id(1), SessionType::Single);
            assert_eq!(single(), None);
        }
    });
}

#[test]
fn what_an_original_counted_is_unread_until_it_is_read() {
    on_each(|on| {
        if on.is_embedded {
            // No original ever wrote to an embedded store.
            return;
        }
        let group_id = on.group(GroupType::Normal, &[1, 2]);
        on.send_to_user(1, 2);
        on.send_to_group(1, group_id);
        // As an original server leaves it: rows without marks, and counters.
        on.execute("update IMRecentSession set readMsgId=null where userId=?", &[on.id(2).into()]);
        on.execute("update IMGroupMember set readMsgId=null where userId=?", &[on.id(2).into()]);
        let mut cache = on.business.cache.cache_conn(UNREAD).unwrap();
        cache.hset(&format!("unread_{}", on.id(2)), &on.id(1).to_string(), "7").unwrap();
        cache.hset(&format!("{group_id}_im_group_msg"), "count", "9").unwrap();
        cache.hset(&format!("{}_{group_id}_im_user_group", on.id(2)), "count", "4").unwrap();
        drop(cache);
        let (single, group) = (SessionType::Single, SessionType::Group);
        assert_eq!(on.unread(2), [(single, on.id(1), 7), (group, group_id, 5)]);
        on.send_to_user(1, 2);
        assert_eq!(on.unread(2)[0], (single, on.id(1), 8));
        on.read(2, on.id(1), single);
        on.read(2, group_id, group);
        assert_eq!(on.unread(2), []);
        on.send_to_user(1, 2);
        assert_eq!(on.unread(2), [(single, on.id(1), 1)]);
    });
}

#[test]
fn f91_numbers_go_on_after_the_cache_lost_them() {
    on_each(|on| {
        assert_eq!((on.send_to_user(1, 2), on.send_to_user(2, 1)), (1, 2));
        let relate_id = on
            .number("select id as n from IMRelationShip where smallId=?", &[on.id(1).into()])
            .unwrap();
        on.business.cache.cache_conn(UNREAD).unwrap().del(&format!("msg_id_{relate_id}")).unwrap();
        // A process that was just started knows no number.
        on.business.msg_ids.doubt([Conversation::Single(relate_id)]);
        assert!(on.send_to_user(1, 2) > 2);
    });
}
