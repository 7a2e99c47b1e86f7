"""What a launch puts on storage, and how often it looks at what is there."""

from collections import Counter

from small_sweeps import load

from xling.data import token_table
from xling.sweep.launching.prepare import prepare


def prepared(tmp_path, monkeypatch, *overrides: str) -> tuple[Counter, list[str]]:
    """How often a launch reads each token table through, and what it tells."""
    _, study, root = load(tmp_path, *overrides)
    reads, told = Counter(), []
    crc32_of = token_table.crc32_of

    def counted(file):
        if root.url in str(file):
            reads[file.parent.name] += 1
        return crc32_of(file)

    monkeypatch.setattr(token_table, "crc32_of", counted)
    prepare(root, "small", study, [*study.warm, *study.scored], told.append)
    monkeypatch.setattr(token_table, "crc32_of", crc32_of)
    assert all(root.exists(f"{job.folder('small')}/cell.json") for job in (*study.warm, *study.scored))
    assert sorted(reads) == sorted(root.list("tokens"))
    return reads, told


def test_a_launch_reads_every_token_table_once_however_many_cells_there_are(tmp_path, monkeypatch):
    overrides = ("grid=[{model.preset: [tiny, mini]}, {seed: [0, 1, 2]}]", "model.max_passage_tokens=5")
    _, told = prepared(tmp_path, monkeypatch, *overrides)
    assert len([line for line in told if "are cut to the token limits" in line]) >= 2
    reads, again = prepared(tmp_path, monkeypatch, *overrides)
    assert set(reads.values()) == {1}
    assert again == told
