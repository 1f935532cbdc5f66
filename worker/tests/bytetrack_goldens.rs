//! Compares the tracker with what the authors' own program answers. `bytetrack_goldens/README.md` says how the files
//! were made and what makes a frame pass.

#![expect(clippy::float_cmp, reason = "scores are handed on as they are")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use framefleet_worker::track::{ByteTrack, ByteTrackSettings, TrackerInput};

/// Largest distance, in pixels, of equal corners.
const TOLERANCE: f64 = 0.01;
/// The goldens were made with this one for all sequences.
const FRAME_RATE: f64 = 30.0;

#[derive(Debug, Clone, PartialEq)]
struct Row {
    id: i64,
    corners: [f64; 4],
    score: f64,
}

/// What the tracker and the authors' program answer for one frame.
struct Frame {
    ours: Vec<Row>,
    golden: Vec<Row>,
}

/// Pairs of ids, ours first, of the boxes of a frame that are equal.
struct EqualBoxes {
    ids: Vec<(i64, i64)>,
    complete: bool,
}

macro_rules! golden_tests {
    ($($name:ident: $sequence:literal, $frames:literal;)*) => {
        $(#[test]
        fn $name() {
            compare("bytetrack_060_090", $sequence, $frames, ByteTrackSettings::default());
            compare("bytetrack_050_080", $sequence, $frames, ByteTrackSettings {
                track_thresh: 0.5,
                match_thresh: 0.8,
                ..ByteTrackSettings::default()
            });
        })*
    };
}

golden_tests! {
    people_who_cross_have_the_tracks_of_the_authors_program: "seq1_crossing", 600;
    a_crowd_has_the_tracks_of_the_authors_program: "seq2_crowd", 420;
    traffic_has_the_tracks_of_the_authors_program: "seq3_traffic", 900;
    a_handheld_picture_has_the_tracks_of_the_authors_program: "seq4_handheld", 500;
    five_frames_per_second_have_the_tracks_of_the_authors_program: "seq5_lowfps", 300;
    dancers_have_the_tracks_of_the_authors_program: "seq6_dance", 750;
}

fn compare(config: &str, sequence: &str, frame_count: usize, settings: ByteTrackSettings) {
    let frames = track(config, sequence, frame_count, settings);
    let equal: Vec<EqualBoxes> = frames.iter().map(equal_boxes).collect();
    let map = one_to_one_map(&equal);

    let boxes_pass = equal.iter().filter(|frame| frame.complete).count();
    let ids_pass = equal
        .iter()
        .filter(|frame| frame.complete && frame.ids.iter().all(|(ours, golden)| map.get(ours) == Some(golden)))
        .count();
    let rows_pass = frames.iter().filter(|frame| same_rows(frame)).count();
    let percent = |passed: usize| 100.0 * passed as f64 / frame_count as f64;
    println!(
        "{config} {sequence}: {:.2} % of {frame_count} frames pass, {:.2} % by their boxes, {:.2} % row by row",
        percent(ids_pass),
        percent(boxes_pass),
        percent(rows_pass)
    );
    assert!(percent(ids_pass) >= 99.0, "{config} {sequence}: only {:.2} % of the frames pass", percent(ids_pass));
    assert_eq!(ids_pass, frame_count, "{config} {sequence}: the program is no longer exact");
    assert_eq!(rows_pass, frame_count, "{config} {sequence}: numbers, scores or the order of rows differ");
}

fn track(config: &str, sequence: &str, frame_count: usize, settings: ByteTrackSettings) -> Vec<Frame> {
    let mut detections: HashMap<usize, Vec<TrackerInput>> = HashMap::new();
    for (frame, [x1, y1, x2, y2, score, _class]) in read(&format!("{sequence}.det.csv.gz")) {
        detections.entry(frame).or_default().push(TrackerInput { x1, y1, x2, y2, score });
    }
    let mut golden: HashMap<usize, Vec<Row>> = HashMap::new();
    for (frame, [id, x1, y1, x2, y2, score]) in read(&format!("{config}/{sequence}.csv.gz")) {
        let row = Row { id: id as i64, corners: [x1, y1, x2, y2], score };
        golden.entry(frame).or_default().push(row);
    }
    assert!(golden.keys().chain(detections.keys()).all(|&frame| frame < frame_count));

    let mut tracker = ByteTrack::new(settings, FRAME_RATE);
    (0..frame_count)
        .map(|frame| Frame {
            ours: rows_of(&mut tracker, detections.get(&frame).map_or(&[], Vec::as_slice)),
            golden: golden.remove(&frame).unwrap_or_default(),
        })
        .collect()
}

fn rows_of(tracker: &mut ByteTrack, detections: &[TrackerInput]) -> Vec<Row> {
    let tracked = tracker.update(detections);
    for row in tracked {
        assert_eq!(row.score, detections[row.detection].score, "the row names another detection");
    }
    tracked
        .iter()
        .map(|row| Row { id: row.track_id, corners: [row.x1, row.y1, row.x2, row.y2], score: row.score })
        .collect()
}

/// A frame number and six more columns, line by line.
fn read(name: &str) -> impl Iterator<Item = (usize, [f64; 6])> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bytetrack_goldens/").to_owned() + name;
    let file = File::open(path).expect("the goldens are kept with the test");
    let lines = BufReader::new(GzDecoder::new(file)).lines().skip(1);
    lines.map(|line| parse(&line.expect("the goldens are gzip text")).expect("each line has seven numbers"))
}

fn parse(line: &str) -> Option<(usize, [f64; 6])> {
    let (frame, columns) = line.split_once(',')?;
    let columns: Vec<f64> = columns.split(',').map(|column| column.parse().ok()).collect::<Option<_>>()?;
    Some((frame.parse().ok()?, columns.try_into().ok()?))
}

fn equal_boxes(frame: &Frame) -> EqualBoxes {
    let mut unmatched: Vec<&Row> = frame.golden.iter().collect();
    let mut ids = Vec::new();
    for ours in &frame.ours {
        if let Some(position) = unmatched.iter().position(|golden| near(ours, golden)) {
            ids.push((ours.id, unmatched.swap_remove(position).id));
        }
    }
    let complete = unmatched.is_empty() && ids.len() == frame.ours.len();
    EqualBoxes { ids, complete }
}

fn near(ours: &Row, golden: &Row) -> bool {
    ours.corners.iter().zip(golden.corners).all(|(ours, golden)| (ours - golden).abs() <= TOLERANCE)
}

/// Joins the ids that share the most boxes first. The map that joins the most boxes overall can only be better.
fn one_to_one_map(frames: &[EqualBoxes]) -> HashMap<i64, i64> {
    let mut shared: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for pair in frames.iter().flat_map(|frame| &frame.ids) {
        *shared.entry(*pair).or_default() += 1;
    }
    let mut pairs: Vec<_> = shared.into_iter().collect();
    pairs.sort_by_key(|&(_, boxes)| std::cmp::Reverse(boxes));

    let (mut map, mut taken) = (HashMap::new(), HashSet::new());
    for ((ours, golden), _) in pairs {
        if !map.contains_key(&ours) && taken.insert(golden) {
            map.insert(ours, golden);
        }
    }
    map
}

/// Stricter than the criterion: the same numbers and scores too, in the same order.
fn same_rows(frame: &Frame) -> bool {
    let same = |(ours, golden): (&Row, &Row)| ours.id == golden.id && ours.score == golden.score && near(ours, golden);
    frame.ours.len() == frame.golden.len() && frame.ours.iter().zip(&frame.golden).all(same)
}
