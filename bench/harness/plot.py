"""A bar chart as SVG: CPU seconds for a million messages, on a logarithmic scale."""
from math import ceil, floor, log10

from .brokers import KINDS
from .document import number
from .report import ORDER

COLOURS = {"mosquitto": "#7a8fa6", "nats": "#b9a44c", "bulkhead": "#c0392b", "relay1": "#d5d8dc",
           "relay2": "#aab2b8"}
LEFT, WIDTH, BAR, GAP, TOP = 340, 560, 12, 14, 64


def bars_of(results, scenarios, names):
    """[(title, [(name, value)...])...] of what has figures."""
    found = []
    for scenario in scenarios:
        if scenario.group not in ("flow", "open"):
            continue
        values = [(name, results.figure(scenario.key, name, "cpu_per_million")) for name in names]
        values = [(name, value) for name, value in values if value]
        if values:
            found.append((scenario.title, values))
    return found


def text(x, y, content, anchor="start", size=12):
    return (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}">{content}'
            "</text>")


def legend(names):
    parts, x = [], LEFT
    for name in names:
        label = KINDS[name].name
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{COLOURS[name]}"/>')
        parts.append(text(x + 17, 44, label))
        x += 36 + 7 * len(label)
    return parts


def grid(low, high, height):
    parts = []
    for power in range(low, high + 1):
        x = LEFT + WIDTH * (power - low) / (high - low)
        parts.append(f'<line x1="{x:.0f}" y1="{TOP - 6}" x2="{x:.0f}" y2="{height - 24}" '
                     'stroke="#ddd"/>')
        parts.append(text(x, height - 8, number(10.0 ** power), "middle"))
    return parts


def draw(results, scenarios, names):
    """The SVG's text, or an empty string when there is nothing to draw."""
    names = [name for name in ORDER if name in names]
    groups = bars_of(results, scenarios, names)
    values = [value for _, bars in groups for _, value in bars]
    if not values:
        return ""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    high = max(high, low + 1)
    height = TOP + sum(len(bars) * BAR + GAP for _, bars in groups) + 28
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 70}" '
             f'height="{height}" font-family="sans-serif">',
             '<rect width="100%" height="100%" fill="white"/>',
             text(LEFT, 20, "CPU seconds for a million messages (logarithmic; less is better)",
                  size=14), *legend(names), *grid(low, high, height)]
    y = TOP
    for title, bars in groups:
        parts.append(text(LEFT - 10, y + len(bars) * BAR / 2 + 4, title, "end"))
        for name, value in bars:
            width = WIDTH * (log10(value) - low) / (high - low)
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{max(width, 1):.1f}" '
                         f'height="{BAR - 1}" fill="{COLOURS[name]}"/>')
            parts.append(text(LEFT + width + 4, y + BAR - 2, number(value), size=10))
            y += BAR
        y += GAP
    return "\n".join([*parts, "</svg>", ""])
