import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def build(tmp_path):
    def run(source):
        command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", str(source)]
        return subprocess.run([*command, str(tmp_path / "site")], capture_output=True, text=True, check=False)

    return run


def test_the_documentation_builds_without_a_warning(build, tmp_path):
    done = build(ROOT / "docs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Your first sync" in (tmp_path / "site" / "tutorial" / "first-sync.html").read_text("utf-8")


def test_a_link_that_leads_nowhere_is_a_failure(build, tmp_path):
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text() + "\nhtml_static_path = []\n")
    (source / "index.md").write_text("# A page\n\n[nowhere](missing.md)\n")
    done = build(source)
    assert done.returncode != 0
    assert "missing.md" in done.stderr


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_what_the_repository_s_own_pages_link_to_is_there(page):
    text = (ROOT / page).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []
