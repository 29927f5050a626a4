"""Builds the two things that pyproject.toml cannot describe: the CPU kernels and the schema's descriptor set.

Kernels: each pyx/<family>.pyx is turned into C once (under build/), and that C is compiled under one
package name for each instruction set, caffenorm._kernels.<build>.<family>; caffenorm._kernels picks a
build at run time. The flags keep IEEE arithmetic: no -ffast-math, and no contraction into fused
multiply-adds, which would make the builds differ in their last bits.

Schema: proto/caffe.proto becomes caffenorm/proto/caffe.desc, a serialized FileDescriptorSet.

Environment variables, for quick builds while developing:
    CAFFENORM_KERNELS   comma-separated families: build only these
    CAFFENORM_ISA       `native-only` (the best for this machine) or a build's name: build only that one
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SOURCES = Path("pyx")
C_FILES = Path("build") / "kernels"
IN_PLACE = Path("build") / "in_place"

# Best build last.
ISA_FLAGS = {
    "generic": [],
    "x86_64_v3": ["-march=x86-64-v3"],
    "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
# By the numbers of cpu_level.h, in rising order.
ISA_OF_LEVEL = {0: "generic", 3: "x86_64_v3", 4: "x86_64_v4"}
COMMON_FLAGS = ["-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "nonecheck": False,
}
# What every build needs: it tells which processor this is, so it is compiled for any.
PROBE_FAMILY = "cpu"


def families() -> list[str]:
    """Names of the kernel families to build, the probe first."""
    found = sorted(path.stem for path in (ROOT / SOURCES).glob("*.pyx"))
    chosen = [name.strip() for name in os.environ.get("CAFFENORM_KERNELS", "").split(",") if name.strip()]
    unknown = sorted(set(chosen) - set(found))
    if unknown:
        sys.exit(f"CAFFENORM_KERNELS: no pyx/{unknown[0]}.pyx; the families are {', '.join(found)}")
    wanted = [name for name in found if not chosen or name in chosen]
    return [PROBE_FAMILY, *(name for name in wanted if name != PROBE_FAMILY)]


def build_names() -> list[str]:
    """The builds for this kind of machine; `wanted_builds` narrows them by compiler and wish."""
    return list(ISA_FLAGS) if platform.machine().lower() in {"x86_64", "amd64"} else ["generic"]


def extension(build: str, family: str) -> Extension:
    """The extension caffenorm._kernels.<build>.<family>, from C that `BuildExtensions` makes first."""
    headers = [str(path.relative_to(ROOT)) for path in sorted((ROOT / SOURCES).glob("*.h"))]
    return Extension(
        f"caffenorm._kernels.{build}.{family}",
        sources=[str(C_FILES / build / f"{family}.c")],
        include_dirs=[str(SOURCES)],
        extra_compile_args=[*COMMON_FLAGS, *ISA_FLAGS[build]],
        depends=["setup.py", *headers],
    )


def extensions() -> list[Extension]:
    """All kernel extensions, the probe once and each other family once a build."""
    names = families()
    return [
        extension(build, family)
        for build in build_names()
        for family in names
        if family != PROBE_FAMILY or build == "generic"
    ]


class BuildExtensions(build_ext):
    """build_ext that makes the C before and the descriptor set after, and compiles on all processors."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count() or 1

    def run(self) -> None:
        if self.inplace:
            # An editable install builds in a folder that is thrown away; in this one, compiled files stay.
            self.build_lib, self.build_temp = str(IN_PLACE / "lib"), str(IN_PLACE / "temp")
        package = Path("caffenorm") if self.inplace else Path(self.build_lib) / "caffenorm"
        for ext in self.extensions:
            (package / "_kernels" / build_of(ext)).mkdir(parents=True, exist_ok=True)
        self.cythonize()
        super().run()
        compile_schema(package / "proto" / "caffe.desc")

    def build_extensions(self) -> None:
        flags = self.openmp_flags()
        wanted = self.wanted_builds()
        self.extensions = [ext for ext in self.extensions if build_of(ext) in wanted or is_probe(ext)]
        for ext in self.extensions:
            ext.extra_compile_args += flags
            ext.extra_link_args += flags
        super().build_extensions()

    def get_source_files(self) -> list[str]:
        return [str(path) for path in sorted(SOURCES.iterdir())] + ["proto/caffe.proto"]

    def cythonize(self) -> None:
        """Makes the C of every family whose Cython sources are newer, and a copy of it for each build."""
        from Cython.Build import cythonize

        shared = [*(ROOT / SOURCES).glob("*.pxd"), *(ROOT / SOURCES).glob("*.pxi"), ROOT / "setup.py"]
        for family in {family_of(ext) for ext in self.extensions}:
            source, made = SOURCES / f"{family}.pyx", C_FILES / SOURCES / f"{family}.c"
            if self.force or is_older(made, [source, *shared]):
                module = Extension(f"caffenorm._kernels.{family}", [str(source)])
                cythonize(
                    [module],
                    include_path=[str(SOURCES)],
                    build_dir=str(C_FILES),
                    compiler_directives=DIRECTIVES,
                    force=True,
                    quiet=True,
                )
        for ext in self.extensions:
            made, copy = C_FILES / SOURCES / f"{family_of(ext)}.c", Path(ext.sources[0])
            if is_older(copy, [made]):
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(made.read_bytes())

    def openmp_flags(self) -> list[str]:
        """The OpenMP flags, if the compiler and its run-time library have it; none otherwise."""
        program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }"
        if self.compiles(program, ["-fopenmp"]):
            return ["-fopenmp"]
        print("caffenorm: this compiler has no OpenMP; the kernels will run on one thread", file=sys.stderr)
        return []

    def wanted_builds(self) -> set[str]:
        """Builds to compile: what CAFFENORM_ISA asks for, or all that the compiler knows."""
        program = "int main(void) { return 0; }"
        known = {name for name in build_names() if self.compiles(program, ISA_FLAGS[name])}
        for name in sorted(set(build_names()) - known):
            print(f"caffenorm: this compiler cannot build for {name}; leaving it out", file=sys.stderr)
        asked = os.environ.get("CAFFENORM_ISA", "")
        if asked == "native-only":
            level = self.cpu_level()
            return {[name for needed, name in ISA_OF_LEVEL.items() if needed <= level and name in known][-1]}
        if asked and asked not in known:
            sys.exit(f"CAFFENORM_ISA: {asked!r} is neither native-only nor one of {', '.join(sorted(known))}")
        return {asked} if asked else known

    def cpu_level(self) -> int:
        """The level of this machine, from the same C that the installed package asks."""
        source = (
            '#include <stdio.h>\n#include "cpu_level.h"\n'
            'int main(void) { return !printf("%d", caffenorm_cpu_level()); }'
        )
        with tempfile.TemporaryDirectory() as folder:
            program = self.link(source, [], folder)
            return int(subprocess.run([program], check=True, capture_output=True, text=True).stdout)

    def compiles(self, source: str, flags: list[str]) -> bool:
        """Whether a program compiles and links with these flags."""
        from setuptools.errors import CompileError, LinkError

        with tempfile.TemporaryDirectory() as folder:
            try:
                self.link(source, flags, folder)
            except (CompileError, LinkError):
                return False
        return True

    def link(self, source: str, flags: list[str], folder: str) -> str:
        """Compiles and links a program into `folder` and returns its path."""
        file = Path(folder) / "program.c"
        file.write_text(source + "\n")
        objects = self.compiler.compile(
            [str(file)], output_dir=folder, include_dirs=[str(SOURCES)], extra_postargs=flags
        )
        self.compiler.link_executable(objects, "program", output_dir=folder, extra_postargs=flags)
        return str(Path(folder) / "program")


def family_of(ext: Extension) -> str:
    return ext.name.rpartition(".")[2]


def build_of(ext: Extension) -> str:
    return ext.name.split(".")[-2]


def is_probe(ext: Extension) -> bool:
    return family_of(ext) == PROBE_FAMILY


def is_older(target: Path, sources: list[Path]) -> bool:
    """Whether `target` is missing or older than one of `sources`."""
    return not target.exists() or target.stat().st_mtime < max(path.stat().st_mtime for path in sources)


def compile_schema(target: Path) -> None:
    """Compiles proto/caffe.proto into the descriptor set `target`, whole or not at all."""
    from grpc_tools import protoc

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    if protoc.main(["protoc", "-Iproto", f"--descriptor_set_out={partial}", "proto/caffe.proto"]) != 0:
        sys.exit("proto/caffe.proto does not compile; see above")
    os.replace(partial, target)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
