"""Before any trial: put on storage what the jobs read, once, in the sweep's own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xling.data.records import TrainingSet
from xling.data.stored import store_retrieval
from xling.data.tokenize import tokenize_retrieval
from xling.model.source import LoadedModel
from xling.model.tokenizer import ensure_tokenizer, tokenizer_digest
from xling.storage import Storage
from xling.sweep.jobs import Job
from xling.sweep.study import Study
from xling.train.inputs import load_untrained, store_inputs


def prepare(root: Storage, sweep: str, study: Study, jobs: Sequence[Job], tell: Callable[[str], None]) -> None:
    """Store what the jobs read, and their own records."""
    prepare_inputs(root, study, jobs, tell)
    for job in jobs:
        root.write(f"{job.folder(sweep)}/cell.json", job.to_json().encode())


def prepare_inputs(root: Storage, study: Study, jobs: Sequence[Job], tell: Callable[[str], None]) -> None:
    """Store retrieval sets and tokens. Everything already there is left as it is.

    Each of them is looked at once, however many jobs need it: to tell that a token table is whole takes reading it.
    """
    starts: dict[tuple[str, str], LoadedModel] = {}
    digests: dict[tuple[str, str], str] = {}  # of their tokenizers
    looked: set[tuple[object, ...]] = set()

    def is_first(*what: object) -> bool:
        known = what in looked
        looked.add(what)
        return not known

    for job in jobs:
        training = study.training_of(job)
        key = (job.texts, job.config.model.model_dump_json(exclude={"warm_start", "dropout"}))
        if key not in starts:
            tell(f"Tokenising for {job.size}")
            starts[key] = _start(root, training, job)
            digests[key] = tokenizer_digest(starts[key].tokenizer)
        by = digests[key], starts[key].settings  # what tokens go by
        if is_first("items", by, training.fingerprint):
            _tell_cuts(tell, training.name, store_inputs(root, training, starts[key]).truncated)
        if job.kind == "warm" and is_first("names", by, training.names_fingerprint):
            store_inputs(root, training, starts[key], names=True)
        for fingerprint in sorted({job.dev, *(e.fingerprint for e in job.evaluations)} - {""}):
            if is_first("evaluated", by, fingerprint):
                retrieval = study.retrievals[fingerprint]
                store_retrieval(root, retrieval)
                tokens = tokenize_retrieval(root, starts[key].tokenizer, by[0], retrieval, by[1])
                _tell_cuts(tell, retrieval.name, tokens.truncated)


def _tell_cuts(tell: Callable[[str], None], name: str, truncated: Mapping[str, int]) -> None:
    """Say how many texts were longer than the model's limits, by side and language."""
    cut = {group: count for group, count in truncated.items() if count}
    if cut:
        listed = ", ".join(f"{group} {count}" for group, count in sorted(cut.items()))
        tell(f"{name}: {sum(cut.values())} texts are cut to the token limits: {listed}")


def _start(root: Storage, training: TrainingSet, job: Job) -> LoadedModel:
    model = job.config.model
    if model.learns_tokenizer:
        ensure_tokenizer(root, training, model.learnt_vocabulary)
    return load_untrained(root, model, job.config.seed, job.texts, job.weights)
