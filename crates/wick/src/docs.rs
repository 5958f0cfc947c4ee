//! Completion scripts and man pages, generated from the command line itself.

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;
use std::path::Path;

/// The completion script of `wick` for a shell.
pub fn completions(mut command: Command, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "wick", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// wick.1 as text.
pub(crate) fn man_page(command: Command) -> Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes wick.1 and a page for every subcommand into `dir`; returns a line that names it.
pub fn man_pages(command: Command, dir: &Path) -> Result<String> {
    let shown = dir.display();
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {shown}"))?;
    clap_mangen::generate_to(command, dir).with_context(|| format!("cannot write into {shown}"))?;
    Ok(format!("man pages written into {shown}\n"))
}
