"""Camera pictures the clients send."""

import base64
import io

import numpy as np
from PIL import Image


def camera(width=640, height=480, seed=0):
    """A smooth scene with a coloured block, uint8 [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    scene = np.stack([x / width, y / height, (x + y) / (width + height)], axis=-1) * 160
    left, top = (seed * 53) % (width // 2), (seed * 31) % (height // 2)
    scene[top : top + height // 4, left : left + width // 4] = (220, 40, 30)
    return scene.astype(np.uint8)


def encoded(array, kind="JPEG"):
    """The bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=kind)
    return buffer.getvalue()


def base64_of(array, kind="JPEG"):
    """The same as base64 text."""
    return base64.b64encode(encoded(array, kind)).decode()
