//! What the server and the way to it take by themselves: curl puts the bytes of the incompressible
//! file in pieces as large as a pack and gets them back, eight at a time.
//!
//! Invariants: nothing is cut, hashed, encrypted or written down; what is fetched is thrown away.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;

use super::{BUCKET, Data, Road, Work, server};
use crate::workspace;

const PIECE_BYTES: u64 = 16 << 20;
const AT_ONCE: &str = "8";

/// The two commands, with the pieces in `here`; `None` without curl.
pub(super) fn commands(
    road: &Road,
    data: &Data,
    here: &Path,
) -> Result<Option<[(Work, Command); 2]>, String> {
    let Some(curl) = workspace::find_on_path("curl") else { return Ok(None) };
    let pieces = here.join("pieces");
    let failed = |error: io::Error| format!("{}: {error}", pieces.display());
    let count = cut(&data.big.join("data.bin"), &pieces).map_err(failed)?;
    let command = |name: &str, line: &dyn Fn(usize) -> String| {
        let mut lines = String::new();
        for piece in 0..count {
            let url = format!("http://{}/{BUCKET}/{piece}", road.proxy.address());
            let _into_a_string = writeln!(lines, "url = \"{url}\"\n{}", line(piece));
        }
        let config = here.join(name);
        fs::write(&config, lines).map_err(failed)?;
        let mut command = Command::new(&curl);
        command.args(["--fail", "--silent", "--show-error", "--parallel", "--parallel-max"]);
        command.arg(AT_ONCE).args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]);
        command.arg(format!("{}:{}", server::KEY_ID, server::SECRET_KEY));
        command.arg("--config").arg(config);
        Ok::<_, String>(command)
    };
    let put = |piece| format!("upload-file = \"{}/{piece}\"", pieces.display());
    Ok(Some([
        (Work::BigBackup, command("put", &put)?),
        (Work::BigRestore, command("get", &|_piece| "output = \"/dev/null\"".into())?),
    ]))
}

/// Cuts a file into numbered pieces and tells how many.
fn cut(file: &Path, pieces: &Path) -> io::Result<usize> {
    fs::create_dir_all(pieces)?;
    let mut file = File::open(file)?;
    for number in 0.. {
        let mut piece = File::create(pieces.join(number.to_string()))?;
        if io::copy(&mut (&mut file).take(PIECE_BYTES), &mut piece)? < PIECE_BYTES {
            return Ok(number + 1);
        }
    }
    unreachable!("a file has an end")
}
