"""The Dockerfile's steps, executed in order in a clean root, without a Docker engine; then the image's own commands.

A minimal Debian (debootstrap) takes the place of the official Python image, buildah that of the engine, with chroot
isolation and the host's network. The CPU variant. pip's configuration of this machine (a mirror, a folder of wheels, a
certificate) goes into the build as a secret and as mounted folders, so it is in no layer.

Needs root, Linux, `apt-get install buildah debootstrap`, 10 GB and ten minutes.

    python benchmarks/clean_root.py [--work FOLDER] [--keep] [--driver overlay|vfs]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MIRROR = "http://deb.debian.org/debian"
BASE = "docker.io/library/python:3.11-slim-bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = "python3,python3-venv,ca-certificates"
IMAGE = "localhost/xling:cpu"
PYPI = "https://pypi.org/simple"
MOST_S = 1800.0
COMMANDS = (  # what the image must be able to do, as its own user, with no cluster and no network of its own
    "xling --help",
    "xling plan /opt/xling/share/sweeps/demo.yaml",
    "xling doctor /opt/xling/share/sweeps/demo.yaml",
    "ray --version",
    "mlflow --version",
    "python -c 'import mlflow.server.auth.db.cli, flask_wtf, psycopg2, boto3, s3fs'",
    "python /opt/xling/share/health.py",
    "bash --login -c 'xling --help'",  # as Ray's launcher and KubeRay call it
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="an empty folder for roots and layers; a temporary one by default")
    parser.add_argument("--keep", action="store_true", help="do not delete what was built")
    parser.add_argument("--driver", choices=("overlay", "vfs"), default="overlay", help="how layers are stored")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="xling-clean-root-") if options.work is None else options.work)
    (work / "tmp").mkdir(parents=True, exist_ok=True)
    buildah = Buildah(work, options.driver)
    try:
        began = time.monotonic()
        make_base(buildah, work / "base")
        base_s = time.monotonic() - began
        print(f"base: {base_s:.0f} s", flush=True)
        build_s = build(buildah, work)
        print(f"build: {build_s:.0f} s", flush=True)
        failed = try_commands(buildah)
        report(buildah)
        print(f"clean_root ratio={MOST_S / (base_s + build_s):.2f} bar=1")
        return 1 if failed or base_s + build_s > MOST_S else 0
    finally:
        if not options.keep:
            buildah.run("rm", "--all", check=False)
            buildah.run("rmi", "--all", "--force", check=False)
            unmount_below(work)
            shutil.rmtree(work, ignore_errors=True)


class Buildah:
    """buildah with its storage, containers and temporary files below one folder."""

    def __init__(self, work: Path, driver: str) -> None:
        self.layers = work / "storage" / f"{driver}-layers" / "layers.json"
        self.command = ["buildah", "--root", str(work / "storage"), "--runroot", str(work / "run")]
        self.environment = {**os.environ, "STORAGE_DRIVER": driver, "TMPDIR": str(work / "tmp")}

    def run(
        self, *arguments: str, check: bool = True, quiet: bool = True, alone: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run one subcommand; with ``quiet`` its output is kept, else shown; ``alone``: it sees no other processes."""
        apart = ("unshare", "--pid", "--fork", "--mount-proc") if alone else ()  # chroot isolation leaves them visible
        return subprocess.run(
            [*apart, *self.command, *arguments], check=check, text=True, env=self.environment, cwd=REPOSITORY,
            stdout=subprocess.PIPE if quiet else None, stderr=subprocess.PIPE if quiet and not check else None,
        )  # fmt: skip

    def value(self, *arguments: str) -> str:
        return self.run(*arguments).stdout.strip()


def make_base(buildah: Buildah, root: Path) -> None:
    """Make a Debian with Python under the name of the image that the Dockerfile begins with."""
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), MIRROR],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    unmount_below(root)  # the /proc that it works with
    (root / "usr/bin/python").symlink_to("python3")
    container = buildah.value("from", "scratch")
    buildah.run("add", container, str(root), "/")
    buildah.run("config", "--env", f"PATH={PATH}", container)
    buildah.run("commit", container, BASE)
    buildah.run("rm", container)
    shutil.rmtree(root)


def unmount_below(folder: Path) -> None:
    """Unmount whatever is mounted inside ``folder``, before it is deleted."""
    mounts = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    for mount in sorted((one for one in mounts if Path(one).is_relative_to(folder.resolve())), reverse=True):
        subprocess.run(["umount", mount], check=True)


def build(buildah: Buildah, work: Path) -> float:
    """Run the Dockerfile; returns seconds."""
    settings = dict(pip_settings())
    secret = work / "pip.conf"
    secret.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    volumes = [argument for path in local_paths(settings) for argument in ("--volume", f"{path}:{path}:ro")]
    began = time.monotonic()
    buildah.run(
        *("bud", "--isolation", "chroot", "--pull=never", "--network", "host", "--format", "docker", "--layers"),
        *("--secret", f"id=pip,src={secret}", *volumes),
        *("--build-arg", f"CPU_INDEX={settings.get('index-url', PYPI)}", "--tag", IMAGE, "."),
        quiet=False,
    )
    return time.monotonic() - began


def pip_settings() -> Iterator[tuple[str, str]]:
    """Name and value of what pip is told on this machine, by files and by its environment, the latter last."""
    shown = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, text=True, capture_output=True)
    for line in shown.stdout.splitlines():
        name, _, value = line.partition("=")
        yield name.removeprefix(":env:.").removeprefix("global."), shlex.split(value)[0] if value else ""


def local_paths(settings: dict[str, str]) -> list[str]:
    """Files and folders of this machine that the settings name, for the build to see them at the same place."""
    words = (word.removeprefix("file://") for value in settings.values() for word in value.split())
    paths = {Path(word) for word in words if word.startswith("/")}
    # an index of files names those beside its folder `simple`
    found = {path.parent if path.is_file() or path.name == "simple" else path for path in paths if path.exists()}
    roots = {path for path in found if not any(other in path.parents for other in found)}
    return sorted(str(path) for path in roots)


def try_commands(buildah: Buildah) -> list[str]:
    """Those of COMMANDS that fail in a container of the image, each with the end of what it said."""
    container = buildah.value("from", "--pull-never", IMAGE)
    failed = []
    for command in COMMANDS:
        began = time.monotonic()
        inside = ("run", "--isolation", "chroot", container, "--", *shlex.split(command))
        done = buildah.run(*inside, check=False, alone=True)
        verdict = "ok    " if done.returncode == 0 else "FAILED"
        print(f"{verdict} {time.monotonic() - began:5.1f} s  {command}", flush=True)
        if done.returncode:
            failed.append(command)
            print((done.stdout + done.stderr)[-1500:])
    print(f"user: {buildah.value('run', '--isolation', 'chroot', container, '--', 'id')}")
    return failed


def report(buildah: Buildah) -> None:
    """Size, layers and what the image says of itself."""
    image = json.loads(buildah.value("inspect", "--type", "image", IMAGE))
    known = json.loads(buildah.layers.read_text())
    sizes = {layer["diff-digest"]: layer["diff-size"] for layer in known if "diff-digest" in layer}
    layers = [sizes[digest] / 2**20 for digest in image["OCIv1"]["rootfs"]["diff_ids"]]
    print(f"image: {sum(layers):.0f} MiB; its layers: {', '.join(f'{layer:.1f}' for layer in layers)}")
    print(f"user {image['Docker']['config']['User']}, health check {image['Docker']['config']['Healthcheck']['Test']}")
    for name, value in sorted(image["OCIv1"]["config"]["Labels"].items()):
        print(f"  {name}: {value}")


if __name__ == "__main__":
    sys.exit(main())
