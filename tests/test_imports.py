"""Who may import whom: the house's plan, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STANDARD = sys.stdlib_module_names

# The most specific entry counts; what is not named may not be imported.
ALLOWED = {
    "scratchnet": {"scratchnet", "numpy", "scipy"},
    "scratchnet.data.digits": {"scratchnet", "numpy", "sklearn"},
    "probes": {"probes", "numpy", "scipy", "array_api_compat"},
    "diag": {"diag"},
    "diag.events": {"numpy"},
    "diag.guard": set(),
    "diag.plan": {"diag.events", "probes", "numpy"},
    "diag.measure": {"diag.events", "diag.plan", "probes", "numpy"},
    "diag.watched": {"diag.capture", "diag.measure", "diag.plan", "numpy"},
    "diag.steps": {"diag.columns", "diag.events", "diag.plan", "numpy"},
    "diag.log": {"diag.events", "diag.log", "h5py", "numpy"},
    "diag.board_histograms": {"diag.events", "tensorboard", "numpy"},
    "diag.columns": {"diag.events", "numpy"},
    "diag.histograms": {"diag.events", "probes", "numpy"},
    "diag.board": {"diag.events", "tensorboard", "google_crc32c", "numpy"},
    "diag.capture": {"diag.events", "diag.capture.contract", "diag.capture.trial", "numpy"},
    "diag.capture.scratchnet": {"diag.events", "diag.capture.contract", "scratchnet", "numpy"},
    "diag.capture.scratchnet_trial": {"diag.capture.trial", "scratchnet", "numpy"},
    "diag.capture.torch": {"diag.events", "diag.capture.contract", "diag.capture.torch", "torch"},
    "diag.capture.torch.trial": {"diag.capture.trial", "diag.capture.torch", "torch", "numpy"},
    "diag.recorder": {
        "diag.board",
        "diag.board_histograms",
        "diag.histograms",
        "diag.capture",
        "diag.columns",
        "diag.events",
        "diag.guard",
        "diag.log",
        "diag.measure",
        "diag.on_probe_batch",
        "diag.plan",
        "diag.steps",
        "diag.watched",
        "probes",
        "numpy",
    },
    "diag.on_probe_batch": {"diag.on_probe_batch", "diag.capture", "diag.events", "probes", "numpy"},
    "diag.diagnosis": {"diag.diagnosis", "diag.events", "diag.log", "numpy"},
    "diag.reporting": {
        "diag.reporting",
        "diag.diagnosis",
        "diag.events",
        "diag.log",
        "matplotlib",
        "jinja2",
        "markupsafe",
        "numpy",
    },
    "diag.verify": {"diag.verify", "diag.capture", "diag.diagnosis", "numpy"},
    "diag.curves": {"diag.diagnosis", "diag.log", "numpy"},
    "diag.comparison": {
        "diag.comparison",
        "diag.curves",
        "diag.diagnosis",
        "diag.log",
        "diag.reporting",
        "numpy",
        "scipy",
    },
    "diag.verdict_board": {"diag.diagnosis", "diag.log", "diag.reporting", "tensorboard"},
    # pyarrow, xarray and h5netcdf it looks for when they are asked for.
    "diag.export": {"diag.log", "numpy"},
    "diag.demo": {"scratchnet", "diag.recorder", "diag.reporting", "numpy"},
    "diag.integrations": {"diag"},
    "diag.integrations.hugging_face": {"diag", "torch", "transformers", "accelerate"},
    "diag.integrations.keras": {"diag", "torch", "keras"},
    "diag.integrations.lightning": {"diag", "torch", "lightning"},
    "diag.cli": {"diag", "probes", "typer", "rich", "numpy"},
}
MODULES = sorted(
    path for package in ("scratchnet", "probes", "diag") for path in (ROOT / package).rglob("*.py")
)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(path) for path in MODULES}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= members & NAMES or {str(node.module)}
    return {name for name in found if name.split(".")[0] not in STANDARD}


def allowed(module: str) -> set[str]:
    return ALLOWED[max((name for name in ALLOWED if is_within(module, name)), key=len)]


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_what_the_plan_allows(path):
    for name in imports(path):
        assert any(is_within(name, package) for package in allowed(dotted(path))), (
            f"{dotted(path)} imports {name}"
        )


def test_no_module_imports_itself_in_a_circle():
    names = {dotted(path): path for path in MODULES}
    graph = {
        module: {max((n for n in names if is_within(name, n)), key=len, default="") for name in imports(path)}
        for module, path in names.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for needed in graph.get(module, set()) - {module}:
                visit(needed, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_importing_diag_brings_in_no_framework():
    heavy = ("torch", "scratchnet", "sklearn", "matplotlib")
    code = f"import sys, diag; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_package_says_that_it_is_typed():
    assert all((ROOT / package / "py.typed").exists() for package in ("scratchnet", "probes", "diag"))
