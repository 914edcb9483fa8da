//! The chain against what Pillow 12.1.1 gave for the same files: `tests/fixtures/image` and `tests/fixtures/golden`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use super::*;

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn opened(path: &Path) -> Rgb8 {
    decode(&read(path), &DecodeLimits::default())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// Largest and mean difference of two pictures of one size.
fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let off: Vec<u8> = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = off.iter().map(|&v| f64::from(v)).sum();
    (off.iter().copied().max().unwrap_or(0), sum / off.len() as f64)
}

fn rows(table: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(read(&fixtures("image").join(table))).unwrap();
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Every file of `decode/`: name and bytes.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = fixtures("image/decode");
    rows("decode.tsv").into_iter().map(|row| (row[0].clone(), read(&folder.join(&row[0])))).collect()
}

/// JPEG is decoded by another library than Pillow's: its IDCT rounds otherwise (1 or 2 levels), and so does its chroma
/// upsampling (up to 4; up to 8 in pictures two or three pixels wide).
const JPEG_WORST: u8 = 4;
const JPEG_WORST_NARROW: u8 = 8;
const JPEG_MEAN: f64 = 0.6;
const JPEG_MEAN_NARROW: f64 = 2.0;

#[test]
fn every_kind_of_file_decodes_as_pillow_decodes_it() {
    let folder = fixtures("image/decode");
    let mut wrong = Vec::new();
    let mut lossless = 0;
    for row in rows("decode.tsv") {
        let [file, width, height, expected] = &row[..] else { panic!("{row:?}") };
        let got = opened(&folder.join(file));
        assert_eq!(
            (got.width().to_string(), got.height().to_string()),
            (width.clone(), height.clone()),
            "{file}"
        );
        if expected.ends_with(".png") {
            let (worst, mean) = difference(got.data(), opened(&folder.join(expected)).data());
            let (worst_allowed, mean_allowed) =
                if got.width() < 4 { (JPEG_WORST_NARROW, JPEG_MEAN_NARROW) } else { (JPEG_WORST, JPEG_MEAN) };
            if worst > worst_allowed || mean > mean_allowed {
                wrong.push(format!("{file}: off by up to {worst}, {mean:.3} on average"));
            }
        } else {
            lossless += 1;
            if sha256(got.data()) != *expected {
                wrong.push(format!("{file}: other pixels"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(lossless > 90, "only {lossless} files compared");
}

#[test]
fn resizing_equals_pillow_bit_for_bit() {
    let table = rows("resize.tsv");
    assert!(table.len() > 50);
    for row in table {
        let number = |i: usize| row[i].parse::<u32>().unwrap();
        let source = noise(number(0), number(1), number(4));
        let got = resize_bicubic(&source, number(2), number(3));
        assert_eq!(sha256(got.data()), row[5], "{row:?}");
    }
}

fn noise(width: u32, height: u32, seed: u32) -> Rgb8 {
    let mut state = seed;
    let data = (0..width * height * 3).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        match state & 3 {
            0 => 0,
            1 => 255,
            _ => (state >> 8) as u8,
        }
    });
    Rgb8::new(width, height, data.collect()).unwrap()
}

#[test]
fn the_golden_pictures_come_out_as_recorded() {
    let golden = fixtures("golden");
    let cases: serde_json::Value = serde_json::from_slice(&read(&golden.join("cases.json"))).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let file = case["image"].as_str().unwrap();
        let bytes = read(&golden.join("cases").join(format!("{name}.safetensors")));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let decoded = tensors.tensor("decoded_rgb_u8").unwrap();
        let (height, width) = (decoded.shape()[0] as u32, decoded.shape()[1] as u32);
        let expected = Rgb8::new(width, height, decoded.data().to_vec()).unwrap();

        let got = opened(&golden.join(file));
        assert_eq!((got.width(), got.height()), (width, height), "{name}");
        let (worst, mean) = difference(got.data(), expected.data());
        if file.ends_with(".jpg") {
            assert!(
                worst <= JPEG_WORST && mean <= JPEG_MEAN,
                "{name}: off by up to {worst}, {mean:.3} on average"
            );
        } else {
            assert_eq!(worst, 0, "{name}");
        }

        let resized = tensors.tensor("resized_u8").unwrap();
        let small = resize_bicubic(&expected, resized.shape()[1] as u32, resized.shape()[0] as u32);
        assert!(small.data() == resized.data(), "{name}: resized");
        let values = normalise(&small, 0.003_921_568_627_450_98, [0.5; 3], [0.5; 3]);
        let pixel_values = tensors.tensor("pixel_values").unwrap();
        let (words, _) = pixel_values.data().as_chunks::<4>();
        assert!(
            values.iter().copied().eq(words.iter().map(|&word| f32::from_le_bytes(word))),
            "{name}: pixel_values"
        );

        let full_size = golden.join("resize384").join(format!("{name}.png"));
        if full_size.exists() {
            assert!(resize_bicubic(&expected, 384, 384) == opened(&full_size), "{name}: 384x384");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_says_so() {
    // What may be missing without harm: the trailer after the picture's data, and the padding of its last row.
    let spare = |name: &str, length: usize| match name {
        name if name.ends_with(".png") => 20,
        name if name.ends_with(".gif") => 12,
        name if name.ends_with(".bmp") => 5,
        name if name.ends_with(".webp") => 1,
        name if name.ends_with(".tif") => length / 10,
        _ => 0,
    };
    for (name, bytes) in files() {
        // Animations and multi-page files end with pictures nobody reads.
        if name.contains("anim") || name.contains("multi") || name.contains("apng") || name.contains("rle") {
            continue;
        }
        for cut in (spare(&name, bytes.len()) + 1..bytes.len()).step_by(7) {
            let kept = &bytes[..bytes.len() - cut];
            if let Ok(image) = decode(kept, &DecodeLimits::default()) {
                panic!("{name} without its last {cut} of {} bytes gave {image:?}", bytes.len());
            }
        }
    }
    let jpeg = read(&fixtures("golden/images/c3.jpg"));
    let error = decode(&jpeg[..jpeg.len() / 2], &DecodeLimits::default()).unwrap_err();
    assert!(error.to_string().starts_with("image file is truncated: JPEG of 2940 bytes"), "{error}");
    let png = read(&fixtures("golden/images/c0.png"));
    let error = decode(&png[..png.len() / 2], &DecodeLimits::default()).unwrap_err();
    assert!(error.to_string().starts_with("image file is truncated: PNG of 2111 bytes"), "{error}");
}

#[test]
fn what_is_no_picture_is_named_by_its_first_bytes() {
    let said = |bytes: &[u8]| decode(bytes, &DecodeLimits::default()).unwrap_err().to_string();
    assert_eq!(said(b""), "the image is empty (0 bytes)");
    assert_eq!(
        said(b"%PDF-1.7 and so on"),
        "cannot identify the image: the first bytes 25 50 44 46 2d 31 2e 37 are none of JPEG, PNG, BMP, GIF, WEBP, TIFF"
    );
    assert!(said(b"\xff\xd8").starts_with("cannot identify the image: the first bytes ff d8 are none of"));
}

/// A PNG that says it is `width` x `height` and holds next to nothing.
fn png_bomb(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&header);
    bytes.extend(crc32(&header).to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn decompression_bombs_are_refused_by_their_header() {
    let said = |bytes: &[u8]| decode(bytes, &DecodeLimits::default()).unwrap_err().to_string();
    let limit = "image is 60000x60000 = 3600 Mpx, the limit is 50 Mpx";
    assert_eq!(said(&png_bomb(60_000, 60_000)), limit);
    assert_eq!(said(&png_bomb(70_000, 1)), "image is 70000x1, the longest side allowed is 65535");

    let folder = fixtures("image/decode");
    let patched = |name: &str, at: usize, sides: &[u8]| {
        let mut bytes = read(&folder.join(name));
        bytes[at..at + sides.len()].copy_from_slice(sides);
        bytes
    };
    let side = 60_000_u16;
    let both_le = [side.to_le_bytes(), side.to_le_bytes()].concat();
    let both_be = [side.to_be_bytes(), side.to_be_bytes()].concat();
    assert_eq!(said(&patched("gif_p.gif", 6, &both_le)), limit);
    let jpeg = read(&folder.join("jpeg_q75_s2_p0.jpg"));
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    assert_eq!(said(&patched("jpeg_q75_s2_p0.jpg", frame + 5, &both_be)), limit);
    let both_le = [60_000_u32.to_le_bytes(), 60_000_u32.to_le_bytes()].concat();
    assert_eq!(said(&patched("bmp_rgb.bmp", 18, &both_le)), limit);

    let tight = DecodeLimits { max_bytes: 100, ..DecodeLimits::default() };
    let error = decode(&jpeg, &tight).unwrap_err().to_string();
    assert_eq!(error, format!("image file is {} bytes, the limit is 100", jpeg.len()));
    let tight = DecodeLimits { max_pixels: 100, ..DecodeLimits::default() };
    for (name, bytes) in files() {
        if let Ok(image) = decode(&bytes, &tight) {
            assert!(image.width() * image.height() <= 100, "{name}: {image:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn damaged_files_give_a_picture_or_an_error(
        which in 0_usize..1000,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        header_only: bool,
        keep in any::<prop::sample::Index>(),
        cut: bool,
    ) {
        static FILES: std::sync::LazyLock<Vec<(String, Vec<u8>)>> = std::sync::LazyLock::new(files);
        let (_, bytes) = &FILES[which % FILES.len()];
        let mut bytes = bytes.clone();
        let reach = if header_only { bytes.len().min(80) } else { bytes.len() };
        for (at, value) in edits {
            bytes[at.index(reach)] = value;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        let limits = DecodeLimits { max_pixels: 1_000_000, ..DecodeLimits::default() };
        match decode(&bytes, &limits) {
            Ok(image) => prop_assert!(u64::from(image.width()) * u64::from(image.height()) <= limits.max_pixels),
            Err(error) => prop_assert!(error.to_string().len() < 400, "{error}"),
        }
    }
}
