//! The cases of the original tool's own tests, and what it does where it has none.

use super::*;

fn parsed(text: &str) -> Location {
    Location::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    match Location::parse(text) {
        Ok(location) => panic!("{text} was taken as {location:?}"),
        Err(error) => error.to_string(),
    }
}

fn s3(endpoint: &str, bucket: &str, prefix: &str, plain_http: bool) -> Location {
    let (endpoint, bucket, prefix) = (endpoint.into(), bucket.into(), prefix.into());
    Location::S3(S3 { endpoint, plain_http, bucket, prefix })
}

fn sftp(user: &str, host: &str, port: Option<u16>, path: &str) -> Location {
    let user = Some(user.to_owned()).filter(|user| !user.is_empty());
    Location::Sftp(Sftp { user, host: host.into(), port, path: path.into() })
}

fn bucket(name: &str, prefix: &str) -> Bucket {
    Bucket { name: name.into(), prefix: prefix.into() }
}

#[test]
fn paths_are_directories_with_or_without_a_scheme() {
    for (text, path) in [
        ("local:example", "example"),
        ("local:a:b", "a:b"),
        ("dir1/dir2", "dir1/dir2"),
        ("/dir1/dir2", "/dir1/dir2"),
        ("/dir1:foobar/dir2", "/dir1:foobar/dir2"),
        (r"\dir1\foobar\dir2", r"\dir1\foobar\dir2"),
        (r"c:\dir1\foobar\dir2", r"c:\dir1\foobar\dir2"),
        ("c:/dir1/foobar/dir2", "c:/dir1/foobar/dir2"),
        ("../x:y", "../x:y"),
        ("s3", "s3"),
    ] {
        assert_eq!(parsed(text), Location::Local(path.into()), "{text}");
    }
}

#[test]
fn a_misspelt_scheme_is_not_a_directory() {
    for text in ["foobar:xxx", "foobar:/dir/dir2", "S3:host/bucket", "./x:y", "a/b:c", "c:x"] {
        assert!(refusal(text).starts_with("invalid backend"), "{text}");
    }
}

#[test]
fn a_refusal_does_not_repeat_a_password() {
    assert!(!refusal("foobar:user:secret@host").contains("secret"));
    assert!(!refusal("rest:ftp://user:secret@host/").contains("secret"));
    assert!(!refusal("rest:http://user:secret@:x/").contains("secret"));
}

#[test]
fn s3_takes_hosts_regions_and_urls() {
    for (text, want) in [
        ("s3://eu-central-1/bucketname", s3("eu-central-1", "bucketname", "", false)),
        ("s3://eu-central-1/bucketname/", s3("eu-central-1", "bucketname", "", false)),
        ("s3://eu-central-1/bucketname/a/b", s3("eu-central-1", "bucketname", "a/b", false)),
        ("s3://eu-central-1/bucketname/a/b/", s3("eu-central-1", "bucketname", "a/b", false)),
        ("s3:eu-central-1/foobar", s3("eu-central-1", "foobar", "", false)),
        ("s3:eu-central-1/foobar/a/b/", s3("eu-central-1", "foobar", "a/b", false)),
        ("s3:hostname.foo/foobar", s3("hostname.foo", "foobar", "", false)),
        ("s3:hostname.foo:90/foobar/a", s3("hostname.foo:90", "foobar", "a", false)),
        ("s3:https://hostname/foobar", s3("hostname", "foobar", "", false)),
        ("s3:https://hostname:9999/foobar/", s3("hostname:9999", "foobar", "", false)),
        ("s3:http://hostname:9999/foobar", s3("hostname:9999", "foobar", "", true)),
        ("s3:http://hostname:9999/b/a/c/", s3("hostname:9999", "b", "a/c", true)),
        ("s3:http://hostname/b/a/../c//d", s3("hostname", "b", "c/d", true)),
        ("s3:http://[::1]:9000/b", s3("[::1]:9000", "b", "", true)),
        ("s3:https://hostname/b/a%20c", s3("hostname", "b", "a c", false)),
    ] {
        assert_eq!(parsed(text), want, "{text}");
    }
    for text in ["s3://", "s3:///", "s3:////", "s3:///bucket/prefix", "s3:", "s3:httpfoo/bucket"] {
        assert!(refusal(text).starts_with("s3: "), "{text}");
    }
    assert_eq!(refusal("s3:host"), "s3: bucket name not found");
    assert_eq!(refusal("s3:http://host"), "s3: bucket name not found");
}

#[test]
fn sftp_takes_both_forms() {
    for (text, want) in [
        ("sftp://user@host/dir/subdir", sftp("user", "host", None, "dir/subdir")),
        ("sftp://host/dir/subdir", sftp("", "host", None, "dir/subdir")),
        ("sftp://host//dir/subdir", sftp("", "host", None, "/dir/subdir")),
        ("sftp://host:10022//dir/subdir", sftp("", "host", Some(10022), "/dir/subdir")),
        ("sftp://user@host:10022//dir/subdir", sftp("user", "host", Some(10022), "/dir/subdir")),
        ("sftp://user@host/dir/subdir/../other", sftp("user", "host", None, "dir/other")),
        ("sftp://user@host/dir///subdir", sftp("user", "host", None, "dir/subdir")),
        ("sftp://user@[::1]/dir", sftp("user", "::1", None, "dir")),
        ("sftp://user@[::1]:22/dir", sftp("user", "::1", Some(22), "dir")),
        ("sftp:user@host:/dir/subdir", sftp("user", "host", None, "/dir/subdir")),
        ("sftp:user@domain@host:/dir", sftp("user@domain", "host", None, "/dir")),
        ("sftp:host:../dir/subdir", sftp("", "host", None, "../dir/subdir")),
        ("sftp:user@host:dir/subdir:suffix", sftp("user", "host", None, "dir/subdir:suffix")),
        ("sftp:user@host:dir/subdir/../other", sftp("user", "host", None, "dir/other")),
        ("sftp:user@host:dir///subdir", sftp("user", "host", None, "dir/subdir")),
        ("sftp:user@host:", sftp("user", "host", None, ".")),
    ] {
        assert_eq!(parsed(text), want, "{text}");
    }
    assert!(refusal("sftp://host:dir").starts_with("sftp: "));
    assert!(refusal("sftp://host").contains("no directory"));
    assert!(refusal("sftp:host").contains("path not found"));
    assert!(refusal("sftp:host:~/dir").contains("tilde"));
}

#[test]
fn services_with_buckets_have_their_own_rules() {
    for (text, want) in [
        ("azure:container-name:/", Location::Azure(bucket("container-name", ""))),
        (
            "azure:container-name:/prefix/dir",
            Location::Azure(bucket("container-name", "prefix/dir")),
        ),
        (
            "azure:container-name:/prefix/dir/",
            Location::Azure(bucket("container-name", "prefix/dir")),
        ),
        ("gs:bucketname:/", Location::Gcs(bucket("bucketname", ""))),
        ("gs:bucketname:/prefix/dir", Location::Gcs(bucket("bucketname", "prefix/dir"))),
        ("b2:bucketname", Location::B2(bucket("bucketname", ""))),
        ("b2:bucketname:", Location::B2(bucket("bucketname", ""))),
        ("b2:bucketname:/prefix/dir", Location::B2(bucket("bucketname", "prefix/dir"))),
        ("b2:bucketname:foobar", Location::B2(bucket("bucketname", "foobar"))),
        ("swift:cnt1:/", Location::Swift(bucket("cnt1", ""))),
        ("swift:cnt2:/prefix", Location::Swift(bucket("cnt2", "prefix"))),
        ("swift:cnt3:/prefix/longer", Location::Swift(bucket("cnt3", "prefix/longer"))),
        ("rclone:local:foo:/bar", Location::Rclone("local:foo:/bar".into())),
    ] {
        assert_eq!(parsed(text), want, "{text}");
    }
    for text in [
        "azure:container",
        "gs:bucket",
        "b2:",
        "b2:short",
        "b2:bucket_name",
        "swift:cnt",
        "swift:cnt:",
        "swift:cnt:prefix",
    ] {
        refusal(text);
    }
    assert!(refusal(&format!("b2:{}", "a".repeat(51))).contains("too long"));
}

#[test]
fn rest_takes_logins_and_sockets() {
    let Location::Rest(rest) = parsed("rest:http://user:pa%20ss@localhost:1234/path") else {
        panic!("a REST server")
    };
    assert_eq!(rest.url.as_str(), "http://localhost:1234/path/");
    let login = rest.login.expect("a login");
    assert_eq!((login.user.as_str(), login.password.expose()), ("user", b"pa ss".as_slice()));

    let Location::Rest(rest) = parsed("rest:http+unix:///tmp/rest.socket:/my_backup_repo/") else {
        panic!("a REST server")
    };
    assert_eq!(rest.socket.as_deref(), Some("/tmp/rest.socket".as_ref()));
    assert_eq!((rest.url.path(), rest.login), ("/my_backup_repo/", None));
    let Location::Rest(rest) = parsed("rest:http+unix:///tmp/rest.socket") else {
        panic!("a REST server")
    };
    assert_eq!(rest.socket.as_deref(), Some("/tmp/rest.socket".as_ref()));
    assert_eq!(rest.url.path(), "/");
    for text in ["rest:host/path", "rest:", "rest:ftp://host/", "rest:http+unix://"] {
        refusal(text);
    }
}

#[test]
fn printed_locations_parse_back_and_hide_passwords() {
    for (text, printed) in [
        ("/a/b", "/a/b"),
        ("local:a:b", "local:a:b"),
        ("s3:host/bucket/a/", "s3:https://host/bucket/a"),
        ("s3:http://host:90/bucket", "s3:http://host:90/bucket"),
        ("rest:http://user:secret@host/x", "rest:http://user:***@host/x/"),
        ("rest:http://user@host/x", "rest:http://user@host/x/"),
        ("rest:https://host", "rest:https://host/"),
        ("rest:http+unix:///s:/x", "rest:http+unix:///s:/x/"),
        ("webdav:https://u:secret@host/x", "webdav:https://u:***@host/x/"),
        ("sftp:me@host:a", "sftp:me@host:a"),
        ("sftp://me@host:22//a", "sftp://me@host:22//a"),
        ("sftp://[::1]/a", "sftp://[::1]/a"),
        ("azure:c:/p/", "azure:c:/p"),
        ("gs:b:/", "gs:b:/"),
        ("b2:bucketname", "b2:bucketname:/"),
        ("swift:c:/p", "swift:c:/p"),
        ("rclone:r:p", "rclone:r:p"),
    ] {
        let location = parsed(text);
        assert_eq!(location.to_string(), printed);
        assert!(!format!("{location:?}").contains("secret"));
        if !text.contains("secret") {
            assert_eq!(parsed(printed), location, "{printed}");
        }
    }
}

#[test]
fn a_folder_in_google_drive_is_an_id_and_perhaps_a_path_below_it() {
    for (text, folder, path, shown) in [
        ("gdrive:1aB-_c", "1aB-_c", "", "gdrive:1aB-_c"),
        ("gdrive:root", "root", "", "gdrive:root"),
        ("gdrive:id:", "id", "", "gdrive:id"),
        ("gdrive:id:/", "id", "", "gdrive:id"),
        ("gdrive:id:/me/", "id", "me", "gdrive:id:me"),
        ("gdrive:id:me/too:x", "id", "me/too:x", "gdrive:id:me/too:x"),
        ("gdrive:id:../x/./y", "id", "x/y", "gdrive:id:x/y"),
    ] {
        let drive = Drive { folder: folder.into(), path: path.into() };
        assert_eq!(parsed(text), Location::Drive(drive), "{text}");
        assert_eq!(parsed(text).to_string(), shown);
        assert_eq!(parsed(shown), parsed(text));
    }
    assert!(refusal("gdrive:").contains("is not found"));
    for text in ["gdrive:https://drive.google.com/drive/folders/id", "gdrive:a'b", "gdrive:a/b"] {
        assert!(refusal(text).contains("last part of the folder's address"), "{text}");
    }
}
