"""One folder that anyone can publish: `python -m tools.release REPORT --out FOLDER`.

It holds the wheels and the source distribution, checked by twine and tried in an empty environment, the release notes, the
teaching kit, and `site`: the documentation with the explorer, the report and the kit.
"""

import argparse
import html
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from reviver.version import __version__
from tools.teaching import write_kit
from tools.wheel import build

ROOT = Path(__file__).parents[1]
TRIAL = "import torch; from reviver import LSTM; y, _ = LSTM(3, 4, hidden_dropout=0.5)(torch.rand(5, 2, 3)); print(*y.shape)"
"""What a fresh environment runs, in which only the wheel and what it requires are installed."""


def release_notes(changelog: str) -> str:
    """Return the newest section of the changelog."""
    _, section, *_ = re.split(r"^## ", changelog, flags=re.MULTILINE)
    return f"# Reviver {__version__}\n\n{section.partition(chr(10))[2].strip()}\n"


def check_distributions(folder: Path) -> None:
    """Check the metadata of the distributions, install the wheel for this machine, and use the layer.

    Raises:
        CalledProcessError: if one of these fails.
    """
    files = [path for path in folder.iterdir() if path.name.endswith((".whl", ".tar.gz"))]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    with tempfile.TemporaryDirectory() as name:
        venv.create(name, with_pip=True)
        python = Path(name, "bin", "python")
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, "--requirement", ROOT / "requirements-torch.lock"], check=True)
        subprocess.run([*pip, "--find-links", folder, f"reviver-nn=={__version__}"], check=True)
        subprocess.run([python, "-c", TRIAL], check=True, cwd=name)


def link_tutorials(page: str, folder: str) -> str:
    """Return an explorer whose panels link to what explains them in the tutorials, which stand in `folder` beside it."""
    before, found, after = page.partition('<meta name="tutorials" content="')
    assert found, "the page has no place for the folder of the tutorials"
    return before + found + html.escape(folder) + after


def write_site(report: Path, kit: Path, site: Path) -> None:
    """Write the documentation, with the report, the explorer and the kit beside it."""
    site.mkdir(parents=True, exist_ok=True)
    page = (report / "explorer.html").read_text(encoding="utf-8")
    (site / "explorer.html").write_text(link_tutorials(page, "tutorials/"), encoding="utf-8", newline="")
    sphinx = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "-D", "explorer=explorer.html"]
    subprocess.run([*sphinx, ROOT / "docs", site], check=True)
    shutil.copytree(kit, site / "kit", dirs_exist_ok=True)
    (site / "report").mkdir(exist_ok=True)
    for name in ("report.html", "report.pdf", "explorer.html"):  # the report links the explorer beside it
        shutil.copyfile(report / name, site / "report" / name)
    shutil.copytree(report / "figures", site / "report" / "figures", dirs_exist_ok=True)
    (site / ".nojekyll").touch()  # GitHub Pages leaves out folders that begin with _ otherwise
    shutil.rmtree(site / ".doctrees", ignore_errors=True)


def main() -> None:
    """Write the release, and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("report", type=Path, help="folder of make report")
    parser.add_argument("--out", type=Path, default=Path("build/release"), help="default: build/release")
    options = parser.parse_args()
    out: Path = options.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for path in build(out.resolve()):
        print(path)
    check_distributions(out)
    notes = release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    (out / "release-notes.md").write_text(notes, encoding="utf-8")
    write_kit(options.report, out / "teach")
    write_site(options.report, out / "teach", out / "site")
    print(out)


if __name__ == "__main__":
    main()
