#!/usr/bin/env python3
"""What Pillow takes for the sizes of benches/image.rs: CPU microseconds of one thread, median and best of 15 rounds.

    pip install pillow==12.1.1 numpy
    python benches/peers/pillow_resize.py
"""

import io
import statistics
import time

import numpy
import PIL
from PIL import Image

ROUNDS, CALLS = 15, 20


def picture(width, height):
    """Waves and a little noise, like the picture of benches/image.rs."""
    y, x = numpy.mgrid[0:height, 0:width][..., None]
    wave = 60 * numpy.sin(x / 23 + numpy.arange(3)) + 50 * numpy.cos(y / 17 - x / 91)
    noise = numpy.random.default_rng(1).integers(0, 16, (height, width, 3))
    return Image.fromarray((127 + wave + noise).astype(numpy.uint8))


def report(name, call):
    rounds = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        for _ in range(CALLS):
            call()
        rounds.append((time.thread_time() - start) / CALLS * 1e6)
    print(f"{name:32} median {statistics.median(rounds):7.0f} us   best {min(rounds):7.0f} us")


def main():
    print(f"Pillow {PIL.__version__}")
    file = io.BytesIO()
    picture(640, 480).save(file, "JPEG", quality=90, subsampling=0)
    data = file.getvalue()
    report("decode JPEG 640x480", lambda: Image.open(io.BytesIO(data)).convert("RGB"))
    for width, height in [(640, 480), (1280, 720), (384, 384), (224, 224)]:
        image = picture(width, height)
        report(f"resize {width}x{height} to 384x384", lambda: image.resize((384, 384), Image.BICUBIC))


if __name__ == "__main__":
    main()
