//! What login_server tells about itself.

use super::LoginServer;
use super::msg_serv_info::MsgServInfo;
use crate::base::metrics_text::MetricsText;
use crate::netlib::Health;

impl LoginServer {
    fn infos(&self) -> impl Iterator<Item = &MsgServInfo> {
        self.msg_serv_conns.iter().filter_map(|(_, conn)| conn.info.as_ref())
    }
}

impl Health for LoginServer {
    const PROGRAM: &'static str = "login_server";

    fn write_metrics(&self, text: &mut MetricsText) {
        let help = "msg_servers that are registered.";
        text.gauge("teamtalk_msg_servers", help).value(self.infos().count());
        let help = "Users of all msg_servers.";
        text.gauge("teamtalk_users", help).value(self.total_online_user_cnt());
        let users_max: u64 = self.infos().map(|info| u64::from(info.max_conn_cnt)).sum();
        let help = "Most users of all msg_servers; from there on clients are refused.";
        text.gauge("teamtalk_users_max", help).value(users_max);
        let reserved: u64 = self.infos().map(|info| u64::from(info.reserved())).sum();
        let help = "Clients that were sent to a msg_server and have not logged in yet.";
        text.gauge("teamtalk_reservations", help).value(reserved);
        let help = "Clients that were sent to a msg_server.";
        text.counter("teamtalk_clients_sent_total", help).value(self.sent);
        let help = "Clients for which there was no msg_server, by reason.";
        let mut family = text.counter("teamtalk_clients_refused_total", help);
        family.sample(&[("reason", "unregistered")], self.refused_unregistered);
        family.sample(&[("reason", "full")], self.refused_full);
    }

    fn not_ready(&self) -> Vec<String> {
        if self.infos().next().is_none() {
            return vec!["no msg_server is registered".to_owned()];
        }
        Vec::new()
    }
}
