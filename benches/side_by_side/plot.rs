//! Draws what was measured: points with their spread over two logarithmic scales, in SVG.

use std::fmt::Write as _;

/// A median with its spread.
pub struct Point {
    pub value: f64,
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Where the plot begins and ends within the picture.
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 45.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = HEIGHT - 60.0;

/// A scale of powers of ten.
struct Scale {
    from: f64,
    to: f64,
    begin: f64,
    end: f64,
}

impl Scale {
    /// From the power of ten below all values to the one above.
    fn new(values: impl Iterator<Item = f64> + Clone, begin: f64, end: f64) -> Self {
        let from = values.clone().fold(f64::MAX, f64::min).log10().floor();
        let to = values.fold(f64::MIN, f64::max).log10().ceil().max(from + 1.0);
        Self { from, to, begin, end }
    }

    fn at(&self, value: f64) -> f64 {
        self.begin + (value.log10() - self.from) / (self.to - self.from) * (self.end - self.begin)
    }

    fn powers(&self) -> impl Iterator<Item = f64> {
        (self.from as i32..=self.to as i32).map(|power| 10f64.powi(power))
    }
}

/// A picture with these points, and with the line on which the cost would be proportional to the value, through the last one.
pub fn draw(across: &str, up: &str, points: &[Point]) -> String {
    let x = Scale::new(points.iter().map(|point| point.value), LEFT, RIGHT);
    let y = Scale::new(points.iter().flat_map(|point| [point.low, point.high]), BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>{up}, by {across}</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for power in x.powers() {
        let at = x.at(power);
        line(&mut svg, (at, TOP), (at, BOTTOM), "#ddd");
        text(&mut svg, at, BOTTOM + 18.0, "middle", &grouped(power));
    }
    for power in y.powers() {
        let at = y.at(power);
        line(&mut svg, (LEFT, at), (RIGHT, at), "#ddd");
        text(&mut svg, LEFT - 8.0, at + 4.0, "end", &grouped(power));
    }
    text(&mut svg, (LEFT + RIGHT) / 2.0, HEIGHT - 14.0, "middle", across);
    let middle = (TOP + BOTTOM) / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"16\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {middle})\">{up}</text>"
    );
    if let Some(last) = points.last() {
        // Down to the bottom or to the left, whatever comes first.
        let decades = (last.median.log10() - y.from).min(last.value.log10() - x.from);
        let least = 10f64.powf(-decades);
        let begin = (x.at(last.value * least), y.at(last.median * least));
        let end = (x.at(last.value), y.at(last.median));
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#999\" stroke-dasharray=\"4 4\"><title>proportional</title></path>",
            begin.0, begin.1, end.0, end.1
        );
    }
    for point in points {
        let at = x.at(point.value);
        line(&mut svg, (at, y.at(point.low)), (at, y.at(point.high)), "#06c");
    }
    let path: Vec<String> =
        points.iter().map(|point| format!("{:.1},{:.1}", x.at(point.value), y.at(point.median))).collect();
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"/>", path.join(" "));
    for point in points {
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"#06c\"><title>{}: {:.1} µs</title></circle>",
            x.at(point.value),
            y.at(point.median),
            grouped(point.value),
            point.median
        );
    }
    svg + "</svg>\n"
}

/// A number with its thousands apart.
pub fn grouped(value: f64) -> String {
    if value < 1.0 {
        return value.to_string();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(svg, "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"{colour}\"/>", from.0, from.1, to.0, to.1);
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
