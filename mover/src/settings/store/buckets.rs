//! Azure, Google Cloud Storage and Drive, Backblaze B2 and Swift: the variables of the services' own tools.

use std::path::PathBuf;

use windlass_engine::store::settings::{
    Azure, AzureCredentials, B2, Drive, DriveCredentials, Gcs, GcsCredentials, SecretText, Swift,
};

use super::{Options, Variables, secret};
use crate::failure::Failure;

pub(super) fn azure(options: &mut Options, variables: &Variables) -> Result<Azure, Failure> {
    let yes = |text: String| matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True");
    if options.text("access-tier").is_some() {
        return Err(Failure::input(
            "azure.access-tier is not supported by this build",
            "leave it out, and set the default tier of the account or a lifecycle rule instead",
        ));
    }
    Ok(Azure {
        account: variables.plain("AZURE_ACCOUNT_NAME")?,
        endpoint_suffix: variables.plain("AZURE_ENDPOINT_SUFFIX")?,
        credentials: AzureCredentials {
            key: secret(variables, "AZURE_ACCOUNT_KEY")?,
            sas: secret(variables, "AZURE_ACCOUNT_SAS")?,
            tenant: variables.plain("AZURE_TENANT_ID")?,
            client: variables.plain("AZURE_CLIENT_ID")?,
            client_secret: secret(variables, "AZURE_CLIENT_SECRET")?,
            federated_token_file: variables.get("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from),
            authority: variables.plain("AZURE_AUTHORITY_HOST")?,
            command_line: variables.plain("AZURE_FORCE_CLI_CREDENTIAL")?.is_some_and(yes),
        },
    })
}

pub(super) fn gcs(options: &mut Options, variables: &Variables) -> Result<Gcs, Failure> {
    Ok(Gcs {
        project: variables.plain("GOOGLE_PROJECT_ID")?,
        region: options.text("region"),
        endpoint: variables.plain("STORAGE_EMULATOR_HOST")?,
        credentials: GcsCredentials {
            access_token: secret(variables, "GOOGLE_ACCESS_TOKEN")?,
            key: None,
            file: variables.get("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from),
            home: usual_google_file(variables),
            anonymous: false,
        },
    })
}

/// Google Drive: the same credentials.
pub(super) fn drive(options: &mut Options, variables: &Variables) -> Result<Drive, Failure> {
    Ok(Drive {
        endpoint: options.text("endpoint"),
        read_only: false,
        credentials: DriveCredentials {
            access_token: secret(variables, "GOOGLE_ACCESS_TOKEN")?,
            key: None,
            file: variables.get("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from),
            usual_file: usual_google_file(variables),
        },
    })
}

/// Where `gcloud auth application-default login` leaves what it was given.
fn usual_google_file(variables: &Variables) -> Option<PathBuf> {
    let home = PathBuf::from(variables.get("HOME")?);
    Some(home.join(".config/gcloud/application_default_credentials.json"))
}

pub(super) fn b2(options: &mut Options, variables: &Variables) -> Result<B2, Failure> {
    let usual = B2::default();
    Ok(B2 {
        key_id: variables.plain("B2_ACCOUNT_ID")?,
        key: secret(variables, "B2_ACCOUNT_KEY")?,
        account_service: options.text("endpoint").unwrap_or(usual.account_service),
    })
}

/// The first variable of each pair or more that is set, as the versions of the service name them.
pub(super) fn swift(variables: &Variables) -> Result<Swift, Failure> {
    let first = |names: &[&str]| {
        for name in names {
            if let Some(text) = variables.plain(name)? {
                return Ok::<_, Failure>(Some(text));
            }
        }
        Ok(None)
    };
    Ok(Swift {
        auth_url: first(&["OS_AUTH_URL", "ST_AUTH"])?,
        region: first(&["OS_REGION_NAME"])?,
        user: first(&["OS_USERNAME", "ST_USER"])?,
        user_id: first(&["OS_USER_ID"])?,
        password: first(&["OS_PASSWORD", "ST_KEY"])?.map(SecretText::new),
        user_domain: first(&["OS_USER_DOMAIN_NAME"])?,
        user_domain_id: first(&["OS_USER_DOMAIN_ID"])?,
        project: first(&["OS_PROJECT_NAME", "OS_TENANT_NAME"])?,
        project_id: first(&["OS_TENANT_ID"])?,
        project_domain: first(&["OS_PROJECT_DOMAIN_NAME"])?,
        project_domain_id: first(&["OS_PROJECT_DOMAIN_ID"])?,
        trust_id: first(&["OS_TRUST_ID"])?,
        application_id: first(&["OS_APPLICATION_CREDENTIAL_ID"])?,
        application_name: first(&["OS_APPLICATION_CREDENTIAL_NAME"])?,
        application_secret: secret(variables, "OS_APPLICATION_CREDENTIAL_SECRET")?,
        storage_url: first(&["OS_STORAGE_URL"])?,
        auth_token: secret(variables, "OS_AUTH_TOKEN")?,
        container_policy: first(&["SWIFT_DEFAULT_CONTAINER_POLICY"])?,
    })
}

#[cfg(test)]
mod tests {
    use windlass_engine::store::location::Scheme;

    use super::*;
    use crate::settings::options::Extended;

    #[test]
    fn swift_takes_the_names_of_every_version() {
        let of =
            |variables: &[(&str, &str)]| swift(&Variables::fixed(variables)).expect("settings");
        let first = of(&[("ST_AUTH", "a"), ("ST_USER", "u"), ("ST_KEY", "k")]);
        assert_eq!((first.auth_url.as_deref(), first.user.as_deref()), (Some("a"), Some("u")));
        assert!(first.password.is_some());
        let both = of(&[("OS_PROJECT_NAME", "p"), ("OS_TENANT_NAME", "t"), ("OS_TENANT_ID", "i")]);
        assert_eq!((both.project.as_deref(), both.project_id.as_deref()), (Some("p"), Some("i")));
    }

    #[test]
    fn googles_own_command_leaves_credentials_where_they_are_looked_for() {
        let variables = Variables::fixed(&[("HOME", "/home/me")]);
        let mut options = Options::of(Scheme::Gcs, &Extended::default());
        let gcs = gcs(&mut options, &variables).expect("settings");
        let file = "/home/me/.config/gcloud/application_default_credentials.json";
        assert_eq!(gcs.credentials.home.as_deref(), Some(file.as_ref()));
        let mut options = Options::of(Scheme::Drive, &Extended::default());
        let drive = drive(&mut options, &variables).expect("settings");
        assert_eq!(drive.credentials.usual_file.as_deref(), Some(file.as_ref()));
    }

    #[test]
    fn secrets_do_not_show() {
        let variables = Variables::fixed(&[
            ("AZURE_ACCOUNT_NAME", "name"),
            ("AZURE_ACCOUNT_KEY", "hush"),
            ("AZURE_FORCE_CLI_CREDENTIAL", "true"),
            ("B2_ACCOUNT_KEY", "hush"),
        ]);
        let mut options = Options::of(Scheme::Azure, &Extended::default());
        let azure = azure(&mut options, &variables).expect("settings");
        assert!(azure.credentials.command_line && azure.account.as_deref() == Some("name"));
        let mut options = Options::of(Scheme::B2, &Extended::default());
        let b2 = b2(&mut options, &variables).expect("settings");
        assert!(!format!("{azure:?}{b2:?}").contains("hush"));
    }
}
