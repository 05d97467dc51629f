"""What the documents say is true: the examples run, the reference is today's, the links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from twisted_mail_kit.reference import MARK, reference

TOP = Path(__file__).parents[2]
DOCUMENTS = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").rglob("*.md"))]


def test_the_reference_of_settings_is_todays() -> None:
    document = (TOP / "docs" / "configuration.md").read_text()
    _, found, rest = document.partition(MARK)
    assert found
    assert rest.strip() == reference().strip(), "run `python -m twisted_mail_kit.reference`"


def test_every_setting_is_explained() -> None:
    for line in reference().splitlines():
        assert not re.search(r"\|\s*\|$", line), f"a setting without a sentence: {line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/tour.md"])
def test_files_that_are_named_are_there(name: str) -> None:
    named = set(re.findall(r"`([a-z0-9_./]+(?:\.py|/))`", (TOP / name).read_text()))
    assert named
    package = TOP / "twisted_mail_kit"
    there = {one for one in named if any((top / one).exists() for top in (TOP, package, TOP / "tests"))}
    there |= {one for one in named if "/" not in one and list(package.rglob(one))}  # its folder was named just before
    there |= {one for one in named if list(package.glob(f"*/{one}"))}
    assert named - there == set()


def test_the_readmes_configuration_has_no_errors(tmp_path: Path) -> None:
    from twisted_mail_kit.config import load

    (example,) = re.findall(r"```toml\n(.*?)```", (TOP / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "mailkit.toml"
    file.write_text(example)
    assert tomllib.loads(example)["hostname"] == "mx.example.org"
    assert len(load(file).tables.listen) == 4
