"""The pages say what the program does: every block runs, every table agrees with the code."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from kinit_cli.dtypes import DTYPES
from kinit_cli.initializers.base import Argument
from kinit_cli.initializers.registry import INITIALIZER_TYPES, default_initializer
from kinit_cli.layers.registry import LAYER_TYPES
from kinit_cli.spec import document, expand, expressions, names, problems
from kinit_cli.spec.model import Layer, Model, ModelSpec, Repeat, TypedLayer, Weight

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

import doc_pages  # noqa: E402
import make_docs  # noqa: E402

PAGES = doc_pages.pages()
SPEC_PAGE = REPOSITORY / "docs" / "spec.md"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def table_rows(page: str, first_header: str) -> list[list[str]]:
    """Give the cells of the page's only table whose first column has this header."""
    tables = re.findall(
        rf"^\| {re.escape(first_header)} \|.*\n\|[-:|]+\|\n((?:\|.*\n)+)", page, re.M
    )
    assert len(tables) == 1, first_header
    return [
        [cell.strip() for cell in row.strip("|").split(" | ")] for row in tables[0].splitlines()
    ]


def code(cell: str) -> list[str]:
    """Give the `words` of a table's cell."""
    return re.findall(r"`([^`]*)`", cell)


# --- blocks ---------------------------------------------------------------------------------


def test_the_pages_are_there() -> None:
    assert {page.name for page in (REPOSITORY / "docs").glob("*.md")} == {
        "checks.md",
        "commands.md",
        "custom.md",
        "dependencies.md",
        "engines.md",
        "formats.md",
        "gpu.md",
        "json.md",
        "pictures.md",
        "python.md",
        "reproducibility.md",
        "safety.md",
        "keras.md",
        "import.md",
        "keras-models.md",
        "reliability.md",
        "spec.md",
        "stream.md",
        "verify.md",
    }
    n_blocks = {page.name: len(doc_pages.parse_blocks(read(page))) for page in PAGES}
    assert n_blocks["README.md"] >= 3
    assert n_blocks["commands.md"] >= 3
    assert n_blocks["custom.md"] >= 4
    assert n_blocks["formats.md"] >= 12
    assert n_blocks["json.md"] >= 4
    assert n_blocks["spec.md"] >= 15
    assert n_blocks["verify.md"] >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    session = doc_pages.Session(tmp_path)
    for block in doc_pages.parse_blocks(read(page)):
        if block.is_for_reader_only or block.needed_module is not None:
            continue
        try:
            session.run(block)
        except doc_pages.BlockError as error:
            pytest.fail(f"{page.name}:{block.line}: {error}", pytrace=False)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("module", "name", "n_blocks"),
    [
        ("keras", "formats.md", 1),
        ("keras", "engines.md", 1),
        ("keras", "keras.md", 2),
        ("keras", "keras-models.md", 1),
        ("tf_keras", "formats.md", 1),
    ],
)
def test_blocks_with_other_libraries_run(
    module: str, name: str, n_blocks: int, tmp_path: Path
) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    page = REPOSITORY / "docs" / name
    session = doc_pages.Session(tmp_path)
    n_judged = 0
    for block in doc_pages.parse_blocks(read(page)):
        is_judged = block.needed_module == module
        if is_judged or (block.needed_module is None and not block.is_for_reader_only):
            session.run(block)
        n_judged += is_judged
    assert n_judged == n_blocks


def test_blocks_for_the_reader_are_in_the_readme_only() -> None:
    for page in PAGES:
        blocks = doc_pages.parse_blocks(read(page))
        n_silent = sum(block.is_for_reader_only for block in blocks)
        assert not n_silent or page.name == "README.md"
        fences = re.findall(r"^ *(?:```|~~~)", read(page), re.M)
        assert len(fences) == 2 * len(blocks), "a fence that is not read as a block"


def run_block(folder: Path, words: str, text: str) -> None:
    session = doc_pages.Session(folder)
    session.run(doc_pages.Block(words=tuple(words.split()), text=text, line=1))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("yaml", "layers: [{name: a, weights: {b: {shape: [-1]}}}]\n"),
        ("yaml fragment", "- {name: a, weights: {b: {shape: [d]}}}\n"),
        ("yaml wrong x.yaml", "layers: [{name: a, weights: {b: {shape: [1]}}}]\n"),
        ("json", '{"layers": []}\n'),
        ("python", "assert False\n"),
        ("console", "$ kinit --version\nkinit, version of another kind\n"),
        ("console", "kinit --version\n"),
        ("console", "$ echo one\none\ntwo\n"),
        ("rust", "fn main() {}\n"),
        ("yaml", "layers: 3\n"),
    ],
)
def test_a_wrong_block_is_noticed(words: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(doc_pages.BlockError):
        run_block(tmp_path, words, text)


def test_only_times_are_not_compared(tmp_path: Path) -> None:
    run_block(
        tmp_path, "console", "$ echo '3 tensors, 9.99 s, 5.1 MB/s'\n3 tensors, 0.01 s, 12 B/s\n"
    )
    with pytest.raises(doc_pages.BlockError):
        run_block(tmp_path / "2", "console", "$ echo '3 tensors, 9.99 s'\n4 tensors, 9.99 s\n")


@pytest.mark.parametrize("page", [*PAGES, doc_pages.STREAM_PAGE, REPOSITORY / "CHANGELOG.md"])
def test_links_lead_somewhere(page: Path) -> None:
    for target in doc_pages.iter_links(read(page)):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(read(file)), target


def anchors(text: str) -> set[str]:
    """Give the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- what is made from the program ----------------------------------------------------------


def test_the_command_reference_is_up_to_date() -> None:
    assert read(make_docs.COMMANDS_PAGE) == make_docs.commands_page(), "run `make docs`"


def test_the_picture_is_up_to_date() -> None:
    shown = doc_pages.comparable(make_docs.picture_text(read(make_docs.PICTURE)))
    made = doc_pages.comparable(make_docs.picture_text(make_docs.picture()))
    assert shown == made, "run `make docs`"
    assert "2,691,713 parameters" in shown
    assert "http" not in read(make_docs.PICTURE).replace("http://www.w3.org/2000/svg", "")


def test_the_picture_of_tensors_is_up_to_date() -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib, which draws it, is not installed")
    shown = make_docs.picture_text(read(make_docs.PLOT))
    assert shown == make_docs.picture_text(make_docs.plot()), "run `make docs`"
    assert "recurrent_kernel" in shown


def test_what_is_stale_is_noticed() -> None:
    page, svg = read(make_docs.COMMANDS_PAGE), read(make_docs.PICTURE)
    assert not make_docs.is_stale(make_docs.COMMANDS_PAGE, page)
    assert make_docs.is_stale(make_docs.COMMANDS_PAGE, page.replace("--quiet", "--silent"))
    assert not make_docs.is_stale(make_docs.PICTURE, svg.replace("fill", "stroke"))
    assert make_docs.is_stale(make_docs.PICTURE, svg.replace("2,691,713", "2,691,714"))


def test_the_readme_quotes_the_benchmarks() -> None:
    assert read(REPOSITORY / "benchmarks" / "results.md").startswith(make_docs.figures())
    quoted = f"<!-- benchmarks/results.md -->\n{make_docs.figures()}<!-- end -->\n"
    assert quoted in read(REPOSITORY / "README.md"), "run `make docs`"


# --- docs/spec.md against the code ----------------------------------------------------------


def test_every_key_of_a_spec_is_described() -> None:
    page = read(SPEC_PAGE)
    for header, model in (("key of a weight", Weight), ("key of a layer of a type", TypedLayer)):
        assert [code(row[0])[0] for row in table_rows(page, header)] == list(model.model_fields)
    tables = re.findall(r"^\| key \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.M)
    described = [re.findall(r"^\| `(\w+)` \|", table, re.M) for table in tables]
    assert described == [list(ModelSpec.model_fields), list(Repeat.model_fields)]
    assert list(Layer.model_fields) == ["name", "weights"]
    assert list(Model.model_fields) == ["name", "type", "layers"]


def test_every_layer_type_with_weights_is_described() -> None:
    section = read(SPEC_PAGE).partition("\n## Layer types\n")[2].partition("\n## ")[0]
    described = set()
    for row in table_rows(read(SPEC_PAGE), "layers"):
        names = code(row[1])
        described |= {name for name in names if name not in ("Transpose", "Cell")}
        for ending in {"Transpose", "Cell"} & set(names):
            before = names[: names.index(ending)]
            described |= {f"{name}{ending}" for name in before}
    assert described == {kind.class_name for kind in LAYER_TYPES if kind.weights is not None}
    assert "`Activation` to\n`ZeroPadding3D`" in section


def test_every_initializer_is_described() -> None:
    rows = {code(row[0])[0]: row for row in table_rows(read(SPEC_PAGE), "class")}
    assert set(rows) == {kind.class_name for kind in INITIALIZER_TYPES}
    for kind in INITIALIZER_TYPES:
        _, other_names, *arguments = rows[kind.class_name]
        assert code(other_names) == [name for name in kind.names if name != kind.class_name]
        written = code(arguments[0]) if arguments else []
        assert written == [written_argument(argument) for argument in kind.arguments]


def written_argument(argument: Argument) -> str:
    return argument.name if argument.default is None else f"{argument.name}={argument.default}"


def test_the_default_initializers_are_described() -> None:
    rows = table_rows(read(SPEC_PAGE), "last part of the name")
    described = {
        (code(name) or ["any other"])[0]: code(initializer)[0] for name, initializer in rows
    }
    assert len(described) == 9
    for name, initializer in described.items():
        assert default_initializer(f"cell/{name}", is_float=True, rank=2) == initializer
        assert default_initializer(name, is_float=False, rank=2) == "zeros"
    assert default_initializer("recurrent_kernel", is_float=True, rank=1) == "glorot_uniform"


def test_dtypes_functions_and_limits_are_described() -> None:
    page = read(SPEC_PAGE)
    section = page.partition("\n## Dtypes\n")[2].partition("\n\nFloat dtypes")[0]
    assert code(section) == list(DTYPES)
    (functions,) = re.findall(r"^- the functions (.*?)$\n(.*?)$", page, re.M)
    assert [word.partition("(")[0] for word in code(" ".join(functions))] == [
        "min", "max", "sqrt", "log", "log", "ceil", "floor",
    ]  # fmt: skip
    assert set(expressions.FUNCTIONS) == {"min", "max", "sqrt", "log", "ceil", "floor"}
    limits = page.partition("\n## Limits\n")[2]
    for limit in (
        f"{document.MAX_BYTES // 2**20} MiB",
        f"{document.MAX_DEPTH} levels",
        f"{document.MAX_ALIASED_NODES:,} nodes",
        f"{expressions.MAX_LENGTH} characters",
        f"{expressions.MAX_BITS} bits",
        f"{expand.MAX_TENSORS:,}",
        f"{expand.MAX_RANK} dimensions",
        f"2^{expand.MAX_DIMENSION.bit_length() - 1}",
        f"2^{expand.MAX_ELEMENTS.bit_length() - 1} elements",
        f"{names.MAX_PATH_LENGTH} characters",
        f"| {problems.MAX_PROBLEMS};",
    ):
        assert limit in limits


# --- docs/dependencies.md -------------------------------------------------------------------


def test_every_dependency_has_its_row() -> None:
    page = read(REPOSITORY / "docs" / "dependencies.md")
    described = re.findall(r"^\| (\S+) \| (>=\S+) \|(?: [^|]+ \|){3}$", page, re.M)
    declared = re.findall(
        r'^    "([\w.-]+)(>=[\w.]+)[^"]*",$', read(REPOSITORY / "pyproject.toml"), re.M
    )
    assert len(declared) > 12
    assert described == declared
