//! What route_server tells about itself.

use super::RouteServer;
use crate::base::metrics_text::MetricsText;
use crate::netlib::Health;

impl Health for RouteServer {
    const PROGRAM: &'static str = "route_server";

    fn write_metrics(&self, text: &mut MetricsText) {
        let help = "Users who are on line.";
        text.gauge("teamtalk_users", help).value(self.users.len());
        let help = "Connected msg_servers and http_msg_servers.";
        text.gauge("teamtalk_msg_servers", help).value(self.route_conns.len());
    }

    /// It needs nobody: whoever connects is served.
    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }
}
