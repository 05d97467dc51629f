"""Both ways of installing announce `twistd mailkit`, with every warning an error, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["pip install .", "pip install -e ."])
def scratch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with a copy of the project installed, and the dependencies of this one lent to it."""
    folder = tmp_path_factory.mktemp("install")
    copy = folder / "project"
    ignore = shutil.ignore_patterns(
        ".git", ".venv", "build", "*.egg-info", "__pycache__", ".mypy_cache", "dropin.cache"
    )
    shutil.copytree(TOP, copy, ignore=ignore)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # A path in a .pth lends the packages of this environment, but not what its own .pth files add: an editable install.
    Path(site, "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    editable = ["-e"] if "-e" in request.param else []
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    done = subprocess.run([*command, *editable, str(copy)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    if not editable:
        shutil.rmtree(copy)
    return python


def run(python: Path, *arguments: str) -> str:
    done = subprocess.run(
        [python, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=python.parent,
        env={key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONWARNINGS")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


TWISTD = "from twisted.scripts.twistd import run; run()"


def test_twistd_announces_mailkit(scratch: Path) -> None:
    said = run(scratch, "-c", TWISTD, "--help")
    (line,) = [line for line in said.splitlines() if line.strip().startswith("mailkit")]
    assert "IMAP" in line


def test_the_options_are_explained(scratch: Path) -> None:
    said = run(scratch, "-c", TWISTD, "mailkit", "--help")
    for option in ("--config", "--check", "--state", "--ready-file"):
        assert option in said


def test_the_bundled_plugins_are_found_in_the_installed_copy(scratch: Path) -> None:
    said = run(
        scratch,
        "-c",
        "import twisted_mail_kit, twisted_mail_kit.plugin as p\n"
        "print(twisted_mail_kit.__file__)\n"
        "print(sorted((one.kind, one.name) for one in p.installed()), list(p.broken()))\n"
        "print([one.load() for one in p.installed()])",
    )
    assert str(scratch.parents[2]) in said
    assert "('store', 'sqlite')" in said


def test_the_mailkit_command_is_there(scratch: Path) -> None:
    assert "user" in run(scratch, str(scratch.parent / "mailkit"), "--help")


def test_the_samples_of_the_demo_are_packed(scratch: Path) -> None:
    said = run(
        scratch,
        "-c",
        "from importlib.resources import files\n"
        "print(len([one for one in files('twisted_mail_kit').joinpath('samples').iterdir()]))",
    )
    assert int(said) == 3


def test_the_type_marker_is_packed(scratch: Path) -> None:
    run(
        scratch,
        "-c",
        "from importlib.resources import files; assert files('twisted_mail_kit').joinpath('py.typed').is_file()",
    )


def test_this_python_is_the_one_that_setup_cfg_asks_for() -> None:
    assert sys.version_info >= (3, 11)
