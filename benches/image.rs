//! The picture chain of one request: JPEG 640x480 decoded, resized to 384x384, normalised.
//!
//! `benches/peers/pillow_resize.py` prints what Pillow takes for the same sizes.

#![allow(clippy::expect_used, reason = "a bench that cannot make its input should stop")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use neuro::policy::image::{DecodeLimits, Rgb8, decode, normalise, resize_bicubic};

/// Waves and a little noise: compresses about as a photograph does.
fn picture(width: u32, height: u32) -> Rgb8 {
    let mut state = 1_u32;
    let mut data = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3_u8 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let (x, y, phase) = (x as f32, y as f32, f32::from(channel));
                let wave = 60.0 * (x / 23.0 + phase).sin() + 50.0 * (y / 17.0 - x / 91.0).cos();
                data.push((127.0 + wave + (state >> 28) as f32) as u8);
            }
        }
    }
    Rgb8::new(width, height, data).expect("three bytes a pixel")
}

fn jpeg(image: &Rgb8) -> Vec<u8> {
    let mut file = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 90)
        .encode(image.data(), image.width(), image.height(), image::ExtendedColorType::Rgb8)
        .expect("encoding into memory");
    file
}

fn chain(criterion: &mut Criterion) {
    let limits = DecodeLimits::default();
    let file = jpeg(&picture(640, 480));
    criterion.bench_function("decode JPEG 640x480", |bencher| {
        bencher.iter(|| decode(black_box(&file), &limits));
    });
    let mut group = criterion.benchmark_group("resize to 384x384");
    for (width, height) in [(640, 480), (1280, 720), (384, 384), (224, 224)] {
        let image = picture(width, height);
        group.bench_with_input(
            BenchmarkId::from_parameter(format!("{width}x{height}")),
            &image,
            |bencher, image| {
                bencher.iter(|| resize_bicubic(black_box(image), 384, 384));
            },
        );
    }
    group.finish();
    let image = picture(384, 384);
    criterion.bench_function("normalise 384x384", |bencher| {
        bencher.iter(|| normalise(black_box(&image), 1.0 / 255.0, [0.5; 3], [0.5; 3]));
    });
    criterion.bench_function("decode, resize, normalise", |bencher| {
        bencher.iter(|| {
            decode(black_box(&file), &limits)
                .map(|image| normalise(&resize_bicubic(&image, 384, 384), 1.0 / 255.0, [0.5; 3], [0.5; 3]))
        });
    });
}

criterion_group! {
    name = image_chain;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = chain
}
criterion_main!(image_chain);
