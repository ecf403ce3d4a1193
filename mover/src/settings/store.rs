//! How a repository is reached: options, variables and files into what the engine is told.
//!
//! Invariants: names and meanings of variables are those of the service's own tools and of restic;
//! an option beats a variable.

mod buckets;
mod s3;
mod servers;

use std::num::NonZeroUsize;

use windlass_engine::store::{
    location::{Location, Scheme},
    settings::{SecretText, StoreSettings},
};

use super::{environment::Variables, options::Options, transport::Transport};
use crate::failure::Failure;

/// Reads all that matters for this location.
pub(crate) fn settings(
    location: &Location,
    transport: &Transport,
    variables: &Variables,
) -> Result<StoreSettings, Failure> {
    let scheme = location.scheme();
    let mut options = Options::of(scheme, &transport.extended);
    let mut settings = StoreSettings {
        connections: connections(&mut options)?,
        limits: transport.limits,
        http: transport.http.clone(),
        ..StoreSettings::default()
    };
    match scheme {
        Scheme::Local => directory(&mut options)?,
        Scheme::S3 => {
            settings.patience.tries = s3::tries(&mut options)?;
            settings.s3 = s3::settings(&mut options, variables)?;
        }
        Scheme::Azure => settings.azure = buckets::azure(&mut options, variables)?,
        Scheme::Gcs => settings.gcs = buckets::gcs(&mut options, variables)?,
        Scheme::B2 => settings.b2 = buckets::b2(&mut options, variables)?,
        Scheme::Swift => settings.swift = buckets::swift(variables)?,
        Scheme::Rest => settings.rest = servers::rest(variables)?,
        Scheme::Sftp => settings.sftp = servers::sftp(&mut options),
        Scheme::Rclone => settings.rclone = servers::rclone(&mut options)?,
        Scheme::WebDav => settings.webdav = servers::webdav(variables)?,
        Scheme::Drive => settings.drive = buckets::drive(&mut options, variables)?,
    }
    options.end()?;
    Ok(settings)
}

fn connections(options: &mut Options) -> Result<Option<NonZeroUsize>, Failure> {
    let parse = |text: &str| text.parse::<usize>().ok().and_then(NonZeroUsize::new);
    options.parsed("connections", "a number above 0", parse)
}

fn directory(options: &mut Options) -> Result<(), Failure> {
    // The only layout that restic still knows.
    let layout = |text: &str| (text == "default").then_some(());
    options.parsed("layout", "default, or leave it out", layout).map(drop)
}

/// A variable that holds a secret.
fn secret(variables: &Variables, name: &str) -> Result<Option<SecretText>, Failure> {
    Ok(variables.plain(name)?.map(SecretText::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::TransportArgs;

    #[test]
    fn directories_know_their_own_options() {
        let check = |option: &str| {
            let args = TransportArgs { option: vec![option.into()], ..<_>::default() };
            let variables = Variables::fixed(&[]);
            let transport = Transport::new(&args, &variables).expect("settings");
            settings(&Location::Local("/a".into()), &transport, &variables).map(drop)
        };
        for fine in ["local.connections=5", "local.layout=default", "s3.anything=x"] {
            check(fine).expect(fine);
        }
        for wrong in
            ["local.connections=0", "local.connections=x", "local.layout=s3legacy", "local.x"]
        {
            check(wrong).expect_err(wrong);
        }
    }
}
