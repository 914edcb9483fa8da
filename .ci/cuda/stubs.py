#!/usr/bin/env python3
"""Shared libraries that only name the symbols the bindings call, so that linking needs neither a driver nor cuBLAS.

Usage: stubs.py CUDARC_SOURCE OUT
"""
import pathlib
import re
import subprocess
import sys

# library -> (folder of its bindings, the name the loader will look for)
LIBRARIES = {
    "cuda": ("driver", "libcuda.so.1"),
    "cublas": ("cublas", "libcublas.so.13"),
    "cublasLt": ("cublaslt", "libcublasLt.so.13"),
    "curand": ("curand", "libcurand.so.10"),
    "nvrtc": ("nvrtc", "libnvrtc.so.13"),
}
DECLARATION = re.compile(r"\bfn ((?:cu|nvrtc)\w+)\s*\(")


def main() -> None:
    source, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for library, (folder, soname) in LIBRARIES.items():
        names = set()
        for file in (source / "src" / folder / "sys").rglob("*.rs"):
            names.update(DECLARATION.findall(file.read_text()))
        if not names:
            sys.exit(f"no {library} functions under {source}: have the bindings moved?")
        code = "".join(f"void {name}(void) {{}}\n" for name in sorted(names))
        command = ["cc", "-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{soname}", "-x", "c", "-"]
        subprocess.run([*command, "-o", str(out / f"lib{library}.so")], input=code.encode(), check=True)
        print(f"{library}: {len(names)} symbols")


if __name__ == "__main__":
    main()
