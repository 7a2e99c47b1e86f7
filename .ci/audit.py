"""``make audit``: whether a pinned dependency has a known vulnerability. Run in an environment that holds pip-audit.

Exit status: 0 clean, 1 findings, 2 not all could be looked up, so that nothing is known of those.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
OLD_DAYS = 180  # after which an ignored finding should be looked at again


def ignored(file: Path) -> dict[str, str]:
    """Ids of findings that are known, each with what to say of it. Raises ValueError where a reason or date lacks."""
    found = {}
    for entry in tomllib.loads(file.read_text(encoding="utf-8")).get("ignored", ()):
        missing = [name for name in ("id", "package", "reason", "date") if not entry.get(name)]
        if missing:
            raise ValueError(f"{file.name}: {entry.get('id', 'an entry')} lacks {', '.join(missing)}")
        days = (datetime.date.today() - entry["date"]).days
        again = f"; looked at {days} days ago, look again" if days > OLD_DAYS else ""
        found[entry["id"]] = f"{entry['package']} {entry['id']}: {entry['reason']} ({entry['date']}{again})"
    return found


def main() -> int:
    known = ignored(REPOSITORY / "audit.toml")
    pins = REPOSITORY / "constraints.txt"
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", *sys.argv[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"Not audited, the vulnerability service cannot be reached: {last[:300]}\nTry again with a network.")
        return 2
    return report(packages, known)


def report(packages: list[dict], known: dict[str, str]) -> int:
    """Print what was found of pip-audit's list of packages; the exit status."""
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    findings = [(p["name"], p["version"], v) for p in packages for v in p.get("vulns", ())]
    new, seen = [], set()
    for name, version, finding in findings:
        ids = {finding["id"], *finding.get("aliases", ())}
        seen |= ids & known.keys()
        if not ids & known.keys():
            fixed = ", ".join(finding.get("fix_versions", ())) or "no release"
            new.append(f"{name} {version}: {finding['id']}, mended by {fixed}")
    for line in (*(f"FOUND {line}" for line in new), *(f"known {known[one]}" for one in sorted(seen))):
        print(line)
    for one in sorted(known.keys() - seen) if not unknown else ():
        print(f"audit.toml names {one}, which is found no more: remove it")
    if unknown:
        shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        print(
            f"Not audited: {len(unknown)} of {len(packages)} packages, which the service does not know here ({shown})."
        )
        print("Nothing is said of these. Try again with a network to pypi.org, or: make audit SERVICE=osv")
        return 1 if new else 2
    print(f"{len(packages)} packages audited, {len(new)} findings" + (f", {len(seen)} known ones" if seen else ""))
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
