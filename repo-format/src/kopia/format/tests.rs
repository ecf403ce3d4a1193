//! Which formats are opened and which are refused, by name.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Format, KeyBytes};
use crate::damage::Damage;
use crate::kopia::crypter::Crypter;
use crate::kopia::refusal::Refusal;
use crate::time::Timestamp;

impl KeyBytes {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

fn decode(change: impl FnOnce(&mut Value)) -> Result<Format, Refusal> {
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let mut document = json!({"format": {
        "hash": "BLAKE2B-256-128", "encryption": "AES256-GCM-HMAC-SHA256", "secret": key,
        "masterKey": key, "version": 3, "maxPackSize": 20 << 20, "indexVersion": 2,
        "epochParameters": {"Enabled": true, "EpochRefreshFrequency": 1_200_000_000_000_i64,
            "FullCheckpointFrequency": 7, "CleanupSafetyMargin": 14_400_000_000_000_i64,
            "MinEpochDuration": 86_400_000_000_000_i64, "EpochAdvanceOnCountThreshold": 20,
            "EpochAdvanceOnTotalSizeBytesThreshold": 10 << 20, "DeleteParallelism": 4},
        "enablePasswordChange": true, "splitter": "DYNAMIC-4M-BUZHASH"}});
    change(&mut document["format"]);
    Format::decode(&Zeroizing::new(document.to_string().into_bytes()))
}

#[test]
fn the_default_format_is_read_in_full() {
    let format = decode(|_| {}).unwrap();
    assert_eq!((format.version, format.index_version), (3, 2));
    assert_eq!(format.secret.expose(), b"01234567890123456789012345678901");
    assert_eq!(format.max_pack_size, 20 << 20);
    assert_eq!(format.epochs.unwrap().full_checkpoint_frequency, 7);
    assert_eq!(format!("{:?}", format.secret), "KeyBytes");
    assert!(Crypter::new(&format).is_ok());
}

#[test]
fn missing_numbers_get_the_defaults_of_old_repositories() {
    let format = decode(|format| {
        for key in ["maxPackSize", "indexVersion", "epochParameters", "splitter"] {
            format.as_object_mut().unwrap().remove(key);
        }
        format["version"] = json!(1);
    });
    let format = format.unwrap();
    assert_eq!((format.version, format.index_version), (1, 1));
    assert_eq!((format.max_pack_size, format.splitter.as_str()), (20 << 20, ""));
    assert_eq!(format.epochs, None);
    assert_eq!(decode(|f| f["epochParameters"]["Enabled"] = json!(false)).unwrap().epochs, None);
}

#[test]
fn versions_and_sizes_beyond_this_reader_are_refused() {
    for version in [0, 4, -1] {
        let refusal = decode(|format| format["version"] = json!(version)).unwrap_err();
        let what = "repository format version";
        assert_eq!(refusal, Refusal::Damage(Damage::Unsupported { what }));
    }
    for (key, value) in [
        ("indexVersion", json!(3)),
        ("maxPackSize", json!(-1)),
        ("maxPackSize", json!(2_u64 << 30)),
        ("secret", json!("")),
        ("masterKey", json!("?")),
        ("masterKey", json!("QUFB".repeat(100))),
    ] {
        assert!(decode(|format| format[key] = value.clone()).is_err(), "{key} {value}");
    }
}

#[test]
fn unknown_algorithms_are_refused_by_name() {
    let named = |kind, name: &str| Refusal::Algorithm { kind, name: name.into() };
    let format = decode(|format| format["hash"] = json!("BLAKE3-256")).unwrap();
    assert_eq!(Crypter::new(&format).unwrap_err(), named("hash", "BLAKE3-256"));
    let format = decode(|format| format["encryption"] = json!("SALSA20-HMAC")).unwrap();
    assert_eq!(Crypter::new(&format).unwrap_err(), named("encryption", "SALSA20-HMAC"));
    let ecc = |percent: i64| {
        decode(|format| {
            format["ecc"] = json!("REED-SOLOMON-CRC32");
            format["eccOverheadPercent"] = json!(percent);
        })
    };
    assert_eq!(ecc(2).unwrap_err(), named("error correction", "REED-SOLOMON-CRC32"));
    assert!(ecc(0).is_ok());
}

#[test]
fn features_that_must_be_understood_are_refused_and_others_warned_of() {
    let requires = |feature: Value| decode(|format| format["requiredFeatures"] = json!([feature]));
    assert!(requires(json!({"feature": "index-v2"})).unwrap().warnings.is_empty());
    let refusal = requires(json!({"feature": "new", "ifNotUnderstood": {"message": "get\x07 it"}}));
    let (name, message) = ("new".into(), "get it".into());
    assert_eq!(refusal.unwrap_err(), Refusal::Feature { name, message });
    let warned = requires(json!({"feature": "soft", "ifNotUnderstood": {"warn": true}})).unwrap();
    assert_eq!(warned.warnings, ["soft"]);
}

#[test]
fn an_upgrade_lock_is_announced_before_it_holds() {
    let second = 1_000_000_000_i64;
    let lock = |notice: i64| {
        let format = decode(|format| {
            format["upgradeLock"] = json!({"ownerID": "me", "message": "wait",
                "creationTime": "1970-01-01T00:01:40.5Z", "advanceNoticeDuration": notice * second,
                "ioDrainTimeout": 10 * second, "maxPermittedClockDrift": 5 * second});
        });
        format.unwrap().upgrade_lock.unwrap()
    };
    assert_eq!(lock(0).owner, "me");
    assert!(lock(0).is_locked(Timestamp::utc(0, 0)));
    let announced = lock(60);
    assert!(!announced.is_locked(Timestamp::utc(135, 499_999_999)));
    assert!(announced.is_locked(Timestamp::utc(135, 500_000_000)));
    assert!(!lock(i64::MAX / second).is_locked(Timestamp::utc(135, 0)));
}
