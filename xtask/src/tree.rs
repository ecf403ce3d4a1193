//! A generated directory tree that resembles a large checkout of source code.
//!
//! Invariants: the same [`Shape`] gives the same tree, byte for byte, on every machine and with any
//! number of threads, because each file is drawn from a seed of its own. Sizes are log-normal
//! (median 4 KiB, a long tail), text compresses about as source code does, some files are copies
//! of others, and modification times are spread over the years before 2026.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) files: usize,
    pub(crate) seed: u64,
}

const MEDIAN_BYTES: f64 = 4096.0;
/// Of the logarithm of the size; with the median it makes the mean about 29 KB, so that 55,000
/// files are 1.6 GB.
const SIGMA: f64 = 2.0;
const MAX_BYTES: f64 = 24.0 * 1024.0 * 1024.0;
const FILES_PER_DIRECTORY: usize = 8;
/// One file in this many is a copy of an earlier one, as vendored code is.
const COPIES: u64 = 16;
const LINKS: usize = 400;
/// 2020-01-01T00:00:00Z, and six years.
const FIRST_MTIME: u64 = 1_577_836_800;
const MTIME_SPAN: u64 = 6 * 365 * 86_400;

/// A small, fast generator of pseudo-random numbers (splitmix64).
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        // The upper half of a product; even enough, and much faster than a division.
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An index below `bound` that is the smaller the likelier, as words in a text are.
    fn skewed(&mut self, bound: usize) -> usize {
        let unit = self.unit();
        ((unit * unit * unit) * bound as f64) as usize
    }

    /// A normally distributed number, near enough: the sum of twelve uniform ones.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Writes the tree into the new directory `root`.
pub(crate) fn generate(root: &Path, shape: Shape) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("generating {}: {error}", root.display());
    let vocabulary = Vocabulary::draw(shape.seed);
    let directories = directories(&vocabulary, shape);
    for directory in &directories {
        fs::create_dir_all(root.join(directory)).map_err(failed)?;
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let write = |worker: usize| {
            let (vocabulary, directories) = (&vocabulary, &directories);
            move || -> std::io::Result<()> {
                let mut text = Vec::new();
                for number in (worker..shape.files).step_by(workers) {
                    let directory = &directories[number / FILES_PER_DIRECTORY % directories.len()];
                    write_file(&root.join(directory), vocabulary, shape, number, &mut text)?;
                }
                Ok(())
            }
        };
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(write(worker))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic in a writer"))
    })
    .map_err(failed)?;
    for number in 0..LINKS.min(shape.files / 100) {
        let directory = root.join(&directories[number * 7 % directories.len()]);
        symlink("../README", directory.join(format!("link{number}"))).map_err(failed)?;
    }
    // Entries made later would have moved these times.
    for (number, directory) in directories.iter().enumerate() {
        let directory = File::open(root.join(directory)).map_err(failed)?;
        directory.set_modified(mtime(&mut Draw::new(number as u64))).map_err(failed)?;
    }
    Ok(())
}

fn mtime(draw: &mut Draw) -> SystemTime {
    let seconds = FIRST_MTIME + draw.bits() % MTIME_SPAN;
    SystemTime::UNIX_EPOCH + Duration::new(seconds, (draw.bits() % 1_000_000_000) as u32)
}

fn write_file(
    directory: &Path,
    vocabulary: &Vocabulary,
    shape: Shape,
    number: usize,
    text: &mut Vec<u8>,
) -> std::io::Result<()> {
    const EXTENSIONS: [&str; 10] = ["go", "go", "go", "rs", "rs", "md", "json", "c", "h", "sh"];
    let mut draw = Draw::new(shape.seed ^ (number as u64).wrapping_mul(0xa076_1d64_78bd_642f));
    let extension = EXTENSIONS[draw.below(EXTENSIONS.len())];
    let name = format!("{}_{number}.{extension}", vocabulary.word(&mut draw));
    let mtime = mtime(&mut draw);
    let is_copy = draw.bits().is_multiple_of(COPIES);
    // A copy draws its text as the file it is a copy of would have.
    let of = if is_copy { draw.below(number + 1) } else { number };
    let mut draw = Draw::new(shape.seed.rotate_left(17) ^ (of as u64));
    let bytes = (MEDIAN_BYTES * (SIGMA * draw.normal()).exp()).min(MAX_BYTES) as usize;
    vocabulary.fill(&mut draw, bytes, text);
    let mut file = File::create_new(directory.join(name))?;
    file.write_all(text)?;
    let mode = if extension == "sh" { 0o755 } else { 0o644 };
    file.set_permissions(PermissionsExt::from_mode(mode))?;
    file.set_modified(mtime)
}

/// Every directory, parents before children; the first is the root itself.
fn directories(vocabulary: &Vocabulary, shape: Shape) -> Vec<PathBuf> {
    const MAX_DEPTH: usize = 9;
    let mut draw = Draw::new(shape.seed.rotate_left(32));
    let mut directories = vec![PathBuf::new()];
    for number in 1..shape.files.div_ceil(FILES_PER_DIRECTORY).max(1) {
        // Near the end of the list are the young, deep ones: code nests.
        let parent = &directories[directories.len() - 1 - draw.skewed(directories.len())];
        let parent = if parent.components().count() < MAX_DEPTH { parent } else { &directories[0] };
        directories.push(parent.join(format!("{}{number}", vocabulary.word(&mut draw))));
    }
    directories
}

/// The words all files are written with, and the statements made of them.
struct Vocabulary {
    words: Vec<String>,
}

impl Vocabulary {
    fn draw(seed: u64) -> Self {
        const SYLLABLES: [&str; 32] = [
            "con", "text", "err", "buf", "fer", "read", "write", "er", "get", "set", "val", "ue",
            "node", "tree", "in", "dex", "key", "map", "re", "quest", "hand", "ler", "par", "ser",
            "tok", "en", "al", "loc", "str", "ing", "list", "time",
        ];
        let mut draw = Draw::new(seed);
        let words = (0..6000).map(|_| {
            (0..1 + draw.below(4)).map(|_| SYLLABLES[draw.below(SYLLABLES.len())]).collect()
        });
        Self { words: words.collect() }
    }

    fn word(&self, draw: &mut Draw) -> &str {
        &self.words[draw.skewed(self.words.len())]
    }

    /// Writes `bytes` of something like code into `text`.
    fn fill(&self, draw: &mut Draw, bytes: usize, text: &mut Vec<u8>) {
        // In a template, `$` is a word and everything else itself.
        const TEMPLATES: [&str; 16] = [
            "\tif err := $.$($); err != nil {\n\t\treturn nil, err\n\t}\n",
            "\t\tlet $ = self.$.$(&$)?;\n",
            "\t$.$ = $\n",
            "func ($ *$) $($ string) error {\n",
            "}\n\n",
            "// $ $ the $ of $ and $ $.\n",
            "    pub fn $(&self, $: &$) -> Result<$, Error> {\n",
            "        assert_eq!($.$($), $);\n",
            "\tfor _, $ := range $.$ {\n",
            "#define $_$ 0x#\n",
            "\t\t\"$\": #,\n",
            "    }\n",
            "\treturn $($, $.$)\n",
            "import \"github.com/$/$/$\"\n",
            "\tcase $:\n\t\t$($)\n",
            "        Some($) => $.$(#),\n",
        ];
        text.clear();
        // What one file is about: few words, used again and again.
        let theme: Vec<&str> = (0..24).map(|_| self.word(draw)).collect();
        while text.len() < bytes {
            // Code repeats itself, more or less literally.
            if text.len() > 2048 && draw.below(8) == 0 {
                let length = 64 + draw.below(448);
                let start = draw.below(text.len() - length);
                text.extend_from_within(start..start + length);
                continue;
            }
            for &byte in TEMPLATES[draw.skewed(TEMPLATES.len())].as_bytes() {
                match byte {
                    b'$' if draw.below(4) == 0 => {
                        text.extend_from_slice(self.word(draw).as_bytes())
                    }
                    b'$' => text.extend_from_slice(theme[draw.skewed(theme.len())].as_bytes()),
                    b'#' => text.extend_from_slice(draw.below(100_000).to_string().as_bytes()),
                    byte => text.push(byte),
                }
            }
        }
        text.truncate(bytes);
    }
}

/// Writes `bytes` that no compressor can shrink into the new file `path`.
pub(crate) fn incompressible(path: &Path, bytes: u64, seed: u64) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("generating {}: {error}", path.display());
    let mut file = File::create_new(path).map_err(failed)?;
    let mut draw = Draw::new(seed);
    let mut block = vec![0_u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&draw.bits().to_le_bytes());
        }
        let take = left.min(block.len() as u64);
        file.write_all(&block[..take as usize]).map_err(failed)?;
        left -= take;
    }
    file.set_modified(mtime(&mut draw)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::sameness;
    use crate::compare::scratch::Scratch;

    #[test]
    fn the_same_shape_gives_the_same_tree_and_another_seed_another() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let make = |name: &str, seed| {
            let root = scratch.path().join(name);
            generate(&root, Shape { files: 300, seed }).unwrap();
            root
        };
        let (one, same, other) = (make("one", 1), make("same", 1), make("other", 2));
        assert_eq!(sameness::differences(&one, &same).unwrap(), []);
        assert!(!sameness::differences(&one, &other).unwrap().is_empty());
    }

    #[test]
    fn sizes_are_those_of_source_code() {
        let vocabulary = Vocabulary::draw(1);
        let mut text = Vec::new();
        vocabulary.fill(&mut Draw::new(1), 10_000, &mut text);
        assert_eq!(text.len(), 10_000);
        let mut sizes: Vec<f64> = (0..20_000)
            .map(|number| {
                let size = MEDIAN_BYTES * (SIGMA * Draw::new(number).normal()).exp();
                size.min(MAX_BYTES)
            })
            .collect();
        sizes.sort_by(f64::total_cmp);
        let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
        assert!((3_500.0..4_700.0).contains(&sizes[sizes.len() / 2]));
        assert!((20_000.0..40_000.0).contains(&mean), "{mean}");
    }

    #[test]
    fn incompressible_data_has_the_length_asked_for() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let path = scratch.path().join("data");
        incompressible(&path, (1 << 20) + 5, 1).unwrap();
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes.len(), (1 << 20) + 5);
        let mut seen = [0_u32; 256];
        bytes.iter().for_each(|&byte| seen[usize::from(byte)] += 1);
        assert!(seen.iter().all(|&count| (3_500..4_700).contains(&count)));
    }
}
