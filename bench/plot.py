"""A picture of lines on two logarithmic scales, as SVG, that can be read on a light and on a dark
page.
"""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 820, 470
LEFT, RIGHT, TOP, BOTTOM = 70, 220, 20, 50  # margins; on the right stand the names of the lines
# most are of Okabe and Ito, which all eyes tell apart
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#7f7f7f", "#56b4e9"]
STYLE = (
    "text { font: 13px sans-serif; fill: #7a8088 } .grid { stroke: #888; stroke-opacity: .3 } .line"
    " { fill: none; stroke-width: 2.2 } .leader { stroke-dasharray: 1 4 }"
)


def write(path, across, up, lines) -> None:
    """across, up: what the scales tell. lines: {name: [(x, y), ...]}, all above zero."""
    path.write_text(svg(across, up, lines), encoding="utf-8")


def svg(across, up, lines) -> str:
    points = [point for line in lines.values() for point in line]
    decades_x, decades_y = _decades([x for x, _y in points]), _decades([y for _x, y in points])

    def place(x, y):
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * _share(x, decades_x),
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(y, decades_y),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' role="img"><title>{escape(up)}, by'
        f" {escape(across)}</title><style>{STYLE}</style>"
    ]
    for power in decades_x:
        x, _y = place(10**power, 10 ** decades_y[0])
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP} V{HEIGHT - BOTTOM}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 18, format(10**power, ","), "middle"))
    for power in decades_y:
        _x, y = place(10 ** decades_x[0], 10**power)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f} H{WIDTH - RIGHT}"/>')
        parts.append(
            _text(
                LEFT - 8,
                y + 4,
                f"{10**power:g} s" if power >= 0 else f"{10 ** (power + 3):g} ms",
                "end",
            )
        )
    ends = []
    for number, (name, line) in enumerate(sorted(lines.items(), key=lambda each: each[1][-1][1])):
        colour, places = COLOURS[number % len(COLOURS)], [place(*point) for point in line]
        parts.append(
            '<path class="line" stroke="%s" d="M%s"/>'
            % (colour, " L".join("%.1f %.1f" % each for each in places))
        )
        parts += [
            '<circle fill="%s" cx="%.1f" cy="%.1f" r="3.5"/>' % (colour, *each) for each in places
        ]
        # names do not cover each other
        height = min([places[-1][1] + 4, *(end - 16 for end in ends)])
        ends.append(height)
        parts.append(
            '<path class="leader" stroke="%s" d="M%.1f %.1f L%d %.1f"/>'
            % (colour, *places[-1], WIDTH - RIGHT + 9, height - 4)
        )
        parts.append(
            '<g style="fill:%s">%s</g>'
            % (
                colour,
                _text(WIDTH - RIGHT + 12, height, name, "start", f' style="fill:{colour}"'),
            )
        )
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, across, "middle"))
    parts.append(_text(LEFT + 6, TOP + 14, up, "start"))
    return "\n".join(parts) + "\n</svg>\n"


def _decades(numbers) -> list:
    """The powers of ten that take all of them in."""
    return list(
        range(
            math.floor(math.log10(min(numbers))),
            max(math.ceil(math.log10(max(numbers))), math.floor(math.log10(min(numbers))) + 1) + 1,
        )
    )


def _share(number, decades) -> float:
    return (math.log10(number) - decades[0]) / (decades[-1] - decades[0])


def _text(x, y, words, anchor, more="") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'
