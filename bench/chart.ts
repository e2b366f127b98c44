/** One bar: what was measured, by whom, and how much it was. */
export interface Bar {
  readonly group: string;
  readonly name: string;
  readonly value: number;
}

const WIDTH = 900;
const LEFT = 190;
const BAR = 18;
const COLORS = ["#1f6feb", "#8b949e", "#57606a", "#d29922", "#a371f7", "#cf222e"];

/** A bar chart as SVG text: one block of bars for each group, each block with a scale of its own. */
export function barChart(title: string, bars: readonly Bar[]): string {
  const names = [...new Set(bars.map(({ name }) => name))];
  let y = 44;
  const body: string[] = [];
  for (const group of new Set(bars.map((bar) => bar.group))) {
    body.push(text(12, (y += 22), group, 'font-weight="bold"'));
    y += 8;
    const own = bars.filter((bar) => bar.group === group);
    const longest = Math.max(...own.map(({ value }) => value));
    for (const { name, value } of own) {
      const width = Math.max(1, (value / longest) * (WIDTH - LEFT - 90));
      const color = COLORS[names.indexOf(name) % COLORS.length] ?? "";
      body.push(
        text(LEFT - 8, y + 13, name, 'text-anchor="end"'),
        `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 4}" fill="${color}"/>`,
        text(LEFT + width + 6, y + 12, value.toFixed(2), ""),
      );
      y += BAR;
    }
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + 16}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    text(12, 26, title, 'font-size="16"'),
    ...body,
    "</svg>\n",
  ].join("\n");
}

function text(x: number, y: number, content: string, more: string): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}" ${more}>${escaped}</text>`;
}
