"""A minimal SVG chart: series of points."""

from html import escape

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 60
# Colours by Okabe and Ito, distinguishable by most people.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]


def steps(most):
    """Ticks at equal distances from 0 to at least `most`: five to ten of them."""
    size = 1
    for candidate in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        size = candidate
        if most / candidate <= 10:
            break
    return [size * number for number in range(int(most / size) + 2)]


def draw(title, across, up, series):
    """`series`: (name, [(x, y, label)]); points are joined in this order. `across` and `up` are the names of the axes."""
    points = [point for _, each in series for point in each]
    right, above = steps(max(x for x, _, _ in points)), steps(max(y for _, y, _ in points))

    def place(x, y):
        return (LEFT + x / right[-1] * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / above[-1] * (HEIGHT - TOP - BOTTOM))

    def text(x, y, words, **more):
        given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        return f'<text x="{x:.1f}" y="{y:.1f}"{given}>{escape(words)}</text>'

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
             'role="img" aria-labelledby="title">', f'<title id="title">{escape(title)}</title>',
             "<style>text { font: 12px system-ui, sans-serif; fill: #1f2328; } .grid { stroke: #d0d7de; }</style>",
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', text(LEFT, 24, title, font_weight="600")]
    for number in right:
        x, y = place(number, 0)
        lines += [f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{y:.1f}"/>',
                  text(x, y + 18, f"{number:g}", text_anchor="middle")]
    for number in above:
        x, y = place(0, number)
        lines += [f'<line class="grid" x1="{x:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>',
                  text(x - 8, y + 4, f"{number:g}", text_anchor="end")]
    lines += [text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, across, text_anchor="middle"),
              text(18, (TOP + HEIGHT - BOTTOM) / 2, up, text_anchor="middle",
                   transform=f"rotate(-90 18 {(TOP + HEIGHT - BOTTOM) / 2:.0f})")]
    for at, (name, each) in enumerate(series):
        colour = COLOURS[at % len(COLOURS)]
        places = [place(x, y) for x, y, _ in each]
        if len(places) > 1:
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            lines.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for (x, y), (_, _, label) in zip(places, each):
            lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>', text(x + 7, y - 6, label)]
        lines += [f'<circle cx="{LEFT + 14}" cy="{TOP + 8 + 18 * at}" r="4" fill="{colour}"/>',
                  text(LEFT + 24, TOP + 12 + 18 * at, name)]
    return "\n".join([*lines, "</svg>"]) + "\n"
