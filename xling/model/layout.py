"""Model folders on disk: which files of the Hugging Face and sentence-transformers layouts mean what.

Read here: ``modules.json`` (Transformer, Pooling, Dense, Normalize), ``config.json`` of the pooling and of
the Dense module, ``sentence_*_config.json``, prompts, and our own ``xling.json`` beside them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from xling.config.presets import Pooling
from xling.errors import CheckpointError
from xling.model.projection import DenseConfig, dense_config

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
)
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
_POOLING_NAMES: dict[str, Pooling] = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}
_OWN_FILE = "xling.json"
DENSE_FOLDER = "2_Dense"  # of the folders we write
_MODULE_LISTS = (
    "Transformer",
    "Transformer,Pooling",
    "Transformer,Pooling,Normalize",
    "Transformer,Pooling,Dense",
    "Transformer,Pooling,Dense,Normalize",
)
_COPY_AGAIN = "copy the whole folder again"


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How texts become token ids, and token vectors become one."""

    query_prefix: str = ""
    passage_prefix: str = ""
    max_query_tokens: int = 96
    max_passage_tokens: int = 256
    pooling: Pooling = "mean"

    @property
    def max_tokens(self) -> int:
        return max(self.max_query_tokens, self.max_passage_tokens)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder says about itself. ``settings`` is None for a folder that is not ours."""

    folder: Path
    transformer: Path
    files: tuple[Path, ...]  # all that decide its embeddings, sorted
    pooling: Pooling | None = None
    max_tokens: int | None = None
    query_prefix: str = ""
    passage_prefix: str = ""
    lower_case: bool = False
    settings: TextSettings | None = None
    dense: DenseConfig | None = None
    dense_folder: Path | None = None  # with the weights of ``dense``


def read_layout(folder: Path, *, pooling_given: bool = False, architecture_only: bool = False) -> Layout:
    """Check a model folder's files and read everything but weights and vocabulary.

    Args:
        folder: a Hugging Face folder, a sentence-transformers folder, or one of ours.
        pooling_given: the caller names the pooling, so the folder's own is not read.
        architecture_only: the folder needs neither weights nor a tokenizer, and they do not count.

    Raises:
        CheckpointError: a file is missing or cut, or a module is one that cannot be run here.
    """
    if not folder.is_dir():
        raise CheckpointError(f"model folder {folder} does not exist, must be a folder; correct `model.path`")
    modules = _modules(folder)
    transformer, pooling_folder, dense_folder = (modules.get(kind) for kind in ("Transformer", "Pooling", "Dense"))
    assert transformer is not None
    extra = [folder / "modules.json"]
    read_json(transformer / "config.json")
    files = [transformer / "config.json", *(transformer.glob("*.py") if named_code(transformer) else ())]
    if not architecture_only:
        files += [*_weights(transformer), *_tokenizer_files(transformer)]
    pooling: Pooling | None = None
    if pooling_folder is not None:
        extra.append(pooling_folder / "config.json")
        pooling = None if pooling_given else _pooling(extra[-1])
    dense: DenseConfig | None = None
    if dense_folder is not None:
        dense = dense_config(read_json(dense_folder / "config.json"), dense_folder / "config.json")
        extra += [dense_folder / "config.json", *(() if architecture_only else _weights(dense_folder))]
    own = folder / _OWN_FILE
    settings = _own_settings(own) if own.exists() else None
    sentence = sorted(transformer.glob("sentence_*_config.json"))[:1]
    prompts_file = folder / "config_sentence_transformers.json"
    sentence_config = read_json(sentence[0]) if sentence else {}
    longest = sentence_config.get("max_seq_length")
    if longest is not None and (type(longest) is not int or longest < 1):
        raise CheckpointError(f"{sentence[0]} has max_seq_length {longest!r}, must be a positive number; {_COPY_AGAIN}")
    prompts = _prompts(prompts_file) if prompts_file.exists() else {}
    files += [file for file in (own, prompts_file, *sentence, *extra) if file.exists()]
    return Layout(
        folder=folder,
        transformer=transformer,
        files=tuple(sorted(files)),
        pooling=settings.pooling if settings else pooling,
        max_tokens=longest,
        query_prefix=prompts.get("query", ""),
        passage_prefix=prompts.get("document") or prompts.get("passage", ""),
        lower_case=bool(sentence_config.get("do_lower_case", False)),
        settings=settings,
        dense=dense,
        dense_folder=dense_folder,
    )


def named_code(transformer: Path) -> list[str]:
    """Classes in code of the folder's own, ``modeling.Encoder``, that its configuration or tokenizer asks for."""
    found: list[str] = []
    for file in (transformer / "config.json", transformer / "tokenizer_config.json"):
        asked = read_json(file).get("auto_map") if file.exists() else None
        for names in asked.values() if isinstance(asked, dict) else [asked]:
            found += [str(name) for name in (names if isinstance(names, list) else [names]) if name]
    return found


def weight_folders(folder: Path) -> list[Path]:
    """Folders that must hold weights, before it is known whether they do.

    Raises:
        CheckpointError: ``modules.json`` is cut or lists a module that cannot be run here.
    """
    return [path for kind, path in _modules(folder).items() if kind in ("Transformer", "Dense")]


def write_layout(folder: Path, settings: TextSettings, width: int, dense: DenseConfig | None = None) -> None:
    """Add what makes a Hugging Face folder a sentence-transformers folder, and ``xling.json`` last.

    Args: width: of the transformer; dense: of the projection whose weights are in ``DENSE_FOLDER``.
    """
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if dense is not None:
        modules.append((DENSE_FOLDER, "Dense"))
        _write_json(folder / DENSE_FOLDER / "config.json", dense.to_json())
    normalize = f"{len(modules)}_Normalize"
    modules.append((normalize, "Normalize"))
    _write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(modules)
        ],
    )
    modes = dict.fromkeys(("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"), False)
    modes["cls_token" if settings.pooling == "cls" else "mean_tokens"] = True
    pooling = {"word_embedding_dimension": width, **{f"pooling_mode_{name}": on for name, on in modes.items()}}
    _write_json(folder / "1_Pooling" / "config.json", pooling)
    _write_json(folder / normalize / "config.json", {})  # a file, for stores that have no empty folders
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": settings.max_tokens, "do_lower_case": False})
    prompts = {
        "query": settings.query_prefix,
        "document": settings.passage_prefix,
        "passage": settings.passage_prefix,
    }
    _write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    _write_json(folder / _OWN_FILE, {"format": 1, "settings": asdict(settings)})


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; raises CheckpointError naming the file."""
    value = _parse(file)
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} holds a {type(value).__name__}, must be a JSON object; {_COPY_AGAIN}")
    return value


def _parse(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing, a model folder must hold it; {_COPY_AGAIN}") from error
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON ({error}), must be whole; {_COPY_AGAIN}") from error


def _write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _modules(folder: Path) -> dict[str, Path]:
    """Folders of the modules by kind; the folder itself is the Transformer where it lists none."""
    file = folder / "modules.json"
    if not file.exists():
        return {"Transformer": folder}
    modules = _parse(file)
    try:
        kinds = [_kind(str(module["type"])) for module in modules]
        paths = [_inside(folder, module["path"], file) for module in modules]
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{file} is no list of modules with type and path; {_COPY_AGAIN}") from error
    if ",".join(kinds) not in _MODULE_LISTS:
        raise CheckpointError(
            f"{file} lists the modules {', '.join(kinds) or 'none'}, must be Transformer, Pooling, at most one Dense "
            "and Normalize in this order (other modules are not supported); name the transformer's own folder to do "
            "without"
        )
    return dict(zip(kinds, paths, strict=True))


def _inside(folder: Path, name: str, file: Path) -> Path:
    """A path below a folder that one of its files names. Raises CheckpointError when it leads elsewhere."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise CheckpointError(f"{file} names {name!r}, must be a path inside the folder; {_COPY_AGAIN}")
    return folder / name


def _kind(module_type: str) -> str:
    """The class's name; a Dense that is not sentence-transformers' own keeps its full one, being another module."""
    kind = module_type.rsplit(".", 1)[-1]
    return module_type if kind == "Dense" and not module_type.startswith("sentence_transformers.") else kind


def _pooling(file: Path) -> Pooling:
    config = read_json(file)
    modes = config.get("pooling_mode")
    if modes is None:
        prefix = "pooling_mode_"
        modes = [key.removeprefix(prefix) for key, on in config.items() if key.startswith(prefix) and on is True]
    modes = list(modes) if isinstance(modes, list) else [modes]
    if len(modes) != 1 or str(modes[0]) not in _POOLING_NAMES:
        found = " + ".join(map(str, modes)) or "none"
        raise CheckpointError(f"{file} pools by {found}, must be mean or cls; give `model.pooling` to choose one")
    if config.get("include_prompt") is False:
        raise CheckpointError(f"{file} has include_prompt false, must be true; give `model.pooling` to pool all tokens")
    return _POOLING_NAMES[modes[0]]


def _prompts(file: Path) -> dict[str, str]:
    prompts = read_json(file).get("prompts") or {}
    named = {name: text or "" for name, text in prompts.items()} if isinstance(prompts, dict) else None
    if named is None or not all(isinstance(text, str) for text in named.values()):
        raise CheckpointError(f"{file} has prompts {prompts!r}, must be texts by name; {_COPY_AGAIN}")
    return named


def _weights(folder: Path) -> list[Path]:
    """The weight files (safetensors where there are any), each checked to be whole."""
    for whole, suffix in (("model.safetensors", ".safetensors"), ("pytorch_model.bin", ".bin")):
        index = folder / f"{whole}.index.json"
        files = [folder / whole]
        if not files[0].exists() and index.exists():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise CheckpointError(f"{index} has no weight_map of tensors to files; {_COPY_AGAIN}")
            files = [_inside(folder, name, index) for name in sorted(set(map(str, shards.values())))]
        elif not files[0].exists():
            continue
        for file in files:
            if not file.exists():
                raise CheckpointError(f"{file} is missing, {index.name} names it; {_COPY_AGAIN}")
            if suffix == ".safetensors":
                _check_safetensors(file)
        return [*files, index] if index.exists() else files
    raise CheckpointError(
        f"{folder / 'model.safetensors'} is missing, a model folder must hold it (or pytorch_model.bin); {_COPY_AGAIN}"
    )


def _check_safetensors(file: Path) -> None:
    try:
        with safe_open(file, framework="pt") as tensors:
            tensors.keys()
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}), must be whole; {_COPY_AGAIN}") from error


def _tokenizer_files(folder: Path) -> list[Path]:
    files = [folder / name for name in _TOKENIZER_FILES if (folder / name).exists()]
    if not any(file.name in _VOCABULARIES for file in files):
        vocabularies = sorted(folder.glob("*.model"))  # SentencePiece's under other names, as mDeBERTa's spm.model
        if not vocabularies:
            raise CheckpointError(
                f"{folder / 'tokenizer.json'} is missing, a model folder must hold its tokenizer; {_COPY_AGAIN}"
            )
        files += vocabularies
    for file in files:
        if file.suffix == ".json":
            read_json(file)
    return files


def _own_settings(file: Path) -> TextSettings:
    values = read_json(file).get("settings")
    template = TextSettings()
    expected = {name: type(value) for name, value in asdict(template).items()}
    found = {name: type(value) for name, value in values.items()} if isinstance(values, dict) else {}
    if found != expected or cast(dict[str, Any], values)["pooling"] not in ("mean", "cls"):
        raise CheckpointError(f"{file} does not hold the settings {', '.join(expected)}; save the model again")
    return TextSettings(**cast(dict[str, Any], values))
