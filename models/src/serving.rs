use crate::{
    Detector, Model, ModelError, Runtime, Thresholds, check::Checked, device::BatchSession, device::Device,
    known_picture::KnownPicture,
};
use framefleet_native::picture::Picture;
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A model that serves, with the sessions that nobody uses right now.
///
/// Whoever holds it can go on with it after another version has taken its place. Its memory is free again when the last
/// [`Lease`] and the last `Arc` of it are gone.
#[derive(Debug)]
pub struct Serving {
    checked: Checked,
    version: Option<String>,
    runtime: Runtime,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    detectors: Vec<Detector>,
    /// One at most is ever needed: a device has one thread.
    on_device: Option<Box<dyn BatchSession>>,
    retired: bool,
}

impl Serving {
    pub fn new(runtime: &Runtime, checked: Checked, version: Option<String>) -> Self {
        Self { checked, version, runtime: runtime.clone(), idle: Mutex::default() }
    }

    /// The model, and what was seen when it was tried out.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// As the model's folder is called; `None` for a file without versions.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Makes sessions until `count` are idle, and lets each see a picture, so that work which comes next waits for
    /// nothing. Without a picture of the work it is one of the manifest's size. On a device there is one session, whatever
    /// the count, and the device sees to it that it is warm.
    pub fn warm(&self, count: usize, picture: Option<&Picture<'_>>) -> Result<(), ModelError> {
        if let Some(device) = self.runtime.device() {
            if count > 0 && self.idle().on_device.is_none() {
                self.give_back(self.load(device, device.largest_batch())?);
            }
            return Ok(());
        }
        if self.idle().detectors.len() >= count {
            return Ok(());
        }
        let Model { manifest, .. } = &self.checked.model;
        let thresholds = Thresholds::from(&manifest.defaults);
        let known = picture.is_none().then(|| KnownPicture::new(manifest.warm_up));
        let known = known.as_ref().map(KnownPicture::picture);
        while self.idle().detectors.len() < count {
            let mut detector = self.detector()?;
            if let Some(picture) = picture.or(known.as_ref()) {
                detector.detect(picture, &thresholds)?;
            }
            self.idle().detectors.push(detector);
        }
        Ok(())
    }

    /// Gives an idle session, or makes one.
    pub fn lease(self: &Arc<Self>) -> Result<Lease, ModelError> {
        let idle = self.idle().detectors.pop();
        let detector = idle.map_or_else(|| self.detector(), Ok)?;
        Ok(Lease { detector: Some(detector), serving: Arc::clone(self) })
    }

    /// Gives the idle session on the device, or makes one for batches of up to `largest` pictures.
    pub fn on_device(&self, device: &Arc<dyn Device>, largest: usize) -> Result<Box<dyn BatchSession>, ModelError> {
        let idle = self.idle().on_device.take();
        let idle = idle.filter(|session| {
            let buckets = session.buckets();
            buckets.largest() <= largest || buckets.half().is_none()
        });
        idle.map_or_else(|| self.load(device, largest), Ok)
    }

    /// Keeps a session on the device for who comes next, as long as the model serves.
    pub fn give_back(&self, session: Box<dyn BatchSession>) {
        let mut idle = self.idle();
        if !idle.retired {
            idle.on_device = Some(session);
        }
    }

    fn load(&self, device: &Arc<dyn Device>, largest: usize) -> Result<Box<dyn BatchSession>, ModelError> {
        device.load(&self.runtime, &self.checked.model, largest)
    }

    /// A session that is none of the pool's: taking one of those would leave running work without.
    ///
    /// # Errors
    /// None that condemns the model: it has loaded when it was tried out, so what fails now is this process's memory.
    pub(crate) fn detector(&self) -> Result<Detector, ModelError> {
        Detector::new(&self.runtime, &self.checked.model).map_err(|error| match error {
            ModelError::Invalid { model, problem } => ModelError::InferenceFailed { model, problem },
            other => other,
        })
    }

    /// Frees the idle sessions; those that are leased are freed when they come back.
    pub fn retire(&self) {
        let mut idle = self.idle();
        idle.retired = true;
        let sessions = (std::mem::take(&mut idle.detectors), idle.on_device.take());
        drop(idle);
        drop(sessions);
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session of a [`Serving`] that one thread has for itself. It goes back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    detector: Option<Detector>,
    serving: Arc<Serving>,
}

impl Lease {
    /// Frees the session, instead of giving it back for others to use.
    pub fn discard(mut self) {
        self.detector = None;
    }

    /// What it is a session of.
    pub fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }
}

impl Deref for Lease {
    type Target = Detector;

    fn deref(&self) -> &Detector {
        self.detector.as_ref().expect("it is taken only when the lease is dropped")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Detector {
        self.detector.as_mut().expect("it is taken only when the lease is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut idle = self.serving.idle();
        if !idle.retired {
            idle.detectors.extend(self.detector.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use std::sync::Weak;

    fn serving() -> Arc<Serving> {
        let runtime = Runtime::load().expect("./dev setup installs ONNX Runtime");
        Arc::new(Serving::new(&runtime, fixtures::checked("v8.onnx"), None))
    }

    fn idle(serving: &Serving) -> usize {
        serving.idle().detectors.len()
    }

    #[test]
    fn a_lease_comes_back_while_its_model_serves() {
        let serving = serving();
        serving.warm(2, None).unwrap();
        let lease = serving.lease().unwrap();
        assert_eq!(idle(&serving), 1);
        drop(lease);
        assert_eq!(idle(&serving), 2);
        let leases: Vec<_> = (0..3).map(|_| serving.lease().unwrap()).collect();
        drop(leases);
        assert_eq!(idle(&serving), 3);
    }

    #[test]
    fn a_retired_model_keeps_no_session_and_still_works_for_who_has_it() {
        let serving = serving();
        serving.warm(2, None).unwrap();
        let lease = serving.lease().unwrap();
        serving.retire();
        assert_eq!(idle(&serving), 0);
        drop(lease);
        assert_eq!(idle(&serving), 0);
        assert!(serving.lease().is_ok());
    }

    #[test]
    fn a_session_that_is_discarded_is_not_given_out_again() {
        let serving = serving();
        serving.warm(1, None).unwrap();
        serving.lease().unwrap().discard();
        assert_eq!(idle(&serving), 0);
        assert!(serving.lease().is_ok());
    }

    #[test]
    fn nothing_is_left_of_two_hundred_models() {
        let mut current = serving();
        let mut gone: Vec<Weak<Serving>> = Vec::new();
        let mut lease = current.lease().unwrap();
        for _ in 0..200 {
            let next = serving();
            next.warm(1, None).unwrap();
            let old = std::mem::replace(&mut current, next);
            old.retire();
            gone.push(Arc::downgrade(&old));
            drop(old);
            assert!(gone[gone.len() - 1].upgrade().is_some(), "a lease keeps its model");
            lease = current.lease().unwrap();
        }
        assert!(gone.iter().all(|old| old.upgrade().is_none()));
        drop(lease);
        assert_eq!(Arc::strong_count(&current), 1);
    }
}
