//! The kernel, and what is mounted.

use std::path::Path;

use super::text;
use crate::agent;
use crate::cli::doctor::facts::{Feature, Kernel};
use crate::config::Config;
use crate::datapath::{self, features};

/// `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`.
const BPF_FILESYSTEM: i128 = 0xcafe_4a11;

pub(super) fn gather(config: &Config) -> Kernel {
    let features = features::survey().into_iter().map(|of| Feature {
        name: of.name.to_owned(),
        replaced: of.feature,
        is_there: of.is_there,
        is_needed: of.is_needed,
        otherwise: of.otherwise.to_owned(),
    });
    Kernel {
        release: features::release(),
        features: features.collect(),
        has_bpf_filesystem: is_in_bpf_filesystem(&config.datapath.pin_dir),
        cgroup: agent::unified_cgroup(),
        jit: text("/proc/sys/net/core/bpf_jit_enable").and_then(|value| value.parse().ok()),
        has_programs: datapath::has_programs(),
    }
}

/// Of a folder that is not there yet: where it would be made.
fn is_in_bpf_filesystem(folder: &Path) -> bool {
    let mut known = folder.ancestors();
    let filesystem = known.find_map(|folder| rustix::fs::statfs(folder).ok());
    filesystem.is_some_and(|of| {
        // Its type is the platform's, and signed on some.
        i128::from(of.f_type) & 0xffff_ffff == BPF_FILESYSTEM
    })
}
