"""Bar charts by gnuplot: a bar a server, its median, and a line from the least to the most."""

import statistics
import subprocess

import benchlib

from peers_lib.report import known

OURS, YARDSTICK, OTHERS = 0x1F6F8B, 0xBBBBBB, 0x9AB7C4

SCRIPT = """\
set terminal svg size 720,{height} dynamic background "#ffffff" font "sans-serif,13" \
name "{name}"
set output "{path}"
set title "{title}"
set xlabel "{unit} ({better} is better)"
set yrange [{last}:-0.6]
set xrange [0:{most}]
set ytics scale 0 ({names})
set xtics nomirror
set border 3 linecolor "#666666"
set grid xtics linecolor "#dddddd"
set style fill solid 1 noborder
set lmargin 22
unset key
$data << EOD
{data}
EOD
plot $data using 2:1:(0):2:($1-0.36):($1+0.36):5 with boxxyerror linecolor rgb variable, \
     $data using 2:1:3:4 with xerrorbars pointtype 0 linecolor "#333333", \
     $data using 4:1:6 with labels left offset 0.8,0 textcolor "#222222"
"""


def script(report, metric, path):
    names, data, most = [], [], 0
    for peer in report.present():
        values = known(report.rounds_of(peer.label, metric.key))
        if not values:
            continue
        median = statistics.median(values)
        color = {report.peers[0]: OURS, report.yardstick: YARDSTICK}.get(peer, OTHERS)
        names.append(f'"{peer.label}" {len(data)}')
        data.append(
            f"{len(data)} {median} {min(values)} {max(values)} {color} "
            f'"{median:.{metric.digits}f}"'
        )
        most = max(most, *values)
    return SCRIPT.format(
        height=110 + 34 * len(data),
        name=path.stem.replace("-", "_"),
        path=path,
        title=metric.title,
        unit=metric.unit,
        better="higher" if metric.higher else "lower",
        last=len(data) - 0.4,
        most=most * 1.15 or 1,
        names=", ".join(names),
        data="\n".join(data),
    )


def write(report):
    """Draws what is to be drawn; returns the names of the files by metric."""
    charts = {}
    report.page.parent.mkdir(parents=True, exist_ok=True)
    for metric in report.metrics:
        if not metric.chart or not report.rows(metric):
            continue
        path = report.page.parent / f"{report.page.stem}-{metric.key.replace('_', '-')}.svg"
        text = script(report, metric, path)
        if subprocess.run(["gnuplot"], input=text, text=True).returncode != 0:
            raise benchlib.BenchError("gnuplot could not draw a chart")
        charts[metric.key] = path.name
    return charts
