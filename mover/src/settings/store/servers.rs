//! REST servers, SSH, rclone and WebDAV.

use windlass_engine::store::{
    location::Login,
    settings::{Rclone, Rest, SecretText, Sftp, WebDav},
};

use super::{Options, Variables};
use crate::failure::Failure;

pub(super) fn rest(variables: &Variables) -> Result<Rest, Failure> {
    Ok(Rest { login: login(variables, "REST")? })
}

pub(super) fn webdav(variables: &Variables) -> Result<WebDav, Failure> {
    Ok(WebDav { login: login(variables, "WEBDAV")? })
}

/// `…_USERNAME` and `…_PASSWORD`.
fn login(variables: &Variables, kind: &str) -> Result<Option<Login>, Failure> {
    let text = |what: &str| {
        let found = variables.text(&format!("{kind}_{what}"))?;
        Ok::<_, Failure>(found.map(|(_name, text)| text).unwrap_or_default())
    };
    let (user, password) = (text("USERNAME")?, text("PASSWORD")?);
    if user.is_empty() && password.is_empty() {
        return Ok(None);
    }
    Ok(Some(Login { user, password: SecretText::new(password) }))
}

pub(super) fn sftp(options: &mut Options) -> Sftp {
    Sftp { command: options.text("command"), args: options.text("args"), password: None }
}

pub(super) fn rclone(options: &mut Options) -> Result<Rclone, Failure> {
    let defaults = Rclone::default();
    Ok(Rclone {
        program: options.text("program").unwrap_or(defaults.program),
        args: options.text("args"),
        environment: Vec::new(),
        start_patience: options.duration("timeout")?.unwrap_or(defaults.start_patience),
        files: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_a_user_or_a_password_or_both() {
        let of = |variables: &[(&str, &str)]| {
            rest(&Variables::fixed(variables)).expect("settings").login
        };
        assert_eq!(of(&[]), None);
        let login = of(&[("RESTIC_REST_USERNAME", "me"), ("RESTIC_REST_PASSWORD", "hush")]);
        assert_eq!(login.as_ref().map(|login| login.user.as_str()), Some("me"));
        assert!(!format!("{login:?}").contains("hush"));
        assert!(of(&[("RESTIC_REST_PASSWORD", "hush")]).is_some());
    }
}
