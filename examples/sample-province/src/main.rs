//! `sample-province`: writes the sample province into a folder and says what came out.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use sample_province::{Options, generate};

/// Twelve months of a made-up operator in Guangdong, as the files that its platforms would send.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The folder to write into.
    #[arg(long)]
    out: PathBuf,
    /// Service numbers, all cities together.
    #[arg(long, default_value_t = Options::default().customers)]
    customers: u32,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// Also draw the planted facts as plots, into `report/`.
    #[arg(long)]
    report: bool,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to whoever called it")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options { customers: arguments.customers, seed: arguments.seed, report: arguments.report, ..Options::default() };
    let started = Instant::now();
    let mut show = |progress: sample_province::Progress| {
        eprintln!("{}/{} {} done, {} rows", progress.cities_done, progress.cities, progress.city, progress.rows);
    };
    match generate(&options, &arguments.out, &mut show) {
        Ok(summary) => {
            let (rows, megabytes, seconds) = (summary.rows, summary.bytes / 1_000_000, started.elapsed().as_secs_f64());
            println!("{rows} rows, {megabytes} MB in {} files, {seconds:.1} s: {}", summary.files.len(), arguments.out.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
