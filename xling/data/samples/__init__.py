"""A small sample of every data set, self-written in its exact format: for tests, and for `xling sweep --dry-run`.

A new data set enters its writer in ``SAMPLES``: it gets an empty folder, writes files as they are
published, and returns the configuration that reads them. Of a set that can be trained on, four
items or more are left in some language, and in two where it is parallel, once the dev split is held
out; every split that is scored is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xling.config.schema import DatasetConfig
from xling.data.samples.parallel import FIXTURES, geo, pairs, parallel_jsonl
from xling.data.samples.retrieval import beir, lareqa, miracl, mr_tydi, tydiqa_goldp, xor_retrieve


def _fixture(name: str) -> Callable[[Path], DatasetConfig]:
    return lambda folder: FIXTURES[name].write(folder, name)


SAMPLES: dict[str, Callable[[Path], DatasetConfig]] = {
    "beir": beir,
    "geo": geo,
    "miracl": miracl,
    "mkqa": _fixture("mkqa"),
    "mlqa-r": lareqa("mlqa-r"),
    "mmarco": _fixture("mmarco"),
    "mr-tydi": mr_tydi,
    "pairs": pairs,
    "parallel-jsonl": parallel_jsonl,
    "squad": _fixture("squad"),
    "squad-translate-train": _fixture("squad-translate-train"),
    "tydiqa-goldp": tydiqa_goldp,
    "xor-retrieve": xor_retrieve,
    "xquad-r": lareqa("xquad-r"),
}
