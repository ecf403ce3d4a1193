//! Which blobs are read, told as lists of names.

use proptest::prelude::*;

use super::{ReadSet, read_set, read_set_without_epochs};
use crate::kopia::id::BlobId;

fn blobs(names: &[&str]) -> Vec<BlobId> {
    names.iter().map(|name| BlobId::parse(name).unwrap()).collect()
}

fn check_read_set(names: &[&str], expected: &[&str]) -> ReadSet {
    let mut set = read_set(&blobs(names)).unwrap();
    set.blobs.sort();
    let mut expected = blobs(expected);
    expected.sort();
    assert_eq!(set.blobs, expected);
    let mut backwards = blobs(names);
    backwards.reverse();
    let mut again = read_set(&backwards).unwrap();
    again.blobs.sort();
    assert_eq!(again, set, "the order of names changed the outcome");
    set
}

#[test]
fn a_young_repository_is_read_from_what_clients_wrote() {
    let names = ["xn0_aa-s1-c1", "xn0_bb-s2-c1", "xn1_cc-s3-c1", "xn2_dd-s4-c1"];
    let set = check_read_set(&names, &names[..3]);
    assert_eq!((set.write_epoch, set.deletion_watermark), (0, None));
}

#[test]
fn settled_epochs_are_read_compacted_and_unsettled_ones_as_written() {
    let names = [
        "xe1",
        "xe2",
        "xe3",
        "xn0_a-s1-c1",
        "xn1_b-s1-c1",
        "xn2_c-s1-c1",
        "xn3_d-s1-c1",
        "xn4_e-s1-c1",
        "xs0_f-s1-c1",
        "xs1_g-s1-c1",
        "xs2_h-s1-c1",
    ];
    let expected = ["xs0_f-s1-c1", "xs1_g-s1-c1", "xn2_c-s1-c1", "xn3_d-s1-c1", "xn4_e-s1-c1"];
    assert_eq!(check_read_set(&names, &expected).write_epoch, 3);
}

#[test]
fn incomplete_compactions_do_not_count() {
    let names =
        ["xe5", "xn0_a-s1-c1", "xs0_b-s9-c3", "xs0_c-s9-c3", "xr0_3_d-s7-c2", "xn1_e-s1-c1"];
    check_read_set(&names, &["xn0_a-s1-c1", "xn1_e-s1-c1"]);
    let names = ["xe5", "xn0_a-s1-c1", "xs0_b-s9-c2", "xs0_c-s9-c2", "xs0_d-s8-c3"];
    check_read_set(&names, &["xs0_b-s9-c2", "xs0_c-s9-c2"]);
}

#[test]
fn the_chain_of_ranges_that_reaches_furthest_replaces_all_below() {
    let names = [
        "xe20",
        "xr0_6_a-s1-c1",
        "xr7_13_b-s1-c2",
        "xr7_13_c-s1-c2",
        "xr0_9_d-s1-c1",
        "xr15_17_e-s1-c1",
        "xn3_f-s1-c1",
        "xs13_g-s1-c1",
        "xs14_h-s1-c1",
        "xn19_i-s1-c1",
    ];
    let expected =
        ["xr0_6_a-s1-c1", "xr7_13_b-s1-c2", "xr7_13_c-s1-c2", "xs14_h-s1-c1", "xn19_i-s1-c1"];
    check_read_set(&names, &expected);
}

#[test]
fn of_chains_that_reach_equally_far_the_one_with_fewer_links_is_read() {
    let names = ["xe20", "xr0_3_a-s1-c1", "xr4_9_b-s1-c1", "xr0_9_c-s1-c1"];
    check_read_set(&names, &["xr0_9_c-s1-c1"]);
}

#[test]
fn ranges_not_connected_to_epoch_zero_or_covering_it_alone_are_ignored() {
    check_read_set(&["xe9", "xr1_6_a-s1-c1", "xn0_b-s1-c1"], &["xn0_b-s1-c1"]);
    check_read_set(&["xe9", "xr0_0_a-s1-c1", "xn0_b-s1-c1"], &["xn0_b-s1-c1"]);
}

#[test]
fn the_newest_watermark_counts() {
    let set =
        check_read_set(&["xw1700000000", "xw1600000000", "xwx", "xn0_a-s1-c1"], &["xn0_a-s1-c1"]);
    assert_eq!(set.deletion_watermark, Some(1_700_000_000));
}

#[test]
fn names_that_fit_no_pattern_are_ignored() {
    let max = u64::MAX.to_string();
    let names = [
        "x",
        "xz0_a",
        "xn_a",
        "xn0",
        "xr5_2_a-s1-c1",
        "xr0_a",
        "xe",
        "xe-1",
        "xn99999999999999999999_a",
    ];
    check_read_set(&names, &[]);
    let set = check_read_set(&[&format!("xe{max}"), &format!("xr0_{max}_a-s1-c1")], &[]);
    assert_eq!(set.write_epoch, u64::MAX);
}

#[test]
fn repositories_without_epochs_are_read_from_all_n_blobs_but_the_poison() {
    let poison = "n00000000000000000000000000000000-repository_unreadable";
    let names = blobs(&["n12-s1", poison, "m34", "xn0_a-s1-c1", "n56"]);
    assert_eq!(read_set_without_epochs(&names).unwrap().blobs, blobs(&["n12-s1", "n56"]));
}

proptest! {
    #[test]
    fn any_names_give_a_read_set_without_repeats(
        names in prop::collection::vec("x[nsrew]([0-9]{1,2}_){0,2}[ab](-s[12]-c[12])?", 0..30),
    ) {
        let mut names: Vec<_> = names.iter().map(|name| BlobId::parse(name).unwrap()).collect();
        names.sort();
        names.dedup();
        let set = read_set(&names).unwrap();
        let mut unique = set.blobs.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), set.blobs.len());
        prop_assert!(set.blobs.iter().all(|blob| names.contains(blob)));
    }
}
