//! The load generator, against a cluster as it measures one.

use std::path::Path;

use serde_json::{Value, json};

use super::up::Cluster;
use super::{output, run, teamtalk};
use crate::running::free_ports;

/// What a workload of one second says.
#[track_caller]
fn measured(directory: &Path, workload: &str) -> Value {
    let mut bench = teamtalk(directory);
    bench.arg("bench").args(workload.split(' ')).args(["--seconds", "1", "--json"]);
    serde_json::from_str(&output(&mut bench, "")).unwrap()
}

#[test]
fn all_workloads_run_and_find_no_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let base_port = free_ports(40).to_string();
    let mut cluster = Cluster::start(directory, &["--base-port", &base_port]);
    cluster.wait_for(|event| event == "ready");
    let nobody = run(teamtalk(directory).args(["bench", "login"]), "");
    let text = String::from_utf8(nobody.stderr).unwrap();
    assert!(!nobody.status.success() && text.contains("bench prepare"), "{text}");
    let prepare = ["bench", "prepare", "--users", "24", "--conf", "var/conf/dbproxyserver.conf"];
    output(teamtalk(directory).args(prepare), "");

    for workload in ["pdu --connections 2 --depth 8", "login --users 20 --concurrency 4"] {
        let seen = measured(directory, workload);
        let rate = ["requests_per_second", "logins_per_second"].map(|name| seen[name].as_f64());
        assert!(rate.into_iter().flatten().next() > Some(0.0), "{workload}: {seen}");
    }
    let seen = measured(directory, "login --kind pc --users 20 --concurrency 4 --stay");
    assert_eq!(seen["announcements_missing"], json!(0), "{seen}");
    for workload in ["message --pairs 10", "message --pairs 5 --rate 20"] {
        let seen = measured(directory, workload);
        assert!(seen["heard"].as_u64() > Some(0) && seen["heard"] == seen["sent"], "{seen}");
        let mistakes = ["refused", "lost", "doubled", "reordered"].map(|name| &seen[name]);
        assert_eq!(mistakes, [&json!(0); 4], "{workload}: {seen}");
    }
    let seen = measured(directory, "group --members 20 --senders 2 --probe");
    let mistakes = ["refused", "lost", "doubled"].map(|name| &seen[name]);
    assert_eq!(mistakes, [&json!(0); 3], "{seen}");
    assert!(seen["others meanwhile_us"]["count"].as_u64() > Some(0), "{seen}");
    let seen = measured(directory, "idle --users 20");
    assert_eq!((&seen["connections_left"], &seen["connections_lost"]), (&json!(20), &json!(0)));
    assert!(seen["server_cpu_percent"].is_number(), "what the msg_servers of the cluster used");
}
