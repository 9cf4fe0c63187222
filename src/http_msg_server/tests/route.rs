//! Who tells the members of a change.

use super::*;
use crate::pb::server::ImOnlineUserInfo;

#[test]
fn members_change_and_the_master_route_server_is_told() {
    let mut bed = bed();
    let conn = bed.program();
    bed.ask(conn, &post("ChangeMembers", &change_members()));
    let asked = bed.asked();
    assert_eq!(asked.1.as_pdu().command_id(), CID_GROUP_CHANGE_MEMBER_REQUEST);
    let req: ImGroupChangeMemberReq = asked.1.as_pdu().decode().unwrap();
    assert_eq!((req.user_id, req.group_id, req.change_type), (0, 5, 1));
    assert_eq!(req.member_id_list, [4, u32::MAX]);
    bed.change_answer(&asked, 0);
    assert_eq!(bed.told(conn).1, json!({"error_code": 0, "error_msg": "成功"}));
    let routes = bed.route.clone();
    let told = routes.iter().map(|route| bed.sent(*route)).collect::<Vec<_>>();
    assert_eq!((told[0].len(), told[1].len()), (1, 0));
    assert_eq!(told[0][0].as_pdu().command_id(), CID_GROUP_CHANGE_MEMBER_NOTIFY);
    let notify: ImGroupChangeMemberNotify = told[0][0].as_pdu().decode().unwrap();
    assert_eq!((notify.group_id, notify.change_type), (5, 1));
    assert_eq!((notify.cur_user_id_list, notify.chg_user_id_list), (vec![1, 4], vec![4]));
    // Nobody is told of what was refused.
    bed.ask(conn, &post("ChangeMembers", &change_members()));
    let asked = bed.asked();
    bed.change_answer(&asked, 1);
    assert_eq!(bed.told(conn).1, json!({"error_code": 12, "error_msg": "更改群成员失败"}));
    assert!(bed.sent(routes[0]).is_empty());
}

#[test]
fn members_learn_of_a_change_even_if_who_asked_has_gone() {
    let mut bed = bed();
    let conn = bed.program();
    bed.ask(conn, &post("ChangeMembers", &change_members()));
    let asked = bed.asked();
    bed.lose(conn);
    assert_eq!(bed.in_flight(), 0);
    bed.change_answer(&asked, 0);
    let route = bed.route[0];
    assert_eq!(bed.sent(route).len(), 1);
}

#[test]
fn f61_the_first_route_server_is_the_master_and_the_next_one_takes_over() {
    let mut bed = bed_alone("");
    let routes = bed.route.clone();
    let roles = |bed: &mut Bed, conn| -> Vec<u32> {
        let sent = bed.sent(conn);
        let roles = sent.iter().filter(|pdu| pdu.as_pdu().command_id() == CID_OTHER_ROLE_SET);
        roles
            .map(|pdu| pdu.as_pdu().decode::<crate::pb::server::ImRoleSet>().unwrap().master)
            .collect()
    };
    for route in [routes[1], routes[0]] {
        RouteServConn::on_confirm(&mut bed.cx(), route);
    }
    // The one that was there first keeps it until the other has settled.
    assert_eq!((roles(&mut bed, routes[0]), roles(&mut bed, routes[1])), (vec![], vec![1]));
    bed.lose(routes[1]);
    assert_eq!(roles(&mut bed, routes[0]), [1]);
    bed.lose(routes[0]);
    let conn = bed.program();
    let db = bed.db[0];
    DbServConn::on_confirm(&mut bed.cx(), db);
    bed.ask(conn, &post("ChangeMembers", &change_members()));
    let asked = bed.asked();
    // What is stored is done, even if members are not told.
    bed.change_answer(&asked, 0);
    assert_eq!(bed.code(conn), 0);
}

/// So that it gets no messages of users who are elsewhere.
#[test]
fn f62_a_route_server_is_told_at_once_that_nobody_is_here() {
    let mut bed = bed_alone("");
    let route = bed.route[0];
    RouteServConn::on_confirm(&mut bed.cx(), route);
    let first = bed.sent(route).remove(0);
    assert_eq!(first.as_pdu().command_id(), CID_OTHER_ONLINE_USER_INFO);
    let told: ImOnlineUserInfo = first.as_pdu().decode().unwrap();
    assert!(told.user_stat_list.is_empty());
}
