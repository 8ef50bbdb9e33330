"""Every example runs as its first lines say, and is short enough to read in one go."""

import subprocess
import sys
from pathlib import Path

import pytest

import diag

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SAYS = {
    "character_model": "bits a character",
    "compare_initialisations": "signal 0.00",
    "own_probe": "sparse_gradients",
    "read_a_log": "verdict: healthy",
    "wrap_a_model": "verdict: healthy",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_what_it_is_for(path, tmp_path):
    if path.stem == "read_a_log":
        run(path.with_name("wrap_a_model.py"), tmp_path / "run")
    assert SAYS[path.stem] in run(path, tmp_path / "run")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_stays_under_sixty_lines(path):
    assert len(path.read_text().splitlines()) < 60


def test_the_network_of_the_readme_learns_its_digits(tmp_path):
    accuracy = run(of_the_readme("Build a network", tmp_path), tmp_path).splitlines()[-1]
    assert float(accuracy) > 0.96
    assert (tmp_path / "digits.safetensors").exists()


def test_the_measurements_of_the_readme_are_as_it_says(tmp_path):
    dead, slope = run(of_the_readme("Measure by hand", tmp_path), tmp_path).splitlines()
    assert float(dead) == 0.0
    assert slope.startswith("NormSlope(slope=np.float64(2.30258")


def test_the_training_of_the_readme_is_recorded_with_all_its_looks(tmp_path):
    run(of_the_readme("Record a training", tmp_path), tmp_path)
    log = diag.Log(tmp_path / "runs" / "mlp")
    assert log.state == "closed"
    assert {"dead_unit_rate", "top_eigenvalues", "activation_effective_rank", "gradient_noise_scale"} <= {
        name for names in log.names.values() for name in names
    }


def of_the_readme(section, folder):
    """A section's code as a script."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    script = folder / "script.py"
    script.write_text(readme.split(f"## {section}\n")[1].split("```python\n")[1].split("```")[0])
    return script


def run(path, folder):
    command = [sys.executable, "-W", "error", str(path), str(folder)]
    place = folder if folder.is_dir() else None
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout
