//! Random outputs of the big heads, looked through by the kernel and on the CPU.

use crate::{harness::Harness, pictures::Random};
use framefleet_models::{
    heads::{Candidate, DeviceOutput, Head, OutputView, Wanted},
    letterbox::Size,
    manifest::HeadFamily,
};
use framefleet_native::cuda::{DeviceRange, Element, HeadParameters, Survivor};
use half::f16;
use proptest::{option, prelude::*, sample::select};

const FAMILIES: [HeadFamily; 6] =
    [HeadFamily::Yolox, HeadFamily::YoloxDecoded, HeadFamily::V5, HeadFamily::V6, HeadFamily::V8, HeadFamily::DamoYolo];

/// What a head gave for a batch.
#[derive(Debug, Clone)]
struct Batch {
    head: Head,
    pictures: usize,
    outputs: Vec<Output>,
}

#[derive(Debug, Clone)]
struct Output {
    shape: [usize; 3],
    element: Element,
    /// As the CPU's path gets them.
    values: Vec<f32>,
}

impl Batch {
    fn new(head: Head, pictures: usize, elements: [Element; 2], seed: u64) -> Self {
        let Size { width, height } = head.model;
        let places: usize = [8, 16, 32].map(|stride| (width / stride) * (height / stride)).iter().sum();
        let shapes = match head.family {
            HeadFamily::V8 => vec![[pictures, 4 + head.classes, places]],
            HeadFamily::V5 => vec![[pictures, 3 * places, 5 + head.classes]],
            HeadFamily::DamoYolo => vec![[pictures, places, head.classes], [pictures, places, 4]],
            _ => vec![[pictures, places, 5 + head.classes]],
        };
        let mut random = Random(seed);
        let outputs = shapes.into_iter().zip(elements).map(|(shape, element)| {
            let values = (0..shape.iter().product()).map(|_| rounded(value(&mut random), element)).collect();
            Output { shape, element, values }
        });
        Self { head, pictures, outputs: outputs.collect() }
    }

    fn parameters(&self, wanted: Wanted<'_>) -> Option<HeadParameters> {
        let outputs =
            self.outputs.iter().map(|Output { shape, element, .. }| DeviceOutput { shape, element: *element });
        self.head.survivor_parameters(&outputs.collect::<Vec<_>>(), self.pictures as u32, wanted)
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        let bytes = |output: &Output| match output.element {
            Element::F16 => output.values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            _ => output.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        self.outputs.iter().map(bytes).collect()
    }

    fn on_cpu(&self, picture: usize, wanted: Wanted<'_>) -> Vec<Exact> {
        let shapes: Vec<[usize; 3]> =
            self.outputs.iter().map(|Output { shape: [_, rows, columns], .. }| [1, *rows, *columns]).collect();
        let views = self.outputs.iter().zip(&shapes).map(|(output, shape)| {
            let length = shape[1] * shape[2];
            OutputView { shape, values: &output.values[picture * length..][..length] }
        });
        let views: Vec<OutputView<'_>> = views.collect();
        self.head.check(&views).unwrap();
        let mut candidates = Vec::new();
        self.head.decode(&views, wanted, &mut candidates);
        sorted(&candidates)
    }

    fn of_survivors(&self, survivors: &[Survivor], picture: usize, wanted: Wanted<'_>) -> Vec<Exact> {
        let own = survivors.iter().filter(|survivor| survivor.picture as usize == picture);
        sorted(&own.filter_map(|survivor| self.head.candidate(survivor, wanted)).collect::<Vec<_>>())
    }

    fn most(&self) -> u32 {
        self.outputs[0].values.len() as u32
    }
}

/// Place, class, and the bits of the score and the corners.
type Exact = (u32, i32, [u32; 5]);

fn sorted(candidates: &[Candidate]) -> Vec<Exact> {
    let exact = |candidate: &Candidate| {
        let corners = candidate.corners;
        let values = [candidate.score, corners.x1, corners.y1, corners.x2, corners.y2];
        (candidate.anchor, candidate.class_id, values.map(f32::to_bits))
    };
    let mut exact: Vec<Exact> = candidates.iter().map(exact).collect();
    exact.sort_unstable();
    exact
}

/// A score or a box's side: ties, what is no number, and what is beyond 1 among them.
fn value(random: &mut Random) -> f32 {
    let bits = random.next();
    let share = (bits >> 40) as f32 / (1 << 24) as f32;
    match bits & 63 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        3 => -0.0,
        4 => 0.0,
        5 => 1.0,
        6 => 3.0 * share,
        7 => -share,
        8 => share * 1e-7,
        9..14 => 0.5,
        14..19 => 0.25,
        _ => share,
    }
}

fn rounded(value: f32, element: Element) -> f32 {
    if element == Element::F16 { f16::from_f32(value).to_f32() } else { value }
}

fn head(family: HeadFamily, classes: usize) -> Head {
    Head { family, classes, model: Size { width: 96, height: 64 } }
}

const FLOATS: [Element; 2] = [Element::F32, Element::F16];

prop_compose! {
    fn any_batch()(
        family in select(&FAMILIES[..]),
        classes in 1..12_usize,
        (columns, rows) in (1..4_usize, 1..4_usize),
        pictures in 1..4_usize,
        elements in [select(&FLOATS[..]), select(&FLOATS[..])],
        seed: u64,
    ) -> Batch {
        let model = Size { width: 32 * columns, height: 32 * rows };
        Batch::new(Head { family, classes, model }, pictures, elements, seed)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_the_outputs_the_same_places_pass(
        batch in any_batch(),
        confidence in select(&[0.0_f32, 0.1, 0.25, 0.5, 0.9, 1.5][..]),
        classes in option::of(proptest::collection::vec(-1..12_i32, 0..5)),
    ) {
        let wanted = Wanted { confidence, classes: classes.as_deref() };
        let parameters = HeadParameters { capacity: batch.most(), ..batch.parameters(wanted).unwrap() };
        let seen = Harness::get().survivors(&parameters, &batch.bytes());
        prop_assert_eq!(seen.count, seen.list.len());
        // The host would leave out the others too, but they would have been copied.
        for Survivor { objectness, score, class_id, .. } in &seen.list {
            prop_assert!(*objectness >= confidence && *score >= confidence);
            prop_assert!(classes.as_ref().is_none_or(|classes| classes.contains(class_id)));
        }
        for picture in 0..batch.pictures {
            prop_assert_eq!(batch.of_survivors(&seen.list, picture, wanted), batch.on_cpu(picture, wanted));
        }
    }

    #[test]
    fn each_picture_of_a_batch_may_want_less_than_the_kernel_was_told(
        batch in any_batch(),
        wishes in proptest::collection::vec((0.05_f32..1.2, option::of(proptest::collection::vec(0..12_i32, 0..5))), 3),
    ) {
        let least = Wanted { confidence: 0.05, classes: None };
        let parameters = HeadParameters { capacity: batch.most(), ..batch.parameters(least).unwrap() };
        let seen = Harness::get().survivors(&parameters, &batch.bytes());
        for (picture, (confidence, classes)) in wishes.iter().take(batch.pictures).enumerate() {
            let wanted = Wanted { confidence: *confidence, classes: classes.as_deref() };
            prop_assert_eq!(batch.of_survivors(&seen.list, picture, wanted), batch.on_cpu(picture, wanted));
        }
    }
}

#[test]
fn what_finds_no_room_is_counted() {
    for family in FAMILIES {
        let batch = Batch::new(head(family, 3), 2, FLOATS, 7);
        let all = Wanted { confidence: 0.1, classes: None };
        let parameters = HeadParameters { capacity: batch.most(), ..batch.parameters(all).unwrap() };
        let whole = Harness::get().survivors(&parameters, &batch.bytes());
        assert!(whole.count > 10, "{family:?}: {}", whole.count);
        for capacity in [0, 1, whole.count - 1, whole.count] {
            let parameters = HeadParameters { capacity: capacity as u32, ..parameters };
            let seen = Harness::get().survivors(&parameters, &batch.bytes());
            assert_eq!((seen.count, seen.list.len()), (whole.count, capacity), "{family:?}");
            let bits = |survivor: &Survivor| (survivor.picture, survivor.place, survivor.score.to_bits());
            let known: Vec<_> = whole.list.iter().map(bits).collect();
            assert!(seen.list.iter().all(|survivor| known.contains(&bits(survivor))), "{family:?}");
        }
    }
}

#[test]
fn classes_beyond_those_that_the_kernel_is_told_of_are_left_to_the_host() {
    let mut batch = Batch::new(head(HeadFamily::V8, 2100), 1, FLOATS, 3);
    let [_, _, places] = batch.outputs[0].shape;
    let values = &mut batch.outputs[0].values;
    values.iter_mut().filter(|value| value.is_infinite()).for_each(|value| *value = 0.0);
    // The best classes of the first two places, of which the first is not wanted.
    for (place, class_id) in [2050, 2052].into_iter().enumerate() {
        values[(4 + class_id) * places + place] = 9.0;
    }
    let some: Vec<i32> = (0..2100).filter(|class_id| class_id % 3 == 0).collect();
    let wanted = Wanted { confidence: 0.1, classes: Some(&some) };
    let parameters = HeadParameters { capacity: batch.most(), ..batch.parameters(wanted).unwrap() };
    let seen = Harness::get().survivors(&parameters, &batch.bytes());
    assert!(seen.list.iter().any(|survivor| survivor.class_id == 2050));
    assert!(seen.list.iter().all(|survivor| survivor.class_id >= 2048 || survivor.class_id % 3 == 0));
    let expected = batch.on_cpu(0, wanted);
    assert!(expected.iter().any(|(place, class_id, _)| (*place, *class_id) == (1, 2052)));
    assert_eq!(batch.of_survivors(&seen.list, 0, wanted), expected);
}

#[test]
fn only_the_pictures_that_were_asked_for_are_looked_at() {
    let batch = Batch::new(head(HeadFamily::V5, 3), 3, FLOATS, 5);
    let all = Wanted { confidence: 0.1, classes: None };
    let parameters = batch.parameters(all).unwrap();
    let parameters = HeadParameters { capacity: batch.most(), pictures: 2, ..parameters };
    let seen = Harness::get().survivors(&parameters, &batch.bytes());
    assert!(seen.list.iter().any(|survivor| survivor.picture == 1));
    assert!(seen.list.iter().all(|survivor| survivor.picture < 2));
}

#[test]
fn heads_with_small_outputs_and_foreign_shapes_have_no_parameters() {
    let all = Wanted { confidence: 0.1, classes: None };
    let shape = [2, 5, 6];
    let output = DeviceOutput { shape: &shape, element: Element::F32 };
    for family in [HeadFamily::EndToEnd, HeadFamily::RtDetrListed, HeadFamily::V8, HeadFamily::Yolox] {
        assert_eq!(head(family, 3).survivor_parameters(&[output], 1, all), None, "{family:?}");
    }
    let batch = Batch::new(head(HeadFamily::V8, 3), 2, FLOATS, 1);
    assert_eq!(Batch { pictures: 3, ..batch.clone() }.parameters(all), None);
    let bytes = Output { element: Element::U8, ..batch.outputs[0].clone() };
    assert_eq!(Batch { outputs: vec![bytes], ..batch }.parameters(all), None);
}

#[test]
fn a_head_is_placed_only_where_its_outputs_fit() {
    let all = Wanted { confidence: 0.1, classes: None };
    for family in FAMILIES {
        let batch = Batch::new(head(family, 3), 2, FLOATS, 1);
        let parameters = batch.parameters(all).unwrap();
        let ranges: Vec<DeviceRange> =
            batch.bytes().iter().map(|bytes| DeviceRange { address: 4096, bytes: bytes.len() as u64 }).collect();
        let (first, last) = (ranges[0], ranges[ranges.len() - 1]);
        let placed = parameters.placed(first, last).unwrap();
        assert_eq!(placed.scores.address, 4096 + parameters.scores.address, "{family:?}");
        let short = DeviceRange { bytes: first.bytes - 1, ..first };
        assert_eq!(parameters.placed(short, last), None, "{family:?}");
        let odd = DeviceRange { address: 4097, ..first };
        assert_eq!(parameters.placed(odd, last), None, "{family:?}");
        assert_eq!(HeadParameters { pictures: 3, ..parameters }.placed(first, last), None, "{family:?}");
        assert_eq!(HeadParameters { places: u32::MAX, ..parameters }.placed(first, last), None, "{family:?}");
    }
}
