//! A run of each policy over time, as SVG: the work that waits, and below it for each policy what it wanted, had and paid for.

use super::ledger::Sample;
use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;

/// A policy and its run.
pub type Run = (&'static str, Vec<Sample>);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>>;

const WIDTH: u32 = 1000;
const TITLE: u32 = 34;
const PANEL: u32 = 190;
/// Told apart by those who see colours otherwise too (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(120, 120, 120),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

pub fn svg(title: &str, runs: &[Run]) -> String {
    let mut text = String::new();
    let height = TITLE + PANEL * (runs.len() as u32 + 1);
    let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    draw(&root, title, runs).expect("writing into a string does not fail");
    drop(root);
    text
}

fn draw(root: &Area<'_>, title: &str, runs: &[Run]) -> Drawn {
    root.fill(&WHITE)?;
    let (top, rest) = root.split_vertically(TITLE);
    // XML has no place for them, in whatever form.
    let title = title.replace(char::is_control, "\u{fffd}");
    top.draw(&Text::new(title, (12, 10), ("sans-serif", 15)))?;
    let panels = rest.split_evenly((runs.len() + 1, 1));
    waiting(&panels[0], runs)?;
    let most = runs.iter().flat_map(|(_, samples)| samples).map(|at| at.gpus.max(at.wanted)).max().unwrap_or(1);
    for ((panel, run), colour) in panels[1..].iter().zip(runs).zip(COLOURS.iter().cycle()) {
        workers(panel, run, *colour, f64::from(most))?;
    }
    root.present()
}

fn waiting(panel: &Area<'_>, runs: &[Run]) -> Drawn {
    let hours = |sample: &Sample| sample.waiting / 3600.0;
    let most = runs.iter().flat_map(|(_, samples)| samples).map(hours).fold(0.1, f64::max);
    let mut chart = builder(panel).build_cartesian_2d(0.0..end(runs), 0.0..most * 1.05)?;
    mesh(&mut chart, "waiting, worker-hours")?;
    for ((name, samples), colour) in runs.iter().zip(COLOURS.iter().cycle()) {
        let points = samples.iter().map(|sample| (sample.time / 3600.0, hours(sample)));
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(*name)
            .legend(move |at| sample_line(at, colour.stroke_width(2)));
    }
    legend(&mut chart)
}

fn workers(panel: &Area<'_>, (name, samples): &Run, colour: RGBColor, most: f64) -> Drawn {
    let until = samples.last().map_or(1.0, |last| last.time / 3600.0);
    let mut chart = builder(panel).build_cartesian_2d(0.0..until, 0.0..most * 1.05)?;
    mesh(&mut chart, name)?;
    let points = |of: fn(&Sample) -> u32| samples.iter().map(move |at| (at.time / 3600.0, f64::from(of(at))));
    let paid = colour.mix(0.25);
    chart
        .draw_series(AreaSeries::new(points(|at| at.gpus), 0.0, paid))?
        .label("GPUs paid for")
        .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], paid.filled()));
    chart
        .draw_series(LineSeries::new(points(|at| at.ready), colour.stroke_width(2)))?
        .label("workers ready")
        .legend(move |at| sample_line(at, colour.stroke_width(2)));
    chart
        .draw_series(LineSeries::new(points(|at| at.wanted), BLACK.stroke_width(1)))?
        .label("workers wanted")
        .legend(|at| sample_line(at, BLACK.stroke_width(1)));
    legend(&mut chart)
}

fn end(runs: &[Run]) -> f64 {
    let last = runs.iter().filter_map(|(_, samples)| samples.last());
    last.map(|sample| sample.time / 3600.0).fold(1e-3, f64::max)
}

type Plane<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn builder<'a, 'b>(panel: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(panel);
    builder.margin(6).margin_right(16).x_label_area_size(34).y_label_area_size(60);
    builder
}

fn mesh(chart: &mut Plane<'_, '_>, label: &str) -> Drawn {
    chart
        .configure_mesh()
        .x_desc("hours")
        .y_desc(label)
        .x_labels(13)
        .y_labels(5)
        .x_label_formatter(&|hours| tick(*hours))
        .y_label_formatter(&|value| tick(*value))
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.1))
        .label_style(("sans-serif", 12))
        .axis_desc_style(("sans-serif", 13))
        .draw()
}

/// Without the last digits, in which sums of tenths are wrong.
fn tick(value: f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

fn legend<'a, 'b: 'a>(chart: &mut Plane<'a, 'b>) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 12))
        .draw()
}

fn sample_line((x, y): (i32, i32), style: ShapeStyle) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 18, y)], style)
}
