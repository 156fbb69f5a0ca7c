"""What is written for readers leads where it says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *(p for folder in ("augment", "benchmarks", "docs", "examples") for p in (ROOT / folder).rglob("*.md")),
    )
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_that_are_there(document):
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert [name for name in DOCUMENTS if name.startswith("docs/") and f"({name})" not in text] == []
