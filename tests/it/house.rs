//! The house rules that no compiler checks: layers, file sizes, `unsafe` in one place, links that lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::golden::root;

/// Lower first; a layer may use those of lower rank, and its own module.
const LAYERS: [(&str, u32); 19] = [
    ("geometry", 0),
    ("mapping", 0),
    ("proto", 0),
    ("config", 1),
    ("telemetry", 2),
    ("policy", 3),
    ("scene", 3),
    ("render", 4),
    ("playback", 5),
    ("export", 5),
    ("instance", 4),
    ("simulator", 5),
    ("trainer", 5),
    ("fleet", 5),
    ("agent", 5),
    ("http", 6),
    ("grpc", 6),
    ("testkit", 7),
    ("cli", 7),
];
const LONGEST_FILE_LINES: usize = 700;
const LONGEST_MAIN_LINES: usize = 60;

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn rank(module: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

/// The modules named right after `crate::`, those of a braced list included.
fn modules_used(source: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        let word = |text: &str| -> String {
            text.trim_start()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect()
        };
        match rest.strip_prefix('{') {
            None => used.push(word(rest)),
            Some(list) => {
                let (mut depth, mut item) = (0, String::new());
                for letter in list.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => used.push(word(&std::mem::take(&mut item))),
                        _ if depth == 0 => item.push(letter),
                        _ => {}
                    }
                }
                used.push(word(&item));
            }
        }
    }
    used.retain(|module| rank(module).is_some());
    used
}

#[test]
fn the_reader_of_use_lines_sees_every_module() {
    let source = "use crate::http::{a, b};\nuse crate::{\n config::{x, y},\n policy::z,\n scene };\nfn f() { crate::cli::run() }";
    assert_eq!(modules_used(source), ["http", "config", "policy", "scene", "cli"]);
}

#[test]
fn no_layer_uses_a_higher_one() {
    let src = root().join("src");
    let mut upward = Vec::new();
    let mut checked = 0;
    for path in files(&src, "rs") {
        let inside = path.strip_prefix(&src).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if ["main", "lib"].contains(&module) {
            continue;
        }
        let own = rank(module).unwrap_or_else(|| panic!("src/{module} has no layer: add it to LAYERS"));
        checked += 1;
        for used in modules_used(&fs::read_to_string(&path).unwrap()) {
            let higher = rank(&used).unwrap() > own;
            let beside = rank(&used).unwrap() == own && used != module;
            if higher || beside {
                upward.push(format!("{} ({module}) uses {used}", inside.display()));
            }
        }
    }
    assert!(checked > 50, "only {checked} files found");
    assert!(upward.is_empty(), "upward or sideways:\n{}", upward.join("\n"));
}

#[test]
fn anyhow_stays_in_the_command_line() {
    let src = root().join("src");
    for path in files(&src, "rs") {
        let inside = path.strip_prefix(&src).unwrap();
        if !inside.starts_with("cli") && inside != Path::new("main.rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("anyhow::"), "{} uses anyhow", inside.display());
        }
    }
}

#[test]
fn unsafe_stays_in_the_kernels_and_the_file_maps() {
    let src = root().join("src");
    let kernels = src.join("policy/kernels");
    let mut seen_in_kernels = 0;
    for path in files(&src, "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let blocks = code.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn")).count();
        let allowed = text.contains("allow(unsafe_code)");
        if path.starts_with(&kernels) {
            seen_in_kernels += blocks;
        } else if path != src.join("mapping.rs") {
            assert!(!allowed, "{} allows unsafe code outside src/policy/kernels", path.display());
            assert_eq!(blocks, 0, "{} has unsafe code outside src/policy/kernels", path.display());
        }
    }
    assert!(seen_in_kernels > 0, "the search finds nothing: it is broken");
}

#[test]
fn files_stay_small() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for path in files(&root().join(folder), "rs") {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > LONGEST_FILE_LINES {
                long.push(format!("{}: {lines} lines", path.display()));
            }
        }
    }
    assert!(long.is_empty(), "over {LONGEST_FILE_LINES} lines:\n{}", long.join("\n"));
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap().lines().count();
    assert!(main < LONGEST_MAIN_LINES, "src/main.rs has {main} lines");
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let mut pages = files(&root().join("docs"), "md");
    pages.push(root().join("README.md"));
    for folder in ["models", "scenes"] {
        pages.extend(files(&root().join(folder), "md"));
    }
    let mut broken = Vec::new();
    let mut links = 0;
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for (at, _) in text.match_indices("](") {
            let rest = &text[at + 2..];
            let target = &rest[..rest.find(')').unwrap_or(rest.len())];
            let file = target.split('#').next().unwrap();
            if target.contains("://") || target.starts_with("mailto:") || file.is_empty() {
                continue;
            }
            links += 1;
            if !page.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(links > 0, "no links found: the search is broken");
    assert!(broken.is_empty(), "links to nothing:\n{}", broken.join("\n"));
}

#[test]
fn every_setting_and_metric_is_in_the_operations_page() {
    let page = fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    for key in neuro::config::KEYS {
        assert!(page.contains(&format!("`{}`", key.name)), "docs/OPERATIONS.md does not have `{}`", key.name);
    }
    for series in neuro::telemetry::series::ALL {
        assert!(page.contains(&format!("`{}", series.name)), "docs/OPERATIONS.md lacks `{}`", series.name);
    }
}
