//! `RESTIC_FEATURES`: what restic is told to do differently.
//!
//! Invariant: a switch that would change what is stored is followed or refused, never passed over.

use super::environment::{self, Variables};
use crate::failure::Failure;

/// Switches that change nothing here: what they turn on is so anyway, or is about how restic talks
/// to its stores.
const WITHOUT_EFFECT: [&str; 6] = [
    "backend-error-redesign",
    "deprecate-legacy-index",
    "deprecate-s3-legacy-layout",
    "explicit-s3-anonymous-auth",
    "s3-restore",
    "safe-forget-keep-tags",
];

/// Refuses what is not known and what is not possible.
pub(super) fn check(variables: &Variables) -> Result<(), Failure> {
    let Some((name, text)) = variables.text("FEATURES")? else { return Ok(()) };
    for switch in text.split(',') {
        let (feature, value) = switch.split_once('=').unwrap_or((switch, "true"));
        let is_on = environment::parse_bool(value).ok_or_else(|| {
            Failure::input(
                format!("invalid value for {name}: {switch:?}"),
                "write true or false behind the equals sign",
            )
        })?;
        match feature {
            "device-id-for-hardlinks" if is_on => {
                return Err(Failure::input(
                    format!("{name}: {feature} is not supported"),
                    "unset it: device numbers of files without further links are kept here, as \
                     restic does without it",
                ));
            }
            "device-id-for-hardlinks" => {}
            known if WITHOUT_EFFECT.contains(&known) => {}
            _ => {
                return Err(Failure::input(
                    format!("{name}: unknown feature flag {feature:?}"),
                    "`restic features` lists those there are",
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_known_or_refused() {
        let check = |text: &str| check(&Variables::fixed(&[("RESTIC_FEATURES", text)]));
        for fine in ["s3-restore", "s3-restore=1,backend-error-redesign=false"] {
            check(fine).expect(fine);
        }
        check("device-id-for-hardlinks=false").expect("what is done anyway");
        for wrong in ["device-id-for-hardlinks", "no-such", "s3-restore=maybe", "s3-restore,"] {
            check(wrong).expect_err(wrong);
        }
    }
}
