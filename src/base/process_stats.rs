//! What a process costs, as the kernel says. It answers from memory: asking does not block.

use std::fs;

use super::metrics_text::MetricsText;

/// Writes memory, processor time and the limit of open files. What the kernel does not tell is
/// left away.
pub fn write(text: &mut MetricsText) {
    if let Some(bytes) = resident_bytes() {
        text.gauge("process_resident_memory_bytes", "Memory in use.").value(bytes);
    }
    if let Some(seconds) = cpu_seconds() {
        let help = "Processor time used, by the process and for it in the kernel.";
        text.counter("process_cpu_seconds_total", help).value(seconds);
    }
    if let Ok((soft, _)) = rlimit::Resource::NOFILE.get() {
        let help = "Most open files; each connection is one.";
        text.gauge("process_max_fds", help).value(soft);
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may contain anything, the 12th and 13th field are the times.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let total = ticks()? + ticks()?;
    Some(total as f64 / rustix::param::clock_ticks_per_second().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_this_process_costs() {
        let mut text = MetricsText::default();
        write(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.as_str().lines().find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_max_fds") >= 64.0);
    }
}
