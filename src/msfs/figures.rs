//! What msfs tells about itself.

use super::Msfs;
use crate::base::metrics_text::MetricsText;
use crate::base::thread_pool;
use crate::netlib::Health;

impl Health for Msfs {
    const PROGRAM: &'static str = "msfs";

    fn write_metrics(&self, text: &mut MetricsText) {
        let pools =
            [("get", self.get_thread_pool.figures()), ("post", self.post_thread_pool.figures())];
        thread_pool::write_metrics(&pools, text);
    }

    /// Its directory was there at the start, and no other server is needed.
    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }
}
