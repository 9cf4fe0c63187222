//! What http_msg_server tells about itself.

use super::HttpMsgServer;
use crate::base::metrics_text::MetricsText;
use crate::netlib::{Health, serv_info};

impl Health for HttpMsgServer {
    const PROGRAM: &'static str = "http_msg_server";

    fn write_metrics(&self, text: &mut MetricsText) {
        let waiting = self.http_conns.iter().filter(|(_, conn)| conn.is_waiting()).count();
        let help = "Requests that wait for db_proxy_server.";
        text.gauge("teamtalk_requests_in_flight", help).value(waiting);
        let backends = [
            ("db_proxy_server", self.db_servers.conns.list()),
            ("route_server", self.route_servers.conns.list()),
        ];
        serv_info::write_metrics(&backends, text);
    }

    /// Without a route_server groups are made, and clients hear of them when they log in again.
    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.db_servers.conns.is_available() {
            reasons.push("no db_proxy_server is connected".to_owned());
        }
        if self.stopping {
            reasons.push("the server is stopping".to_owned());
        }
        reasons
    }
}
