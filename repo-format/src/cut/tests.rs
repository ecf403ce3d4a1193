//! Cuts of the real tools, and every way of cutting against every other.

use std::sync::LazyLock;

use proptest::prelude::*;
use windlass_lanes::sha256::digest_many;

use super::resolve::Resolver;
use super::*;

const SIZES: [(&str, usize); 7] = [
    ("128K", 128 << 10),
    ("256K", 256 << 10),
    ("512K", 512 << 10),
    ("1M", 1 << 20),
    ("2M", 2 << 20),
    ("4M", 4 << 20),
    ("8M", 8 << 20),
];

/// 24 MiB of SHA-256(i as eight little-endian bytes) for i = 0, 1, 2, ...
static VECTOR: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let numbers: Vec<[u8; 8]> = (0..24 << 15).map(u64::to_le_bytes).collect();
    let numbers: Vec<&[u8]> = numbers.iter().map(|number| &number[..]).collect();
    let mut digests = Vec::new();
    digest_many(&numbers, &mut digests);
    digests.concat()
});

fn restic() -> Cutter {
    Cutter::rabin(Polynomial::from_hex("265223f8e828b9").unwrap())
}

fn kopia(name: &str) -> Cutter {
    Cutter::kopia(name).unwrap_or_else(|| panic!("{name}"))
}

fn chunks(cutter: &Cutter, mut data: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !data.is_empty() {
        let length = cutter.next(data, true).unwrap();
        lengths.push(length);
        data = &data[length..];
    }
    lengths
}

#[track_caller]
fn check_vector(cutter: &Cutter, expected: &[usize]) {
    let found = chunks(cutter, &VECTOR);
    assert_eq!(found[..expected.len()], *expected);
    assert_eq!(found.iter().sum::<usize>(), VECTOR.len());
    for length in &found[..found.len() - 1] {
        assert!((cutter.min()..=cutter.max()).contains(length));
    }
}

#[test]
fn the_vector_is_the_one_the_tools_were_given() {
    let mut digests = Vec::new();
    digest_many(&[&VECTOR], &mut digests);
    let hex: String = digests[0].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "d8c9e68ed742b54766f596628301cdc9f67b29143b0f1bba2316025c89246f3e");
}

#[test]
fn restic_cuts_the_vector_here() {
    let expected = [
        643367, 1430300, 2684423, 1416576, 5953304, 679984, 906100, 525145, 542845, 725111,
        1076361, 1796386, 1378247, 2708213, 2271328, 428134,
    ];
    check_vector(&restic(), &expected);
    assert_eq!(chunks(&restic(), &VECTOR).len(), expected.len());
}

#[test]
fn kopia_cuts_the_vector_here() {
    let buzhash_4m = [7561258, 3145347, 8388608, 3458236, 2612375];
    check_vector(&kopia("DYNAMIC-4M-BUZHASH"), &buzhash_4m);
    check_vector(&kopia("DYNAMIC"), &buzhash_4m);
    check_vector(&kopia(splitter::DEFAULT), &buzhash_4m);
    check_vector(
        &kopia("DYNAMIC-1M-BUZHASH"),
        &[
            1009336, 1959403, 1823944, 1010086, 1121637, 636852, 2097152, 939926, 1714382, 2097152,
            2097152, 1554354, 588479, 1163714, 1096995, 749142, 893743, 1406980, 1205395,
        ],
    );
    check_vector(
        &kopia("DYNAMIC-128K-BUZHASH"),
        &[
            259127, 146709, 136437, 76078, 262144, 71117, 241300, 96596, 96233, 262144, 177864,
            177072,
        ],
    );
    check_vector(
        &kopia("DYNAMIC-1M-RABINKARP"),
        &[
            689811, 2097152, 1580575, 1022194, 616370, 1305677, 1619726, 895073, 1307558, 768550,
            2097152, 565070, 1825495, 760900, 2097152, 2097152, 2097152, 1723065,
        ],
    );
    check_vector(&kopia("DYNAMIC-4M-RABINKARP"), &[7785978, 6214771, 8388608, 2776467]);
    check_vector(&kopia("FIXED"), &[4 << 20; 6]);
    check_vector(&kopia("FIXED-8M"), &[8 << 20; 3]);
}

#[test]
fn every_splitter_kopia_knows_has_its_lengths_and_no_other_name_is_taken() {
    for (name, average) in SIZES {
        for hash in ["BUZHASH", "RABINKARP"] {
            let cutter = kopia(&format!("DYNAMIC-{name}-{hash}"));
            assert_eq!((cutter.min(), cutter.max()), (average / 2, average * 2));
        }
        let cutter = kopia(&format!("FIXED-{name}"));
        assert_eq!((cutter.min(), cutter.max()), (average, average));
    }
    for name in
        ["", "FIXED-", "FIXED-16M", "fixed", "DYNAMIC-4M", "DYNAMIC-4M-BUZHASH2", "DYNAMIC-"]
    {
        assert!(Cutter::kopia(name).is_none(), "{name:?}");
    }
}

#[test]
fn fastcdc_cuts_where_its_own_iterator_does() {
    let params = FastCdcParams::default();
    let expected: Vec<usize> = ::fastcdc::v2020::FastCDC::new(&VECTOR, 512 << 10, 1 << 20, 8 << 20)
        .map(|chunk| chunk.length)
        .collect();
    assert!(expected.len() > 10);
    assert_eq!(chunks(&Cutter::fast_cdc(params), &VECTOR), expected);
    assert_eq!(FastCdcParams::new(512 << 10, 1 << 20, 8 << 20), Ok(params));
    for (min, average, max) in
        [(62, 256, 1024), (65, 256, 1024), (512, 256, 1024), (64, 4096, 1024), (64, 256, 1 << 25)]
    {
        assert!(FastCdcParams::new(min, average, max).is_err());
    }
}

#[test]
fn a_segment_without_the_bytes_before_it_is_not_searched() {
    let cutter = restic();
    assert!(cutter.candidates(&VECTOR[37..1000], 63, 100).is_some());
    assert!(cutter.candidates(&VECTOR[38..1000], 62, 100).is_none());
    assert!(cutter.candidates(&VECTOR[..1000], 20, 20).is_some());
    assert!(cutter.candidates(&VECTOR[1..1000], 19, 20).is_none());
}

#[test]
fn zeros_are_cut_as_soon_as_they_may_be() {
    let zeros = vec![0; 9 << 20];
    assert_eq!(restic().next(&zeros, false), Some(512 << 10));
    assert_eq!(kopia("DYNAMIC-4M-BUZHASH").next(&zeros, false), Some(2 << 20));
    assert_eq!(kopia("DYNAMIC-4M-RABINKARP").next(&zeros, false), Some(2 << 20));
}

#[test]
fn data_without_candidates_is_cut_at_the_maximum() {
    // No constant byte but zero hashes to zero here.
    let ones = vec![1; 9 << 20];
    let cutter = restic();
    assert_eq!(cutter.next(&ones, false), Some(8 << 20));
    assert_eq!(cutter.next(&ones[..8 << 20], false), Some(8 << 20));
    assert_eq!(cutter.next(&ones[..(8 << 20) - 1], false), None);
    assert_eq!(cutter.next(&ones[..(8 << 20) - 1], true), Some((8 << 20) - 1));
}

#[test]
fn an_empty_stream_has_no_chunk_and_a_short_one_has_one() {
    for cutter in [restic(), kopia("FIXED"), Cutter::fast_cdc(FastCdcParams::default())] {
        assert_eq!(cutter.next(&[], true), None);
        assert_eq!(cutter.next(&[], false), None);
        assert_eq!(cutter.next(&[0], true), Some(1));
        assert_eq!(cutter.next(&[0], false), None);
    }
}

/// Cutters with chunks so short that many fit into a small stream.
fn small_cutters() -> Vec<Cutter> {
    let polynomial = Polynomial::from_hex("3da3358b4dc173").unwrap();
    let lengths = Lengths::new(1000, 1 << 10, 4000).unwrap();
    vec![
        Cutter::rabin_with(polynomial, lengths),
        Cutter::rabin_with(polynomial, Lengths::new(64, 64, 100).unwrap()),
        Cutter::rabin_with(polynomial, Lengths::new(70, 1 << 14, 200_000).unwrap()),
        Cutter::Buzhash(Arc::new(Buzhash::new(10)), lengths),
        Cutter::Fixed(NonZeroUsize::new(777).unwrap()),
        Cutter::fast_cdc(FastCdcParams::new(256, 1024, 4096).unwrap()),
    ]
}

/// Random bytes with runs of zeros and of a short period, where candidates crowd.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = (0..4_u8, any::<u64>(), 0..9000_usize).prop_map(|(kind, seed, length)| {
        let at = usize::try_from(seed % (20 << 20)).unwrap();
        match kind {
            0 => vec![0; length],
            1 => VECTOR[at..at + 8].iter().copied().cycle().take(length).collect(),
            _ => VECTOR[at..at + length].to_vec(),
        }
    });
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn buffers_of_any_size_give_the_same_chunks(
        stream in stream(), steps in prop::collection::vec(1..6000_usize, 1..20),
    ) {
        for cutter in small_cutters() {
            let mut found = Vec::new();
            let (mut start, mut filled) = (0, 0);
            let mut steps = steps.iter().cycle();
            while start < stream.len() {
                match cutter.next(&stream[start..filled], filled == stream.len()) {
                    Some(length) => {
                        found.push(length);
                        start += length;
                    }
                    None => {
                        prop_assert!(filled - start < cutter.max() && filled < stream.len());
                        filled = stream.len().min(filled + steps.next().unwrap());
                    }
                }
            }
            prop_assert_eq!(found, chunks(&cutter, &stream), "{:?}", cutter);
        }
    }

    #[test]
    fn candidates_of_segments_resolve_to_the_same_chunks(
        stream in stream(), segments in prop::collection::vec(1..30_000_usize, 1..20),
    ) {
        for cutter in small_cutters() {
            let Some(mut resolver) = Resolver::new(&cutter) else {
                prop_assert!(cutter.candidates(&stream, 0, 0).is_none());
                continue;
            };
            let mut found = Vec::new();
            let mut start = 0;
            for length in segments.iter().cycle() {
                found.extend(std::iter::from_fn(|| resolver.next(false)));
                if start == stream.len() {
                    break;
                }
                let end = stream.len().min(start + length);
                let history = start.min(WINDOW - 1);
                let candidates =
                    cutter.candidates(&stream[start - history..end], history, start as u64).unwrap();
                prop_assert!(resolver.feed(candidates.clone()));
                prop_assert!(!resolver.feed(candidates), "a segment cannot come twice");
                start = end;
            }
            found.extend(std::iter::from_fn(|| resolver.next(true)));
            let expected: Vec<u64> =
                chunks(&cutter, &stream).into_iter().map(|length| length as u64).collect();
            prop_assert_eq!(found, expected, "{:?}", cutter);
        }
    }
}
