"""The model card of an exported model: Markdown under the front matter that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from xling.evaluate.result import EvaluationResult
from xling.model.layout import TextSettings
from xling.report.notes import search_note, used_note
from xling.report.tables import Grid, as_markdown, matrix, scores

TAGS = ("sentence-transformers", "feature-extraction", "sentence-similarity", "dense-retrieval", "xling")
UNKNOWN = "not known here"


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card tells.

    Attributes:
        languages: that the model was trained on; empty where that is not known.
        has_projection: whether a layer stands between pooling and embedding.
        base_model: hub id of the weights that training began from; empty for others.
        training: what was trained, in rows of a table; empty for a model that is no cell of a sweep.
        results: of that very model, as its cell holds them.
        licences: of what the model is made of, with the licence's name, or "" where it is not known.
        versions: of the packages it was trained with.
    """

    name: str
    settings: TextSettings
    dimension: int
    parameters: int
    languages: tuple[str, ...] = ()
    has_projection: bool = False
    base_model: str = ""
    training: Mapping[str, str] = field(default_factory=dict)
    results: Sequence[EvaluationResult] = ()
    licences: Sequence[tuple[str, str]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def model_card(facts: CardFacts) -> str:
    """The whole ``README.md``."""
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(facts), sort_keys=False, allow_unicode=True)}---\n",
        f"# {facts.name}\n\n{_about(facts)}\n",
        f"## Use\n\n{_use(facts)}",
        f"## Training\n\n{_training(facts)}",
        f"## Results\n\n{_results(facts)}",
        f"## Licence\n\n{_licence(facts)}",
    ]
    return "\n".join(parts)


def _front_matter(facts: CardFacts) -> dict[str, Any]:
    # No `license`: which one the weights may be given is for whoever publishes them to find out.
    found: dict[str, Any] = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": list(TAGS),
    }
    if facts.languages:  # the hub's codes have no regions
        found["language"] = list(dict.fromkeys(code.partition("_")[0] for code in facts.languages))
    if facts.base_model:
        found |= {"base_model": facts.base_model, "base_model_relation": "finetune"}
    return found


def _about(facts: CardFacts) -> str:
    of = f" in {len(facts.languages)} languages ({', '.join(facts.languages)})" if facts.languages else ""
    return (
        f"A dual encoder for retrieval: it turns queries and passages{of} into vectors of {facts.dimension} numbers "
        "and length 1. The nearer a passage's is to a query's, the better the passage should answer it, whatever "
        f"languages the two are in. {facts.parameters:,} parameters."
    )


def _use(facts: CardFacts) -> str:
    settings = facts.settings
    prompts = {"encode_query": settings.query_prefix, "encode_document": settings.passage_prefix}
    puts = [f"`{name}` puts {_code(prompt)} before each text" for name, prompt in prompts.items() if prompt]
    told = ", ".join(puts) + ": training and scoring did so too" if puts else "Neither puts anything before a text"
    cut = f"Texts are cut after {settings.max_tokens} tokens."
    if settings.max_query_tokens != settings.max_passage_tokens:
        cut += (
            f" Training and scoring cut queries after {settings.max_query_tokens} and passages after "
            f"{settings.max_passage_tokens}; sentence-transformers knows one limit and has the larger: a "
            "text of the other kind that is longer than its own gets another vector there. `xling.json` holds both."
        )
    pooled = "the mean of the token vectors" if settings.pooling == "mean" else "the first token's vector"
    through = ", through the layer in `2_Dense`" if facts.has_projection else ""
    return (
        "```python\n"
        "from sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("{facts.name}")  # this folder\n'
        'queries = model.encode_query(["Which currency is used in Kenya?"])\n'
        'passages = model.encode_document(["Das gesetzliche Zahlungsmittel Kenias ist der Kenia-Schilling."])\n'
        "print(queries @ passages.T)\n"
        "```\n\n"
        f"{told}. {cut}\n\n"
        f"`transformers.AutoModel` loads the transformer alone. An embedding is {pooled}{through}, scaled to length 1. "
        "If it misses the weights of a pooler: none is used.\n"
    )


def _training(facts: CardFacts) -> str:
    if not facts.training:
        return "Nothing is known here: the folder that was exported is no cell of a sweep.\n"
    table = as_markdown((["what", "value"], [[name, _cell(value)] for name, value in facts.training.items()]))
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return table + (f"\nTrained with {versions}.\n" if versions else "")


def _results(facts: CardFacts) -> str:
    if not facts.results:
        return "None are known here. `xling evaluate DIR --dataset NAME` measures some.\n"
    parts = [
        "Retrieval by this one model. *Mo.*: query and passage in one language. *Cr.*: in two. *Mul.*: "
        "against the passages of all languages. Another seed gives other figures.\n"
    ]
    for result in facts.results:
        lead = result.measures[0]
        parts.append(f"### {result.dataset}\n\n{as_markdown(_escaped(scores(result.headline)))}")
        pairs = matrix(result.pair_values[lead], result.languages)
        parts.append(f"{lead} by pair of languages, the query's down, the passage's across:\n\n{as_markdown(pairs)}")
        notes = [*filter(None, (search_note([result.headline]), used_note(result)))]
        parts.append("\n".join([*notes, f"Data fingerprint `{result.fingerprint}`.\n"]))
    return "\n".join(parts)


def _licence(facts: CardFacts) -> str:
    made_of = ""
    if facts.licences:
        rows = [[_cell(what), _cell(terms or UNKNOWN)] for what, terms in facts.licences]
        made_of = "What it was made of, and the licence as its source states it:\n\n" + as_markdown(
            (["what", "licence"], rows)
        )
        made_of += "\n"
    return (
        f"{made_of}This card gives the model itself no licence. Whether and how it may be used and passed on follows "
        "from the licences of the base model and the data: check them at their sources before you do either.\n"
    )


def _escaped(grid: Grid) -> Grid:
    headings, body = grid
    return headings, [[_cell(text) for text in row] for row in body]


def _cell(text: str) -> str:
    """A text that is no column of its own in a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return f'`"{text}"`'
