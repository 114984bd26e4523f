#!/usr/bin/env python3
"""Draws the panels of dashboard.json with matplotlib, from the data of a Prometheus: for use without Grafana.

    render.py --prometheus http://127.0.0.1:9091 --minutes 60 dashboard.png
"""

import argparse
import datetime
import json
import math
import os
import re
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS = 24  # columns of Grafana's grid
POINTS = 240  # points of a line
OUTCOMES = {
    "forwarded": "#56a64b",
    "accepted": "#37872d",
    "duplicate": "#8ab8ff",
    "rejected": "#ff9830",
    "upstream_error": "#e02f44",
}


def ask(base, path, **parameters):
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)["data"]["result"]


def expression(target, rate_interval):
    return target["expr"].replace("$route", ".*").replace("$__rate_interval", rate_interval)


def legend(target, labels):
    return re.sub(r"{{(\w+)}}", lambda name: labels.get(name[1], ""), target["legendFormat"]) or "value"


def shown(value, unit):
    """A value, about as Grafana shows it."""
    if math.isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s" and abs(value) >= 86400:
        return f"{value / 86400:.3g} days"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{value * 1e3:.3g} ms" if abs(value) >= 1e-3 else f"{value * 1e6:.3g} µs"
    if unit == "bytes" and abs(value) >= 1024:
        return f"{value / 1024:.3g} KiB" if abs(value) < 1024**2 else f"{value / 1024**2:.3g} MiB"
    return f"{value:.3g}" + {"s": " s", "bytes": " B", "reqps": " req/s", "cps": "/s"}.get(unit, "")


def draw_lines(axes, panel, arguments, end):
    start, step = end - arguments.minutes * 60, max(arguments.minutes * 60 / POINTS, 1)
    lines = []
    for target in panel["targets"]:
        query = expression(target, arguments.rate_interval)
        for series in ask(arguments.prometheus, "query_range", query=query, start=start, end=end, step=step):
            known = {float(at): float(value) for at, value in series["values"]}
            lines.append((legend(target, series["metric"]), known))
    lines.sort(key=lambda line: line[0])
    if panel["fieldConfig"]["defaults"].get("custom", {}).get("stacking"):
        lines = [line for line in lines if any(value > 0 for value in line[1].values())]
    times = sorted({at for _, known in lines for at in known})
    dates = [matplotlib.dates.date2num(datetime.datetime.fromtimestamp(at, datetime.timezone.utc)) for at in times]
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    colours = [next((colour for word, colour in OUTCOMES.items() if name.endswith(word)), None) for name, _ in lines]
    if custom.get("drawStyle") == "bars":
        width = step / 86400
        for name, known in lines:
            axes.bar(dates, [known.get(at, 0.0) for at in times], width=width, label=name)
    elif custom.get("stacking") and lines:
        names = [name for name, _ in lines]
        cycle = plt.get_cmap("tab20").colors
        filled = [colour or cycle[index % len(cycle)] for index, colour in enumerate(colours)]
        values = [[known.get(at, 0.0) for at in times] for _, known in lines]
        axes.stackplot(dates, values, labels=names, colors=filled, alpha=0.75, edgecolor="white", linewidth=0.3)
    else:
        for name, known in lines:
            axes.plot(dates, [known.get(at, math.nan) for at in times], linewidth=1, label=name)
    # Room for the legend.
    axes.set_ylim(bottom=0, top=defaults.get("max") or max(axes.get_ylim()[1] * 1.35, 1e-9))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, defaults.get("unit"))))
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
    axes.xaxis.set_major_locator(matplotlib.dates.AutoDateLocator(minticks=2, maxticks=2 + panel["gridPos"]["w"] // 3))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if lines:
        columns = 1 if panel["gridPos"]["w"] <= 4 else 2
        axes.legend(fontsize=5.5, loc="upper left", ncols=columns, framealpha=0.7, borderpad=0.3, labelspacing=0.2)


def draw_stat(axes, panel, arguments, end):
    target = panel["targets"][0]
    found = ask(arguments.prometheus, "query", query=expression(target, arguments.rate_interval), time=end)
    defaults = panel["fieldConfig"]["defaults"]
    text, colour = defaults.get("noValue", "no data"), "#666666"
    if found:
        value = float(found[0]["value"][1])
        for mapping in defaults.get("mappings", []):
            text = mapping["options"].get(f"{value:g}", {}).get("text")
        if not defaults.get("mappings"):
            text = shown(value, defaults.get("unit"))
        steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
        colour = {"red": "#e02f44", "orange": "#ff780a", "green": "#37872d"}.get(steps[-1]["color"], "#333333")
    axes.axis("off")
    axes.text(0.5, 0.4, text, ha="center", va="center", fontsize=17, color=colour, transform=axes.transAxes)


def draw_table(axes, panel, arguments, end):
    target = panel["targets"][0]
    found = ask(arguments.prometheus, "query", query=expression(target, arguments.rate_interval), time=end)
    columns = sorted({label for sample in found for label in sample["metric"]})
    dated = bool(panel["fieldConfig"]["overrides"])
    rows = []
    for sample in found:
        value = float(sample["value"][1])
        if dated:
            value = f"{(end - value / 1000):.0f} s ago" if value else "never since the start"
        else:
            value = f"{value:g}"
        rows.append([sample["metric"].get(column, "") for column in columns] + [value])
    renamed = panel["transformations"][0]["options"]["renameByName"]["Value"]
    axes.axis("off")
    if rows:
        table = axes.table(cellText=sorted(rows), colLabels=[*columns, renamed], loc="upper center", cellLoc="left")
        table.auto_set_font_size(False)
        table.set_fontsize(7)
        table.scale(1, 1.15)
        for (row, _), cell in table.get_celld().items():
            cell.set_edgecolor("#dddddd")
            if row == 0:
                cell.set_text_props(weight="bold")


DRAW = {"timeseries": draw_lines, "stat": draw_stat, "table": draw_table}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="the address of a Prometheus")
    parser.add_argument("--minutes", type=float, default=60, help="how far to look back")
    parser.add_argument("--rate-interval", default="1m", help="for $__rate_interval: four scrapes or more")
    parser.add_argument("file", help="the picture to write: .png or .svg")
    arguments = parser.parse_args()

    with open(os.path.join(HERE, "dashboard.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    panels = [panel for panel in dashboard["panels"] if panel["type"] in DRAW]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    plt.rcParams.update({"font.size": 6.5, "axes.titlesize": 8, "axes.titleweight": "bold", "axes.linewidth": 0.5})
    figure = plt.figure(figsize=(12.5, height * 0.27), dpi=100)
    grid = figure.add_gridspec(height, COLUMNS, left=0.05, right=0.985, top=0.98, bottom=0.02, wspace=7, hspace=2.2)
    end = time.time()
    for panel in panels:
        place = panel["gridPos"]
        rows, columns = slice(place["y"], place["y"] + place["h"]), slice(place["x"], place["x"] + place["w"])
        axes = figure.add_subplot(grid[rows, columns])
        axes.set_title(panel["title"], loc="left")
        DRAW[panel["type"]](axes, panel, arguments, end)
    figure.savefig(arguments.file)
    if arguments.file.endswith(".png"):
        # A palette makes it a third as large. Pillow comes with matplotlib.
        Image.open(arguments.file).convert("RGB").quantize(64).save(arguments.file, optimize=True)


if __name__ == "__main__":
    main()
