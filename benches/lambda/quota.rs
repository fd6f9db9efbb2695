//! The processor quota of a small Lambda function, by control groups; needs root.

use std::fs;
use std::path::PathBuf;

/// Lambda gives a vCPU at 1,769 MB: 128 MB are 7.2 % of one, in turns of 20 ms.
const PERIOD: u32 = 20_000;
const QUOTA: u32 = PERIOD * 128 / 1769;

/// A control group with the quota; it ends with this value.
pub struct Quota(PathBuf);

impl Quota {
    /// Version 2 where it has the processor, else version 1.
    pub fn new() -> Result<Self, String> {
        let name = format!("gaia-bench-{}", std::process::id());
        let (v2, v1) = (
            PathBuf::from("/sys/fs/cgroup"),
            PathBuf::from("/sys/fs/cgroup/cpu"),
        );
        let controllers = fs::read_to_string(v2.join("cgroup.subtree_control")).unwrap_or_default();
        let (group, limits) = if controllers
            .split_whitespace()
            .any(|controller| controller == "cpu")
        {
            (
                v2.join(name),
                vec![("cpu.max", format!("{QUOTA} {PERIOD}"))],
            )
        } else {
            (
                v1.join(name),
                vec![
                    ("cpu.cfs_period_us", PERIOD.to_string()),
                    ("cpu.cfs_quota_us", QUOTA.to_string()),
                ],
            )
        };
        let failed = |error| format!("{}: {error}", group.display());
        fs::create_dir(&group).map_err(failed)?;
        for (file, limit) in limits {
            if let Err(error) = fs::write(group.join(file), limit) {
                let _ = fs::remove_dir(&group);
                return Err(failed(error));
            }
        }
        Ok(Self(group))
    }

    /// From now on the process, with all its threads, runs under the quota.
    pub fn put(&self, process_id: u32) {
        fs::write(self.0.join("cgroup.procs"), process_id.to_string())
            .expect("a process in the group");
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
