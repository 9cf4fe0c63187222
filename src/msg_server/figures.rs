//! What msg_server tells about itself.

use super::MsgServer;
use crate::base::metrics_text::MetricsText;
use crate::base::public_define::{client_type_is_mobile, client_type_is_pc};
use crate::netlib::{Health, serv_info};

impl Health for MsgServer {
    const PROGRAM: &'static str = "msg_server";

    fn write_metrics(&self, text: &mut MetricsText) {
        self.write_users(text);
        self.write_messages(text);
        let backends = [
            ("db_proxy_server", self.db_servers.conns.list()),
            ("login_server", self.login_servers.list()),
            ("route_server", self.route_servers.conns.list()),
            ("file_server", self.file_servers.conns.list()),
            ("push_server", self.push_servers.conns.list()),
        ];
        serv_info::write_metrics(&backends, text);
    }

    /// Without file_server and push_server, all but files and alerts works.
    fn not_ready(&self) -> Vec<String> {
        let needed = [
            ("db_proxy_server", self.db_servers.is_available()),
            ("login_server", self.login_servers.is_available()),
            ("route_server", self.route_servers.is_available()),
        ];
        let missing = needed.into_iter().filter(|(_, available)| !available);
        missing.map(|(server, _)| format!("no {server} is connected")).collect()
    }
}

impl MsgServer {
    fn write_users(&self, text: &mut MetricsText) {
        let (mut pc, mut mobile, mut waiting_acks) = (0_u64, 0_u64, 0);
        for (_, conn) in self.msg_conns.iter().filter(|(_, conn)| conn.user_id() != 0) {
            pc += u64::from(client_type_is_pc(conn.client_type()));
            mobile += u64::from(client_type_is_mobile(conn.client_type()));
            waiting_acks += conn.waiting_acks();
        }
        text.gauge("teamtalk_users", "Users who are logged in.").value(self.im_users.len());
        let mut family = text.gauge("teamtalk_clients", "Clients that are logged in, by kind.");
        family.sample(&[("kind", "pc")], pc);
        family.sample(&[("kind", "mobile")], mobile);
        let help = "Most clients; beyond it new connections are closed at once.";
        text.gauge("teamtalk_clients_max", help).value(self.max_conn_cnt);
        let help = "Clients that logged in.";
        text.counter("teamtalk_logins_total", help).value(self.logins);
        let help = "Logins that were refused.";
        text.counter("teamtalk_logins_refused_total", help).value(self.logins_refused);
        let given_up = &self.given_up;
        let help = "Clients that were closed because they were late, by reason; not for silence.";
        let mut family = text.counter("teamtalk_clients_given_up_total", help);
        family.sample(&[("reason", "no_login")], given_up.no_login);
        family.sample(&[("reason", "stayed_after_kick")], given_up.stayed_after_kick);
        family.sample(&[("reason", "not_acknowledged")], given_up.not_acknowledged);
        let help = "Messages that wait for the acknowledgement of a client.";
        text.gauge("teamtalk_waiting_acks", help).value(waiting_acks);
    }

    fn write_messages(&self, text: &mut MetricsText) {
        let stats = &self.msg_stats;
        for (name, help, value) in [
            ("teamtalk_messages_up_total", "Messages clients sent.", stats.up_msg_total_cnt),
            (
                "teamtalk_messages_up_missed_total",
                "Of those, messages that were not stored.",
                stats.up_msg_miss_cnt,
            ),
            (
                "teamtalk_messages_down_total",
                "Messages sent to clients that have to acknowledge them.",
                stats.down_msg_total_cnt,
            ),
            (
                "teamtalk_messages_down_missed_total",
                "Of those, messages that were not acknowledged in time.",
                stats.down_msg_miss_cnt,
            ),
        ] {
            text.counter(name, help).value(value);
        }
        let help = "Groups whose members are known here.";
        text.gauge("teamtalk_groups_cached", help).value(self.group_chat.len());
        let help = "Messages that wait until the members of their group are known.";
        text.gauge("teamtalk_group_messages_waiting", help).value(self.group_chat.waiting());
        let help = "Broadcasts that are not done yet.";
        text.gauge("teamtalk_broadcasts", help).value(self.fan_outs.len());
    }
}
