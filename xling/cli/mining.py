"""``xling mine``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from xling.cli.data_sets import refuse_options
from xling.cli.options import Json, StorageOption, Trust, console
from xling.errors import ConfigError

_RANKS = re.compile(r"(\d+)-(\d+)", re.ASCII)
_SHARE = 0.95  # where neither --margin nor --max-share is given


def mine(
    spec: Annotated[str, typer.Argument(help="A sweep file, or a training set's name with the options below.")],
    model: Annotated[str, typer.Option(help="The encoder: SWEEP/CELL, a model folder, a preset or a hub id.")],
    out: Annotated[Path, typer.Option(help="Folder for what is found.")],
    path: Annotated[Optional[str], typer.Option(help="The set's file or folder.")] = None,  # noqa: UP045 - typer reads it
    languages: Annotated[Optional[str], typer.Option(help="Only these, with commas.")] = None,  # noqa: UP045
    titles: Annotated[Optional[list[str]], typer.Option("--title", help="Only this article. Repeatable.")] = None,  # noqa: UP045
    limit: Annotated[Optional[int], typer.Option(min=1, help="At most so many items.")] = None,  # noqa: UP045
    hard_negatives: Annotated[Optional[int], typer.Option(min=0, help="Of the set's own, so many an item.")] = None,  # noqa: UP045
    bad_rows: Annotated[str, typer.Option(help="stop at a wrong row, or skip and count.")] = "stop",
    within: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="X-X: passages in the question's language (the default). X-Y: in each of the others."),
    ] = None,
    pairs: Annotated[Optional[str], typer.Option(help="Or these pairs: en-de,en-en; question first.")] = None,  # noqa: UP045
    ranks: Annotated[str, typer.Option(help="Ranks negatives are taken from, positives left out.")] = "10-100",
    margin: Annotated[Optional[float], typer.Option(help="A negative scores so much below the positive.")] = None,  # noqa: UP045
    max_share: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help=f"At most this share of the positive's score; {_SHARE} where no --margin is given."),
    ] = None,
    per_question: Annotated[int, typer.Option(min=1, help="Negatives a question, at most.")] = 8,
    choose: Annotated[str, typer.Option(help="Of those that fit: top, the nearest, or random.")] = "top",
    seed: Annotated[Optional[int], typer.Option(min=0, help="Of the random choice; 0 by default.")] = None,  # noqa: UP045
    other_articles: Annotated[bool, typer.Option("--other-articles", help="None of the item's own article.")] = False,
    depth: Annotated[int, typer.Option(min=1, help="Passages looked at a question, at most.")] = 1000,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="A field of a sweep's evaluation section: index.kind=ivf. Repeatable."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Ray tasks at most.")] = 2,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of a task that encodes.")] = 0,
    storage: StorageOption = "runs",
    address: Annotated[Optional[str], typer.Option(help="Ray cluster; one on this machine by default.")] = None,  # noqa: UP045
    json: Json = False,
    trust_remote_code: Trust = False,
) -> None:
    """Find hard negatives for training data with a trained encoder; `data.train.mined` trains with them."""
    from xling.config.load import load_evaluation, load_sweep
    from xling.config.schema import TrainingEntry
    from xling.data.selected import parse_pairs
    from xling.mine.choose import Rule
    from xling.sweep.models.mine import Request, mine_sets, sweep_entries
    from xling.sweep.registered import check_registered

    if bad_rows not in ("stop", "skip"):
        raise ConfigError(f"--bad-rows is {bad_rows!r}, must be stop or skip")
    if within not in (None, "X-X", "X-Y"):
        raise ConfigError(f"--within is {within!r}, must be X-X or X-Y")
    if choose not in ("top", "random"):
        raise ConfigError(f"--choose is {choose!r}, must be top or random")
    if choose == "top" and seed is not None:
        raise ConfigError("--seed goes with --choose random, there is no chance in top; remove it")
    first, last = _window(ranks)
    rule = Rule(
        first=first,
        last=last,
        margin=margin,
        max_share=_SHARE if margin is None and max_share is None else max_share,
        per_question=per_question,
        choose="top" if choose == "top" else "random",
        seed=seed or 0,
        other_articles=other_articles,
    )
    is_cross = None if within is None else within == "X-Y"
    request = Request(is_cross, parse_pairs(pairs) if pairs else (), rule, depth)
    settings = load_evaluation(set_ or ())
    if spec.endswith((".yaml", ".yml")):
        own = {"hard-negatives": hard_negatives is not None, "bad-rows": bad_rows != "stop"}
        refuse_options(path=path, languages=languages, title=titles, limit=limit, **own)
        entries = sweep_entries(load_sweep(Path(spec), (), [check_registered]))
    else:
        entry = TrainingEntry(
            dataset=spec,
            path=path,
            languages=tuple(code.strip() for code in languages.split(",")) if languages else None,
            titles=tuple(titles) if titles else None,
            limit=limit,
            hard_negatives=hard_negatives,
            bad_rows="skip" if bad_rows == "skip" else "stop",
        )
        entries = [entry]
    mine_sets(
        entries,
        model,
        request,
        settings,
        storage,
        out,
        console(),
        address=address,
        workers=workers,
        gpus=gpus,
        as_json=json,
        trust_remote_code=trust_remote_code,
    )


def _window(text: str) -> tuple[int, int]:
    found = _RANKS.fullmatch(text)
    if found is None:
        raise ConfigError(f"--ranks is {text!r}, must be two ranks joined by a hyphen, as in 10-100")
    return int(found[1]), int(found[2])
