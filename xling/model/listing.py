"""``xling models``: the presets, and one of them whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console

from xling.config import presets

_HEADS = (
    "preset",
    *("layers x dim", "embedding", "M in all", "M without tables", "lr", "batch"),
    *("licence", "hub id and prefixes"),
)
_TEXTS_FROM = 7  # the column from which on cells are texts, not figures
_NOT_MEASURED = (
    "Rates and batches are recommendations to begin with: of the first three, chosen on dev of the embedded data set; "
    "of the others, as published by the source named, not measured here."
)


def list_models(console: Console, *, as_json: bool) -> None:
    """Every preset in a line."""
    listed = [about_preset(presets.get(name)) for name in presets.names()]
    if as_json:
        console.print_json(json.dumps(listed))
        return
    rows = [_HEADS] + [
        (
            about["name"],
            f"{about['layers']} x {about['hidden']}",
            str(about["embedding"]),
            _millions(about["parameters"]),
            _millions(about["parameters_non_embedding"]),
            f"{about['recommended']['lr']:g}",
            str(about["recommended"]["batch_size"]),
            about["licence"] or "",
            " ".join(filter(None, (about["hub"] or "built from nothing", _prefixes(about)))),
        )
        for about in listed
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if 0 < number < _TEXTS_FROM else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        console.print("  ".join(cells).rstrip(), soft_wrap=True)
    console.print(f"\n{_NOT_MEASURED}", soft_wrap=True)


def show_model(name: str, console: Console, *, as_json: bool) -> None:
    """All that is known of a preset, and how to write it. Raises ConfigError for an unknown name."""
    about = about_preset(presets.get(name))
    if as_json:
        console.print_json(json.dumps(about))
        return
    recommended = about["recommended"]
    rows = {
        "hub": about["hub"],
        "licence": about["licence"],
        "layers": f"{about['layers']} x {about['hidden']} ({about['architecture']}), {about['heads']} heads",
        "embedding": f"{about['embedding']}, pooling {about['pooling']}",
        "tokens": f"{about['vocabulary']:,} in the vocabulary, {about['max_tokens']} in a text",
        "parameters": f"{about['parameters']:,}, {about['parameters_non_embedding']:,} without tables",
        "prefixes": _prefixes(about),
        "begin with": f"lr {recommended['lr']:g}, batch {recommended['batch_size']} ({recommended['source']})",
    }
    console.print(f"{name}, {about['about']}", soft_wrap=True)
    for title, value in rows.items():
        if value:
            console.print(f"  {title:10s} {value}", soft_wrap=True)
    console.print(f"\nmodel: {{ preset: {name} }}", soft_wrap=True)
    if about["hub"]:
        console.print(
            f"model: {{ preset: {name}, revision: … }}   # a commit, tag or branch\n"
            f"model: {{ preset: {name}, init: random }}  # the architecture alone, from the seed: no hub\n"
            "model: { path: … }                    # a folder of the same layout",
            soft_wrap=True,
        )


def about_preset(preset: presets.Preset) -> dict[str, Any]:
    """What is known of a preset; of a built one with a full vocabulary and the default text lengths."""
    shape = preset.architecture() if isinstance(preset, presets.BuiltPreset) else preset.shape
    published = (
        {"hub": None, "licence": None, "pooling": "mean", "query_prefix": "", "passage_prefix": ""}
        if isinstance(preset, presets.BuiltPreset)
        else {
            field: getattr(preset, field) for field in ("hub", "licence", "pooling", "query_prefix", "passage_prefix")
        }
    )
    return {
        "name": preset.name,
        "about": preset.summary,
        **published,
        "architecture": shape.kind,
        "layers": shape.layers,
        "hidden": shape.hidden,
        "heads": shape.heads,
        "embedding": shape.dense or shape.hidden,
        "vocabulary": shape.vocab_size,
        "max_tokens": shape.max_tokens,
        "parameters": shape.parameters,
        "parameters_non_embedding": shape.parameters - shape.embedding_parameters,
        "recommended": asdict(preset.recommended),
    }


def _prefixes(about: dict[str, Any]) -> str:
    given = [about["query_prefix"], about["passage_prefix"]]
    return " ".join(f'"{prefix}"' for prefix in given) if any(given) else ""


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f}" if count < 1e7 else f"{count / 1e6:.1f}"
