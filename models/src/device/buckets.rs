use crate::manifest::{HeadFamily, Layout, Manifest};

/// The sizes of batch that a session has memory for, smallest first. A batch goes into the smallest that holds it; what is
/// left of it there is computed and thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets(Vec<usize>);

impl Buckets {
    /// Powers of two up to `largest`, and `largest` itself, where the model leaves the batch open. Its own size otherwise,
    /// and 1 where the outputs do not tell pictures apart.
    pub fn new(manifest: &Manifest, largest: usize) -> Self {
        if let Some(own) = own_size(manifest) {
            return Self(vec![own]);
        }
        let largest = largest.max(1);
        let powers = std::iter::successors(Some(1), |size| Some(size * 2)).take_while(|size| *size < largest);
        Self(powers.chain([largest]).collect())
    }

    /// The largest alone: what a picture gives does not depend on how many others there were.
    #[must_use]
    pub fn only_the_largest(self) -> Self {
        Self(vec![self.largest()])
    }

    pub fn sizes(&self) -> &[usize] {
        &self.0
    }

    pub fn largest(&self) -> usize {
        *self.0.last().expect("there is always one")
    }

    /// Which of [`Self::sizes`] so many pictures go into.
    pub fn index_for(&self, pictures: usize) -> usize {
        self.0.partition_point(|size| *size < pictures).min(self.0.len() - 1)
    }

    /// What is left to try where memory does not suffice for the largest. `None` where there is nothing smaller.
    pub fn half(&self) -> Option<usize> {
        (self.0.len() > 1).then(|| (self.largest() / 2).max(1))
    }
}

/// The size that a model has, where it leaves no choice.
fn own_size(manifest: &Manifest) -> Option<usize> {
    let lists_all_pictures_together = matches!(
        manifest.head,
        HeadFamily::V7EndToEnd | HeadFamily::YoloNasFlat | HeadFamily::Paddle | HeadFamily::Torchvision
    );
    if let Some(batch) = manifest.input.batch {
        return Some(batch.max(1) as usize);
    }
    (lists_all_pictures_together || manifest.input.layout == Layout::Chw).then_some(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{InputTensor, Preprocessing};

    fn manifest(head: HeadFamily, batch: Option<u32>) -> Manifest {
        Manifest::new(head, InputTensor::nchw("images", [batch, Some(640), Some(640)]), Preprocessing::ULTRALYTICS)
    }

    fn sizes(head: HeadFamily, batch: Option<u32>, largest: usize) -> Vec<usize> {
        Buckets::new(&manifest(head, batch), largest).sizes().to_vec()
    }

    #[test]
    fn an_open_batch_has_powers_of_two_and_the_largest() {
        assert_eq!(sizes(HeadFamily::V8, None, 32), [1, 2, 4, 8, 16, 32]);
        assert_eq!(sizes(HeadFamily::V8, None, 24), [1, 2, 4, 8, 16, 24]);
        assert_eq!(sizes(HeadFamily::V8, None, 1), [1]);
        assert_eq!(sizes(HeadFamily::V8, None, 0), [1]);
    }

    #[test]
    fn a_model_that_leaves_no_choice_has_its_own_size() {
        assert_eq!(sizes(HeadFamily::V8, Some(4), 32), [4]);
        assert_eq!(sizes(HeadFamily::V8, Some(1), 32), [1]);
        assert_eq!(sizes(HeadFamily::Paddle, None, 32), [1], "its rows do not say which picture they are of");
        let rows = InputTensor { layout: Layout::Chw, ..InputTensor::nchw("image", [None, None, None]) };
        let rows = Manifest { input: rows, ..manifest(HeadFamily::V8, None) };
        assert_eq!(Buckets::new(&rows, 32).sizes(), [1]);
    }

    #[test]
    fn a_batch_goes_into_the_smallest_that_holds_it() {
        let buckets = Buckets::new(&manifest(HeadFamily::V8, None), 24);
        let sizes: Vec<usize> =
            [1, 2, 3, 5, 16, 17, 24].map(|count| buckets.sizes()[buckets.index_for(count)]).to_vec();
        assert_eq!(sizes, [1, 2, 4, 8, 16, 24, 24]);
        let one = buckets.clone().only_the_largest();
        assert_eq!(one.sizes()[one.index_for(1)], 24);
    }

    #[test]
    fn half_of_the_largest_is_left_to_try_where_there_is_a_choice() {
        let half = |batch, largest| Buckets::new(&manifest(HeadFamily::V8, batch), largest).half();
        assert_eq!(half(None, 32), Some(16));
        assert_eq!(half(None, 3), Some(1));
        assert_eq!(half(None, 1), None);
        assert_eq!(half(Some(8), 32), None);
        assert_eq!(Buckets::new(&manifest(HeadFamily::V8, None), 32).only_the_largest().half(), None);
    }
}
