"""Benchmark results as Markdown."""

from collections.abc import Mapping
from typing import Any


def render(result: Mapping[str, Any]) -> str:
    """Write one result as a heading, a table and the machine that it belongs to."""
    if "shapes" in result:
        return render_shapes(result)
    rows = ["| | median | range | n | target |", "|---|---|---|---|---|"]
    for key, unit in (("seconds_per_epoch", "s/epoch"), ("seconds_per_run", "s/run"), ("seconds_per_call", "s/call")):
        for name, values in result.get(key, {}).items():
            target = f"≤ {result['target_seconds']:g}" if name == "ours" and "target_seconds" in result else ""
            rows.append(_row(f"{name}, {unit}", values, target))
    if "ratio" in result:
        rows.append(
            _row(
                "ratio, round by round",
                result["ratio"],
                f"≤ {result['target_ratio']}" if "target_ratio" in result else "",
            )
        )
    if "peak_memory_gb" in result:
        rows.append(f"| peak memory, GB | {result['peak_memory_gb']:.2f} | | 1 | ≤ {result['target_gb']:g} |")
    return "\n".join([f"### {result['title']}", "", *rows, "", describe(result["machine"]), ""])


def render_shapes(result: Mapping[str, Any]) -> str:
    """Write the result of `lstm_operator` as Markdown: ratios by shape, bf16, then memory."""
    rows = [
        f"### {result['title']}",
        "",
        "| B,T,I,H | ours, ms | nn.LSTM, ms | loop, ms | to nn.LSTM (target) | to the loop (target) | to the limit (target) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, values in result["shapes"].items():
        times = [f"{values['milliseconds'][key]['median']:.3g}" for key in ("ours", "nn.LSTM", "loop")]
        ratios = [
            f"{values[key]['median']:.2f} ({'' if target is None else f'≤ {target}'})"
            for key, target in zip(("to nn.LSTM", "to the loop", "to the limit"), values["targets"], strict=True)
        ]
        rows.append(f"| {' | '.join([name, *times, *ratios])} |")
    if "bf16" in result:
        rows += ["", "| B,T,I,H | bf16, ms | fp32, ms | to fp32 (target) |", "|---|---|---|---|"]
        for name, values in result["bf16"].items():
            times = [f"{values['milliseconds'][key]['median']:.3g}" for key in ("bf16", "fp32")]
            target = "" if values["target"] is None else f" (≤ {values['target']})"
            rows.append(f"| {' | '.join([name, *times])} | {values['to fp32']['median']:.2f}{target} |")
    rows += ["", "| B,T,I,H | ours, peak MB | nn.LSTM, peak MB | ratio |", "|---|---|---|---|"]
    for name, values in result["peak_megabytes"].items():
        ours, theirs = values["ours"], values["nn.LSTM"]
        rows.append(f"| {name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")
    return "\n".join([*rows, "", describe(result["machine"]), ""])


def describe(machine: Mapping[str, Any]) -> str:
    """Name the hardware in one line."""
    return (
        f"On {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['memory_gb']} GB, torch {machine['torch']}."
    )


def _row(name: str, values: Mapping[str, float], target: str) -> str:
    spread = f"{values['min']:.3g} – {values['max']:.3g}" if values["n"] > 1 else ""
    return f"| {name} | {values['median']:.3g} | {spread} | {values['n']} | {target} |"
