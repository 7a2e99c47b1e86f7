"""The files of a page: ``index.html``, and for each block its numbers and pictures.

The page holds everything itself, and asks no network for anything. Beside it lie, by a block's name, the CSV of a
table, the PNG, SVG and CSV of a picture, the Parquet of pair matrices (and the first of them as PNG and SVG).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from importlib.resources import files

import jinja2
import matplotlib
import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup
from matplotlib.figure import Figure

from xling.config.labels import make_unique
from xling.report.blocks import Block, Listing, PairMaps, Picture, Section, Table
from xling.report.page.maps import map_view
from xling.report.page.views import Item, View, picture_view, table_view
from xling.report.plots import pair_heatmap
from xling.report.tables import Grid

PAGE = "index.html"
_ODD = re.compile(r"[^0-9A-Za-z_.-]+")
_FILES = re.compile(r'<p class="files">(.*?)</p>', re.DOTALL)  # as the template writes it
_FILE = re.compile(r'<a href="([0-9A-Za-z_.-]+\.(?:csv|parquet|png|svg))">')
_DPI = 144


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says, in order. ``about`` stands below its title: when and of what it was made."""

    title: str
    about: tuple[str, ...]
    sections: tuple[Section, ...]


def page_files(page: Page) -> dict[str, bytes]:
    """All files of a page by name, ``index.html`` last."""
    blocks = [block for section in page.sections for block in section.blocks]
    names = dict(zip(map(id, blocks), make_unique([_ODD.sub("-", block.name) for block in blocks]), strict=True))
    found: dict[str, bytes] = {}
    sections = []
    for section, anchor in zip(page.sections, make_unique([_ODD.sub("-", s.name) for s in page.sections]), strict=True):
        items = []
        for block in section.blocks:
            beside = _beside(block, names[id(block)])
            found.update(beside)
            items.append(Item(names[id(block)], block.title, _view(block, names[id(block)], beside), tuple(beside)))
        sections.append({"anchor": anchor, "title": section.title, "says": section.says, "blocks": items})
    html = _template().render(
        page=page, sections=sections, style=Markup(_resource("page.css")), script=Markup(_resource("page.js"))
    )
    found[PAGE] = html.encode()
    return found


def files_beside(html: bytes) -> set[str]:
    """The names of the files that a page lists; of another page than ours none, and never a path."""
    listed = _FILES.findall(html.decode(errors="replace"))
    return {name for of_block in listed for name in _FILE.findall(of_block)}


def _view(block: Block, name: str, beside: dict[str, bytes]) -> View:
    """What the template shows of a block."""
    if isinstance(block, Table):
        return table_view(block.grid, block.note)
    if isinstance(block, Picture):
        return picture_view(block, beside[f"{name}.svg"])
    if isinstance(block, PairMaps):
        return map_view(block)
    return View("listing", {"text": block.text}) if isinstance(block, Listing) else View("examples", {"block": block})


def _beside(block: Block, name: str) -> dict[str, bytes]:
    """The files of a block, the one with its numbers first."""
    if isinstance(block, Table):
        return {f"{name}.csv": as_csv(block.grid)}
    if isinstance(block, Picture):
        numbers = {} if block.data is None else {f"{name}.csv": as_csv(block.data)}
        return numbers | _pictures(block.figure, name)
    if isinstance(block, PairMaps):
        first, values_LL = next(iter(block.values_LL.items()))
        figure = pair_heatmap(values_LL, block.languages, f"{first}: {block.measure}")
        return {f"{name}.parquet": _as_parquet(block)} | _pictures(figure, name)
    return {}


def as_csv(grid: Grid) -> bytes:
    """A table as it is shown, headings on one line."""
    headings, body = grid
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([heading.replace("\n", " ") for heading in headings])
    writer.writerows(body)
    return sink.getvalue().encode()


def _as_parquet(maps: PairMaps) -> bytes:
    """A row a system and pair: system, query language, passage language, value (null where nothing is judged)."""
    pairs = [(query, passage) for query in maps.languages for passage in maps.languages]
    systems = list(maps.values_LL)
    table = pa.table(
        {
            "system": [system for system in systems for _ in pairs],
            "query_language": [query for query, _ in pairs] * len(systems),
            "passage_language": [passage for _, passage in pairs] * len(systems),
            maps.measure: pa.array(
                [value for values_LL in maps.values_LL.values() for value in values_LL.ravel().tolist()],
                pa.float64(),
                from_pandas=True,
            ),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _pictures(figure: Figure, name: str) -> dict[str, bytes]:
    """PNG and SVG, the same bytes for the same figure; its parts find their places once."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    figure.set_layout_engine("none")
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(svg, format="svg", metadata=nothing)
    return {f"{name}.png": png.getvalue(), f"{name}.svg": svg.getvalue()}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")
