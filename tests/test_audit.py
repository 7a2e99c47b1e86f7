"""``make audit`` says what pip-audit found, and does not take what could not be looked up for clean."""

import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOUND = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}
PACKAGES = [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "version": "2", "vulns": [FOUND]}]


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", REPOSITORY / ".ci" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_findings_known_ones_and_stale_ones(audit, capsys):
    assert audit.report(PACKAGES, {}) == 1
    assert "FOUND b 2: PYSEC-1, mended by 2.1" in capsys.readouterr().out
    assert audit.report(PACKAGES, {"CVE-1": "b CVE-1: harmless here", "CVE-9": "…"}) == 0
    out = capsys.readouterr().out
    assert "known b CVE-1: harmless here" in out
    assert "audit.toml names CVE-9, which is found no more" in out


def test_what_could_not_be_looked_up_is_not_clean(audit, capsys):
    assert audit.report([PACKAGES[0], {"name": "c", "skip_reason": "not found"}], {}) == 2
    assert "Not audited: 1 of 2 packages" in capsys.readouterr().out


def test_what_is_ignored_has_a_reason_and_a_date(audit, tmp_path):
    assert isinstance(audit.ignored(REPOSITORY / "audit.toml"), dict)
    file = tmp_path / "audit.toml"
    file.write_text('[[ignored]]\nid = "CVE-1"\npackage = "b"\nreason = "harmless"\ndate = 2020-01-01\n')
    assert "look again" in audit.ignored(file)["CVE-1"]
    file.write_text('[[ignored]]\nid = "CVE-1"\npackage = "b"\ndate = 2020-01-01\n')
    with pytest.raises(ValueError, match="CVE-1 lacks reason"):
        audit.ignored(file)
