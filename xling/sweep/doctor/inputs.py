"""Whether what a sweep reads can be had: its models where they are loaded, its data where it is launched."""

from __future__ import annotations

from xling.sweep.doctor.checks import Answers, Order, State, Verdict, check, listed, probe

NO_SWEEP = "no sweep file is given"


@probe(by_caller=True)
def models_at_hand(order: Order) -> dict[str, str]:
    """Each model's problem, empty where there is none. Nothing is downloaded."""
    from pathlib import Path

    import huggingface_hub

    found: dict[str, str] = {}
    for folder in order["model_folders"]:
        found[folder] = "" if Path(folder, "config.json").is_file() else "is no model folder here"
    for name, revision in order["hub_models"]:
        try:
            cached = Path(huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True))
            if any(any(cached.rglob(pattern)) for pattern in ("*.safetensors", "pytorch_model*.bin")):
                found[name] = ""
                continue
        except Exception:  # it is not there, which its library tells in several ways: ask the hub
            pass
        try:
            huggingface_hub.HfApi().model_info(name, revision=revision, timeout=5)
            found[name] = ""
        except Exception as error:  # unreachable, unknown, gated: its HTTP library's errors have no public base
            found[name] = (str(error).strip() or type(error).__name__).splitlines()[0]
    return found


@probe(by_caller=True)
def hub_answers(order: Order) -> str:
    """Why the hub cannot be reached, where data sets want it; empty where it can."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    if not order["hub_data"]:
        return ""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=5).close()
    except HTTPError:
        pass  # it answers
    except OSError as error:
        return str(error)
    return ""


@check(
    "models",
    why="The weights that training starts from are loaded on the node of each worker; baselines' by their drivers.",
    fix="fetch them once on each of those nodes (`hf download ID`), let all nodes share HF_HOME, or copy the files to "
    "shared storage and name that folder as model.path",
    probes=[models_at_hand],
)
def models(answers: Answers) -> Verdict:
    found = answers.of(models_at_hand)
    names = sorted({name for models in found.values() for name in models})
    if not names:
        return Verdict(State.NOT_APPLICABLE, "all models are built here" if answers.subject.workers else NO_SWEEP)
    told, wrong = [], []
    for name in names:
        lacking = {node: models[name] for node, models in found.items() if models.get(name)}
        if lacking:
            told.append(f"{name} on {listed(lacking)}: {next(iter(lacking.values()))}")
            wrong += list(lacking)
    if told:
        return Verdict(State.FAILED, "; ".join(told), nodes=tuple(dict.fromkeys(wrong)))
    return Verdict(State.OK, f"{listed(names)}: in the cache, on the hub or in their folders")


@check(
    "data from the hub",
    why="Data sets without a `path` are read on the machine that launches, from the hub or its cache there.",
    fix="download the files elsewhere and name their folder as `path`; if they are in the cache already, set "
    "HF_HUB_OFFLINE=1",
    probes=[hub_answers],
)
def data(answers: Answers) -> Verdict:
    if not answers.subject.hub_data:
        return Verdict(State.NOT_APPLICABLE, "all data are local" if answers.subject.workers else NO_SWEEP)
    problem = next((text for text in answers.of(hub_answers).values() if text), "")
    names = listed(answers.subject.hub_data)
    if problem:  # its files may be in the cache, which only reading them all would tell
        return Verdict(State.WARNING, f"{names}: the hub is not asked ({problem})")
    return Verdict(State.OK, f"{names}: the hub answers")
