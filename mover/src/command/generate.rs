//! `generate` and `completion`: files for shells and for `man`, out of the definitions of the
//! command line itself.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    args::Cli,
    failure::{Failure, Outcome},
    session::Session,
};

/// Write man pages and shell completions
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Args {
    /// Write man pages to a directory
    #[arg(long, value_name = "DIRECTORY")]
    man: Option<PathBuf>,
    /// Write bash completions to a file (`-` for standard output)
    #[arg(long, value_name = "FILE")]
    bash_completion: Option<PathBuf>,
    /// Write fish completions to a file
    #[arg(long, value_name = "FILE")]
    fish_completion: Option<PathBuf>,
    /// Write zsh completions to a file
    #[arg(long, value_name = "FILE")]
    zsh_completion: Option<PathBuf>,
    /// Write PowerShell completions to a file
    #[arg(long, value_name = "FILE")]
    powershell_completion: Option<PathBuf>,
}

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let shells = [
        (Shell::Bash, &args.bash_completion),
        (Shell::Fish, &args.fish_completion),
        (Shell::Zsh, &args.zsh_completion),
        (Shell::PowerShell, &args.powershell_completion),
    ];
    if args.man.is_none() && shells.iter().all(|(_, file)| file.is_none()) {
        return Err(Failure::input(
            "nothing to generate",
            "name what to write, for example --man DIRECTORY or --bash-completion FILE",
        ));
    }
    if let Some(directory) = &args.man {
        let failed = |error| Failure::io(format!("writing to {}", directory.display()), error);
        fs::create_dir_all(directory).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
        session.output.line(&format!("wrote man pages to {}", directory.display()));
    }
    for (shell, file) in shells {
        let Some(file) = file else { continue };
        let script = script(shell);
        if file == Path::new("-") {
            session.output.raw(&script);
            continue;
        }
        let written = File::create(file).and_then(|mut file| file.write_all(&script));
        written.map_err(|error| Failure::io(format!("writing {}", file.display()), error))?;
        session.output.line(&format!("wrote {shell} completions to {}", file.display()));
    }
    Ok(Outcome::Done)
}

pub(crate) fn completion(args: CompletionArgs, session: &Session) -> Result<Outcome, Failure> {
    session.output.raw(&script(args.shell));
    Ok(Outcome::Done)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "windlass", &mut script);
    script
}
