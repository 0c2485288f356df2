//! Development commands: `cargo xtask …`.
//!
//! Each command does its own set-up, says what it installs and why, and never does it twice.

mod bench;
mod checks;
mod demo;
mod ebpf;
mod fixtures;
mod fuzz;
mod house;
mod image;
mod run;
mod setup;
mod soak;
mod threats;
mod truth;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development commands of l7d")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure against other proxies, in the same run on the same work
    Bench {
        /// What to measure
        #[arg(value_parser = ["http1", "http2", "grpc", "dns", "cluster", "export", "replay", "tap", "policy", "records", "relay", "api"])]
        what: String,
        /// Only show, and measure so shortly that figures are rough: `records` alone can
        #[arg(long)]
        quick: bool,
    },
    /// Build everything and show it on real traffic in network namespaces
    Demo {
        /// Leave pods and agent running until Ctrl-C, to explore
        #[arg(long)]
        keep: bool,
    },
    /// Build the kernel programs
    Ebpf,
    /// Record the captures in testdata/pcaps from real programs in network namespaces
    Fixtures {
        /// Which ones; all without names
        names: Vec<String>,
        /// Record nothing: check that tshark reads in the captures what their manifest says
        #[arg(long, conflicts_with = "names")]
        check: bool,
        /// Record nothing: write down what tshark sees in the captures, in testdata/truth
        #[arg(long, conflicts_with_all = ["names", "check"])]
        truth: bool,
    },
    /// Look for inputs that break a property of a reader; a folder of first inputs is made of testdata
    Fuzz {
        /// Which ones; all without names
        targets: Vec<String>,
        /// How long each one runs
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Print the map of the code with its figures, and check the import rules
    House,
    /// Make the image's root and an OCI layout of it, with a static binary and a bill of materials
    Image(image::Image),
    /// Install what is missing, and say why
    Setup,
    /// Run for long what tests run shortly: faults, floods, drawn packets, load
    Soak(soak::Asked),
    /// Everything that CI checks: house, format, lints, documentation, all tests
    Test {
        /// Only the tests that follow a cluster: those that need none of the double's own faults run against
        /// the one that `$KUBECONFIG` names
        #[arg(long)]
        cluster: bool,
    },
    /// Compare what replay sees in captures with what another dissector saw in them
    Truth {
        /// Folder of others' captures beside our own: manifest.tsv, truth/ and the captures
        /// [default: $`L7D_CORPORA`]
        folder: Option<std::path::PathBuf>,
        /// So many captures that differ are shown
        #[arg(long, default_value_t = 20)]
        show: usize,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Bench { what, .. } if what == "cluster" => bench::cluster::run(),
        Command::Bench { what, .. } if what == "export" => bench::export::run(),
        Command::Bench { what, .. } if what == "replay" => bench::replay::run(),
        Command::Bench { what, .. } if what == "http2" => bench::http2::run(),
        Command::Bench { what, .. } if what == "grpc" => bench::grpc::run(),
        Command::Bench { what, .. } if what == "dns" => bench::dns::run(),
        Command::Bench { what, .. } if what == "tap" => bench::tap::run(),
        Command::Bench { what, .. } if what == "api" => bench::api::run(),
        Command::Bench { what, .. } if what == "policy" => bench::policy::run(),
        Command::Bench { what, quick } if what == "records" => bench::records::run(quick),
        Command::Bench { what, .. } if what == "relay" => bench::relay::run(),
        Command::Bench { .. } => bench::http1(),
        Command::Demo { keep } => demo::run(keep),
        Command::Ebpf => {
            setup::toolchain()?;
            ebpf::build()
        }
        Command::Fixtures { check: true, .. } => fixtures::check(),
        Command::Fixtures { truth: true, .. } => truth::write(),
        Command::Fixtures { names, .. } => {
            fixtures::record(&names)?;
            truth::write()
        }
        Command::Fuzz { targets, seconds } => fuzz::run(&targets, seconds),
        Command::House => house::run(),
        Command::Image(asked) => image::run(&asked),
        Command::Setup => setup::everything(),
        Command::Soak(asked) => soak::run(&asked),
        Command::Test { cluster: true } => checks::run_in_cluster(),
        Command::Test { .. } => checks::run(),
        Command::Truth { folder, show } => truth::run(folder, show),
    }
}
