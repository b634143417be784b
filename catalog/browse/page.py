"""Writes the page: image sheets, the data file, and last `index.html`, which names both.

Sheets and data have names made from their content, so the page that is there stays whole until
`index.html` is replaced, in one rename; then what only the earlier page needed is deleted. The
page holds its own script and style; its content security policy allows these two by their hash,
scripts and images from the disk, and nothing from any network.
"""

import base64
import hashlib
import re
import shlex
from dataclasses import dataclass
from importlib import resources

from catalog import storage
from catalog.browse.encode import to_script
from catalog.browse.entries import find_entries
from catalog.browse.sheets import write_sheets
from catalog.commands import DEFAULT_ROOT
from catalog.query import connect

DEFAULT_LIMIT = 10_000
DEFAULT_CELL_PX = 128
OWN_NAMES = {  # what pages write, by folder: what is deleted when a new page does not need it
    ".": re.compile(r"data-[0-9a-f]{16}\.js"),
    "sheets": re.compile(r"[0-9a-f]{16}-\d{5}\.jpg"),
}
SCRIPTS = (
    "store.js", "filter.js", "crops.js", "histogram.js", "panel.js", "grid.js", "details.js",
    "main.js",
)  # fmt: skip


@dataclass(frozen=True)
class PageReport:
    """What was written: the page's URL, what it shows of how much, and its size."""

    url: str
    shown: dict[str, int]  # entries by status
    totals: dict[str, int]  # the same in the catalog
    num_crops: int
    num_unreadable: int
    num_bytes: int

    @property
    def rows(self) -> list[dict[str, str]]:
        """The report as rows to print: what, amount, detail."""
        return [
            *(
                {"what": status, "amount": f"{number:,}", "detail": f"of {self.totals[status]:,}"}
                for status, number in self.shown.items()
            ),
            {
                "what": "crops",
                "amount": f"{self.num_crops:,}",
                "detail": f"{self.num_unreadable:,} could not be read",
            },
            {"what": "page", "amount": f"{self.num_bytes / 1e6:.1f} MB", "detail": self.url},
        ]


def write_page(
    root: str,
    out: str | None = None,
    *,
    dataset: str | None = None,
    where: str = "true",
    limit: int = DEFAULT_LIMIT,
    seed: int = 0,
    cell_px: int = DEFAULT_CELL_PX,
) -> PageReport:
    """Write the page to the folder `out`, by default `ROOT/browse`, replacing an earlier one.

    It shows at most `limit` entries (see `find_entries`) of `dataset` (None: of all) that fulfil
    the SQL condition `where`, each crop as a square of `cell_px`. Raises ValueError when `root` has
    no catalog or lies on an object store and `out` is not named, and for wrong settings.
    """
    if out is None and "://" in root:
        raise ValueError("a page is opened from disk: name a folder for it with --out")
    out = storage.absolute(out or storage.join(root, "browse"))
    with connect(root) as connection:
        entries = find_entries(connection, dataset=dataset, where=where, limit=limit, seed=seed)
    storage.remove_leftovers(out)
    storage.remove_leftovers(storage.join(out, "sheets"))
    sheets = write_sheets(root, out, entries.crops, cell_px)
    trace = "python -m catalog trace"
    if root != DEFAULT_ROOT:
        trace += f" --root {shlex.quote(storage.absolute(root))}"
    about = {"dataset": dataset or "all datasets", "where": where, "trace": trace}
    script = to_script(about, entries, sheets)
    data_name = f"data-{hashlib.sha256(script.encode()).hexdigest()[:16]}.js"
    storage.write_text(storage.join(out, data_name), script)
    page = render(data_name)
    url = storage.join(out, "index.html")
    storage.write_text(url, page)
    _remove_earlier(out, data_name, sheets.prefix)
    statuses = entries.rows["status"].to_pylist()
    return PageReport(
        url=url,
        shown={status: statuses.count(status) for status in entries.totals},
        totals=entries.totals,
        num_crops=entries.crops.num_rows,
        num_unreadable=len(sheets.unreadable),
        num_bytes=sheets.num_bytes + len(script.encode()) + len(page.encode()),
    )


def render(data_name: str) -> str:
    """The HTML page, script and style within, that loads its data from the file `data_name`."""
    style = _static("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_static(name) for name in SCRIPTS) + "})();\n"
    assert "</script" not in script and "</style" not in style
    policy = (
        f"default-src 'none'; script-src {_csp_hash(script)} 'self' file:; "
        f"style-src {_csp_hash(style)}; img-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    parts = {"POLICY": policy, "STYLE": style, "SCRIPT": script, "DATA": data_name}
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match[1]], _static("page.html"))


def _static(name: str) -> str:
    return (resources.files("catalog.browse") / "static" / name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _remove_earlier(out: str, data_name: str, prefix: str) -> None:
    for folder, pattern in OWN_NAMES.items():
        for url in storage.list_files(storage.join(out, folder) if folder != "." else out):
            name = url.rsplit("/", 1)[-1]
            needed = name == data_name or f"{folder}/{name}".startswith(prefix)
            if pattern.fullmatch(name) and not needed:
                storage.delete(url)
