//! `wick plan`: the plan of whichever stage a config is for.

use crate::stage::Stage;
use anyhow::Result;
use run::PlanArgs;

/// Predict the memory, disk, tokens and steps of a run, without loading a weight
///
/// The stage comes from the config: one with [algorithm] is for rlhf, one with [reward] for rm, one
/// with [samples] or `method` for sft; else from the name of the file, sft.toml or rm.toml. Name
/// the stage if both leave it open.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wick plan --config configs/tiny/ppo.toml --set train.micro_batch_tokens=512
  wick plan --config configs/llama-7b/sft.toml --set model.source=models/llama-7b --memory-gb 24
  wick plan sft --config my.toml --json

A model directory needs config.json and the tokenizer, no weights.
Exits with 2 and one line if the run cannot fit; the line suggests the cheapest change.")]
pub(crate) struct PlanCommand {
    /// Stage of the config; inferred from its keys if omitted
    stage: Option<Stage>,
    #[command(flatten)]
    args: PlanArgs,
}

impl PlanCommand {
    pub fn execute(&self) -> Result<()> {
        let args = &self.args;
        let stage = match self.stage {
            Some(stage) => stage,
            None => Stage::of(args.config.as_deref(), &args.sets)?,
        };
        match stage {
            Stage::Sft => sft::print_plan(args),
            Stage::Rm => reward_model::print_plan(args),
            Stage::Rlhf => esrl_rlhf::print_plan(args),
        }
    }
}
