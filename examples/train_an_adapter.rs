//! Train a LoRA adapter on demonstrations: `wick sft` as a library call.
//!
//! Run it in the repository: `cargo run --release --example train_an_adapter`

use anyhow::Result;
use run::RunArgs;
use std::path::Path;

const RUN: &str = "runs/examples/adapter";

fn main() -> Result<()> {
    ops::prepare_process().map_err(anyhow::Error::msg)?;

    // Settings are a TOML file with overrides, as on the command line.
    let overrides = ["train.max_steps=30", "data.max_rows=1000", "samples.n=2"].map(String::from);
    let config: sft::Config =
        run::load_config(Some(Path::new("configs/tiny/sft.toml")), &overrides)?;
    config.check()?;

    // A run directory is never overwritten, so an earlier one is deleted first.
    let _ = std::fs::remove_dir_all(RUN);
    let args = RunArgs {
        run: Some(RUN.into()),
        ..RunArgs::default()
    };
    sft::run(&args, &config)?;

    // Everything about the run can be read back from its directory.
    let saved = run::open_saved_run(Path::new(RUN))?.expect("a run directory");
    println!("{RUN}: {}, trained by {}", saved.status(), saved.stage);
    for row in run::read_metrics(Path::new(RUN))? {
        if let Some(loss) = row.metrics.get("eval/loss") {
            println!("step {:>3}: held-out loss {loss:.3}", row.step);
        }
    }
    println!("{RUN}/adapter is a LoRA adapter in PEFT's format; sample_from_it uses it next");
    Ok(())
}
