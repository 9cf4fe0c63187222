//! Push tokens.

use teamtalk::pb::base_define::{ClientType, GroupType, UserTokenInfo};
use teamtalk::pb::cmd::*;
use teamtalk::pb::login::{ImDeviceTokenReq, ImDeviceTokenRsp};
use teamtalk::pb::server::{ImGetDeviceTokenReq, ImGetDeviceTokenRsp};
use teamtalk::storage::cache_pool::TOKEN;

use super::installation::{Installation, on_each, zone};

impl Installation {
    fn set_token(&self, n: u32, token: &str, client_type: Option<ClientType>) {
        let msg = ImDeviceTokenReq {
            user_id: self.id(n),
            device_token: token.to_owned(),
            client_type: client_type.map(Into::into),
            attach_data: None,
        };
        let answer: ImDeviceTokenRsp = self.ask(CID_LOGIN_REQ_DEVICETOKEN, &msg);
        assert_eq!(answer.user_id, self.id(n));
    }

    fn tokens(&self, ns: &[u32]) -> Vec<(u32, ClientType, String, u32)> {
        let msg = ImGetDeviceTokenReq {
            user_id: ns.iter().map(|&n| self.id(n)).collect(),
            attach_data: None,
        };
        let answer: ImGetDeviceTokenRsp = self.ask(CID_OTHER_GET_DEVICE_TOKEN_REQ, &msg);
        let info = |info: &UserTokenInfo| {
            (self.n(info.user_id), info.user_type(), info.token.clone(), info.push_count)
        };
        answer.user_token_info.iter().map(info).collect()
    }
}

#[test]
fn tokens_come_with_the_number_of_unread_messages() {
    on_each(|on| {
        let token = |n: u32| format!("token-{}", on.id(n));
        on.set_token(1, &token(1), Some(ClientType::Ios));
        on.set_token(2, &token(2), Some(ClientType::Android));
        on.set_token(3, &token(3), None);
        let group_id = on.group(GroupType::Tmp, &[1, 2, 3]);
        on.send_to_group(3, group_id);
        on.send_to_group(3, group_id);
        on.send_to_user(2, 1);
        let expected = [(1, ClientType::Ios, token(1), 3), (2, ClientType::Android, token(2), 2)];
        assert_eq!(on.tokens(&[1, 2, 3, 4, 1]), expected, "each once, and those who have one");
        assert_eq!(on.tokens(&[]), []);
        on.set_token(1, "", None);
        assert_eq!(on.tokens(&[1, 2]), expected[1..], "who logs out is not told");
    });
}

#[test]
fn f12_s19_a_token_moves_with_its_phone_and_takes_nobodys_place() {
    on_each(|on| {
        let phone = format!("phone-{}", on.id(0));
        on.set_token(1, &phone, Some(ClientType::Ios));
        on.set_token(2, &phone, Some(ClientType::Ios));
        assert_eq!(on.tokens(&[1, 2]), [(2, ClientType::Ios, phone.clone(), 0)]);
        // A token that looks like the id of a user.
        on.set_token(3, &on.id(2).to_string(), Some(ClientType::Ios));
        assert_eq!(on.tokens(&[2]).len(), 1);
        // Not a token at all: the answer comes, and nothing changes.
        on.set_token(2, "with a blank", Some(ClientType::Ios));
        on.set_token(2, &"x".repeat(10_240), Some(ClientType::Ios));
        assert_eq!(on.tokens(&[2]), [(2, ClientType::Ios, phone, 0)]);
        // What an original server knows of a token counts as well.
        let old = format!("old-{}", on.id(0));
        let mut cache = on.business.cache.cache_conn(TOKEN).unwrap();
        cache.set(&format!("device_{}", on.id(4)), &format!("ios:{old}")).unwrap();
        cache.set(&format!("device_{old}"), &on.id(4).to_string()).unwrap();
        drop(cache);
        on.set_token(5, &old, Some(ClientType::Ios));
        assert_eq!(on.tokens(&[4, 5]), [(5, ClientType::Ios, old, 0)]);
    });
}

#[test]
fn f131_a_dead_token_belongs_to_nobody_and_a_new_one_is_not_harmed() {
    on_each(|on| {
        let [old, new] = ["old", "new"].map(|name| format!("{name}-{}", on.id(1)));
        let forget = |token: &str| {
            let msg = ImDeviceTokenReq {
                user_id: 0,
                device_token: token.to_owned(),
                client_type: None,
                attach_data: None,
            };
            let answer: ImDeviceTokenRsp = on.ask(CID_LOGIN_REQ_DEVICETOKEN, &msg);
            assert_eq!(answer.user_id, 0);
        };
        on.set_token(1, &old, Some(ClientType::Ios));
        forget(&old);
        assert_eq!(on.tokens(&[1]), []);
        on.set_token(1, &old, Some(ClientType::Ios));
        on.set_token(1, &new, Some(ClientType::Ios));
        // The phone has got another token while the old one was found dead.
        forget(&old);
        assert_eq!(on.tokens(&[1]), [(1, ClientType::Ios, new.clone(), 0)]);
        forget("never heard of");
        // Somebody else gets the phone.
        forget(&new);
        on.set_token(2, &new, Some(ClientType::Ios));
        assert_eq!(on.tokens(&[1, 2]), [(2, ClientType::Ios, new, 0)]);
    });
}

#[test]
fn quiet_hours_keep_iphones_silent() {
    let contract = |on: &Installation| {
        (1..=3).for_each(|n| on.add_user(n));
        on.set_token(1, &format!("a-{}", on.id(1)), Some(ClientType::Ios));
        on.set_token(2, &format!("b-{}", on.id(2)), Some(ClientType::Android));
        on.set_token(3, &format!("c-{}", on.id(3)), Some(ClientType::Ios));
        let ids = on.ids([1, 2]).map(Into::into);
        on.execute("update IMUser set push_shield_status=1 where id in (?,?)", &ids);
        on.tokens(&[1, 2, 3]).iter().map(|token| token.0).collect::<Vec<_>>()
    };
    let directory = tempfile::tempdir().unwrap();
    let pools = super::installation::embedded_pools(&directory);
    let mut on = Installation::new(&pools, true);
    assert_eq!(contract(&on), [1, 2, 3], "at noon");
    on.business.zone = zone(1);
    assert_eq!(on.tokens(&[1, 2, 3]).len(), 2, "an Android phone knows itself when to be silent");
    on.business.zone = zone(10);
    assert_eq!(on.tokens(&[1, 2, 3]).len(), 3);
}
