"""Figures from repeated runs: medians, spread, ratios, and whether a target is met, missed, or
undecided because the runs differ too much."""
from statistics import median

NOISY = 0.15  # spread of the runs, (largest - smallest) / median, above which a figure is noise


class Results:
    """Results by scenario, broker and repeat."""

    def __init__(self, records):
        self.table = {}
        for record in records:
            key = record["scenario"], record["broker"]
            self.table.setdefault(key, {})[record["repeat"]] = record["result"]

    def values(self, scenario, broker, metric):
        """{repeat: figure} of the runs without an error."""
        runs = self.table.get((scenario, broker), {})
        return {repeat: result[metric] for repeat, result in sorted(runs.items())
                if "error" not in result and metric in result}

    def errors(self, scenario, broker):
        runs = self.table.get((scenario, broker), {})
        return [result["error"] for result in runs.values() if "error" in result]

    def ran(self, scenario, broker):
        return (scenario, broker) in self.table

    def figure(self, scenario, broker, metric):
        """The median, or None."""
        values = self.values(scenario, broker, metric)
        return median(values.values()) if values else None

    def spread(self, scenario, broker, metric):
        values = list(self.values(scenario, broker, metric).values())
        middle = median(values) if values else 0
        return (max(values) - min(values)) / middle if middle else 0.0


def ratios(results, scenario, target):
    """The figure that the target bounds, for each repeat that has it on both sides. Runs of the
    same repeat stand next to each other in time."""
    ours = results.values(scenario, "bulkhead", target.metric)
    if not target.peer:
        return list(ours.values())
    theirs = results.values(scenario, target.peer, target.metric)
    both = [(ours[repeat], theirs[repeat]) for repeat in ours if repeat in theirs]
    if target.least and target.metric != "rate":
        return [b / a for a, b in both if a]
    return [a / b for a, b in both if b]


def verdict_of(missed):
    """missed: whether the target was, for each run."""
    if all(missed):
        return "missed"
    return "noise: the runs disagree" if any(missed) else "met"


def judge(results, scenario, target):
    """(median, smallest, largest, verdict) of a target."""
    found = ratios(results, scenario, target)
    if not found:
        return None
    bad = [value < target.least if target.least else value > target.most for value in found]
    verdict = "failed" if results.errors(scenario, "bulkhead") else verdict_of(bad)
    return median(found), min(found), max(found), verdict
