"""`reviver sweep`: run a command over many settings and seeds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reviver.cli.options import DEFAULTS, FLAG, CommonOptions
from reviver.config import Count, Text
from reviver.errors import ConfigError, ReviverError

if TYPE_CHECKING:
    from reviver.sweep.cell import Engine


def sweep(
    file: Annotated[Text, Parameter(name="FILE")],
    /,
    *,
    engine: Literal["pool", "ray", "slurm"] = "pool",
    address: Text | None = None,
    jobs: Count | None = None,
    threads: Count | None = None,
    out: Text | None = None,
    retry_failed: Annotated[bool, FLAG] = False,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Run a command over many settings and seeds, and tabulate and plot the results.

    Finished cells are not repeated: the same command continues after Ctrl-C. Started on several machines that share --out, it
    shares the cells among them.

    Examples:
      reviver sweep learning-rates.toml
      reviver sweep learning-rates.toml --jobs 4 --out runs/rates
      reviver sweep learning-rates.toml --engine ray --address auto
      reviver sweep learning-rates.toml --engine slurm --jobs 100

    Args:
        file: File of the sweep, .toml, see docs/how-to/sweep.md.
        engine: Where cells run: pool, processes of this machine; ray, a Ray cluster; slurm, jobs of Slurm.
        address: Address of the Ray cluster, HOST:PORT or auto; by default Ray starts on this machine.
        jobs: Number of cells that run at the same time; by default one per core.
        threads: Threads per cell; by default the cores divided by --jobs.
        out: Folder of the sweep; by default runs/sweep-NAME, after the name of the file.
        retry_failed: Run cells again that failed.
    """
    from reviver.sweep.driver import open_sweep, run_cells
    from reviver.sweep.report import report_sweep
    from reviver.sweep.spec import read_sweep

    if address is not None and engine != "ray":
        raise ConfigError("address is only for --engine ray; leave it out", field="address")
    path = Path(file)
    spec = read_sweep(path, {"device": common.device} if common.device != DEFAULTS.device else {})
    folder = Path(out) if out is not None else Path("runs") / f"sweep-{path.stem}"
    open_sweep(folder)
    outcomes = run_cells(
        folder,
        spec.cells,
        _open_engine(engine, folder.resolve(), jobs, threads, address, spec.slurm),
        retry_failed=retry_failed,
        title=path.stem,
        progress=not common.quiet,
    )
    report = report_sweep(folder, spec, outcomes)
    common.show(report.result, *report.lines)
    if report.failed:
        log = folder / "cells" / report.failed[0].key
        raise ReviverError(
            f"{len(report.failed)} of {len(spec.cells)} cells failed; see {log}, and run them again with --retry-failed"
        )


def _open_engine(
    name: str, folder: Path, jobs: int | None, threads: int | None, address: str | None, slurm: dict[str, Any]
) -> "Engine":
    """Return an engine.

    Raises:
        ConfigError: if its library is not installed, or it is not available here.
    """
    if name == "ray":
        from reviver.sweep.ray_engine import RayEngine

        return RayEngine(folder, jobs, threads, address)
    if name == "slurm":
        from reviver.sweep.slurm_engine import SlurmEngine

        return SlurmEngine(folder, jobs, threads, slurm)
    from reviver.sweep.pool import Pool

    return Pool(folder, jobs, threads)
