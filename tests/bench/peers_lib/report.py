"""The figures of a comparison as tables, for the terminal and for a page in docs/bench."""

import dataclasses
import pathlib
import statistics

import benchlib

from peers_lib import install

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
EQUAL = 1.05  # rates so close are equal
HEADER = ["", "median", "min", "max", "to millgate: min", "median", "max"]


@dataclasses.dataclass
class Metric:
    key: str
    title: str
    unit: str
    digits: int = 0
    higher: bool = False  # is better
    chart: bool = False
    bar: bool = False  # must millgate be ahead of every peer?
    note: str = ""


def known(values):
    return [value for value in values if value is not None]


def heading(metric):
    better = "higher" if metric.higher else "lower"
    return f"{metric.title}, {metric.unit} ({better} is better)"


def markdown_table(header, lines, align="--:"):
    text = ["| " + " | ".join(header) + " |", "|---" + f"|{align}" * (len(header) - 1) + "|"]
    return "\n".join(text + ["| " + " | ".join(line) + " |" for line in lines])


@dataclasses.dataclass
class Report:
    """
    What a comparison tells: `results` are the figures of each round, by the server's label. The
    first of `peers` is what the others are compared with; a yardstick is no peer.
    """

    metrics: list
    peers: list
    yardstick: type
    page: pathlib.Path  # its charts are beside it, and their names begin as its own
    preface: str
    results: dict

    def present(self):
        return [peer for peer in self.peers if peer.label in self.results]

    def rounds_of(self, label, key):
        """One value a round; None where nothing was measured."""
        return [one.get(key) for one in self.results.get(label, [])]

    def ratios(self, label, key):
        pairs = zip(self.rounds_of(label, key), self.rounds_of(self.peers[0].label, key))
        return [peer / ours for peer, ours in pairs if peer is not None and (ours or 0) > 0]

    def rows(self, metric):
        """Per server: name, median, min, max of the values, then min, median, max of the ratios."""
        lines = []
        for peer in self.peers:
            values = known(self.rounds_of(peer.label, metric.key))
            if not values:
                continue
            line = [peer.label]
            line += [f"{f(values):.{metric.digits}f}" for f in (statistics.median, min, max)]
            to_ours = self.ratios(peer.label, metric.key)
            if to_ours:
                line += [f"{f(to_ours):.2f}" for f in (min, statistics.median, max)]
            else:
                line += ["-"] * 3
            lines.append(line)
        return lines

    def text(self):
        parts = []
        for metric in self.metrics:
            lines = self.rows(metric)
            if lines:
                note = f"\n  {metric.note}" if metric.note else ""
                parts.append(f"{heading(metric)}{note}\n" + benchlib.table(HEADER, lines))
        parts.append("\n".join(f"{peer.label}: {peer.note}" for peer in self.present()))
        return "\n\n".join(parts)

    def behind(self):
        """Where ours is not ahead of every peer: one line each."""
        lines = []
        for metric in self.metrics:
            for peer in self.present():
                to_ours = self.ratios(peer.label, metric.key)
                if peer in (self.peers[0], self.yardstick) or not metric.bar or not to_ours:
                    continue
                ratio = statistics.median(to_ours)
                if ratio > EQUAL if metric.higher else ratio < 1:
                    lines.append(f"{metric.title}: {peer.label} has {ratio:.2f} of millgate's")
        return lines

    # The page.

    def summary(self):
        """Medians of everything: a row a figure, a column a server."""
        peers = self.present()
        lines = []
        for metric in self.metrics:
            medians = {row[0]: row[1] for row in self.rows(metric)}
            if medians:
                cells = [medians.get(peer.label, "") for peer in peers]
                lines.append([f"{metric.title}, {metric.unit}", *cells])
        return markdown_table(["median", *(peer.label for peer in peers)], lines)

    def versions(self):
        lines = []
        for peer in self.present():
            found = [(package, install.version(package)) for package in peer.packages]
            known_ones = ", ".join(f"{package} {version}" for package, version in found if version)
            lines.append([peer.label, known_ones or "of this tree", peer.note])
        return markdown_table(["server", "Debian packages", ""], lines, "---")

    def figures(self, workload, command, rounds, charts):
        host = benchlib.machine()
        parts = [
            f"    {command}",
            f"Machine: {host['cores']} cores ({host['cpu']}), "
            f"{host['memory_bytes'] / 2**30:.0f} GiB, Linux {host['kernel']}; servers and clients "
            f"together on it, over loopback. Rounds: {rounds}, in which who begins takes turns; "
            "each with fresh servers.",
            f"Workloads: {workload}.",
            self.versions(),
            "## Medians",
            self.summary(),
            "## Every figure",
            "Ratios are those of the same round: what the server has, over what millgate has.",
        ]
        for metric in self.metrics:
            lines = self.rows(metric)
            if not lines:
                continue
            parts.append(f"### {heading(metric)}")
            if metric.note:
                parts.append(metric.note[0].upper() + metric.note[1:] + ".")
            parts.append(markdown_table(HEADER, lines))
            if metric.key in charts:
                parts.append(f"![{metric.title}]({charts[metric.key]})")
        return "\n\n".join(parts)

    def write(self, new):
        """Puts the figures into the page, and leaves what a person has written around them."""
        self.page.parent.mkdir(parents=True, exist_ok=True)
        page = self.page.read_text() if self.page.exists() else self.preface
        before, begin, rest = page.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise benchlib.BenchError(f"{self.page.name} has lost its markers")
        self.page.write_text(f"{before}{BEGIN}\n\n{new}\n\n{END}{after}")
