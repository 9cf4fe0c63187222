//! What file_server tells about itself.

use super::FileServer;
use crate::base::metrics_text::MetricsText;
use crate::base::thread_pool;
use crate::netlib::Health;

impl Health for FileServer {
    const PROGRAM: &'static str = "file_server";

    fn write_metrics(&self, text: &mut MetricsText) {
        thread_pool::write_metrics(&[("disk", self.disk.figures())], text);
        let (transfers, files, bytes) = self.tasks.totals();
        text.gauge("teamtalk_transfers", "Transfers that are known.").value(transfers);
        let help = "Files that wait for their receivers.";
        text.gauge("teamtalk_stored_files", help).value(files);
        let help = "Bytes that count for the quota: stored, or announced.";
        text.gauge("teamtalk_stored_bytes", help).value(bytes);
        let help = "Most bytes of stored files; 0 for any number.";
        text.gauge("teamtalk_stored_bytes_max", help).value(self.tasks.stored_bytes_max());
    }

    /// Its directory was there at the start, and no other server is needed.
    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }
}
