//! The folder of one job: the names of its files, and how each is put and read back.

use crate::attempt::{Attempt, Step};
use crate::detection_file::{self, Row, RowWriter, SegmentInfo};
use crate::error_code::ErrorCode;
use crate::identity::{JobId, Sha256};
use crate::outcome::{Outcome, PublishedFile};
use crate::packet_table::{self, PacketRow, PacketWriter};
use crate::plan::{Numbering, Plan, Segment};
use crate::request::{Request, UrlSource};
use crate::source_url::SourceUrl;
use crate::summary::Summary;
use crate::volume::{self, Put, Staged, Volume, VolumeError};
use parquet::errors::ParquetError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub const REQUEST: &str = "request.json";
/// The whole URL of a source that has one, with its credentials; nobody but the owner may read it.
pub const SOURCE_URL: &str = "source-url";
pub const PLAN: &str = "plan.json";
/// Counts instead of the plan, once it is there: pieces were seen not to give what the whole video gives.
pub const WHOLE_PLAN: &str = "plan-whole.json";
/// Counts instead of both, once it is there: packets were seen not to announce the frames that come out.
pub const COUNTED_PLAN: &str = "plan-counted.json";
pub const PACKETS: &str = "packets.parquet";
pub const TRACKS: &str = "tracks.parquet";
pub const SUMMARY: &str = "summary.json";
pub const ANNOTATED: &str = "annotated.mp4";
pub const OUTCOME: &str = "outcome.json";
const SEGMENTS: &str = "segments";
const ATTEMPTS: &str = "attempts";

#[derive(Debug, thiserror::Error)]
pub enum JobFolderError {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(
        "job {job_id} exists with another request ({path} differs in {difference}); choose another --job-id, or another --out"
    )]
    Conflict { job_id: JobId, path: PathBuf, difference: String },
    #[error("{path} is not what was published there ({reason}); restore it, or remove the job's folder to begin anew")]
    Damaged { path: PathBuf, reason: String },
    #[error("job {job_id} has not ended; cancel it first")]
    NotEnded { job_id: JobId },
}

impl JobFolderError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Volume(e) => e.code(),
            Self::Conflict { .. } => ErrorCode::JobConflict,
            Self::Damaged { .. } => ErrorCode::JobDamaged,
            Self::NotEnded { .. } => ErrorCode::BadRequest,
        }
    }
}

type Result<T> = std::result::Result<T, JobFolderError>;

/// `<results>/jobs/<job_id>/`
#[derive(Debug, Clone)]
pub struct JobFolder {
    volume: Volume,
    job_id: JobId,
    /// Relative to the volume.
    folder: PathBuf,
}

impl JobFolder {
    /// The folder of all of them, relative to the volume.
    pub const ALL: &str = "jobs";

    pub fn new(volume: &Volume, job_id: &JobId) -> Self {
        let folder = Path::new(Self::ALL).join(job_id.as_str());
        Self { volume: volume.clone(), job_id: job_id.clone(), folder }
    }

    /// Where it lies in the file system.
    pub fn path(&self) -> PathBuf {
        self.volume.root().join(&self.folder)
    }

    /// Where one of its files lies in the file system.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Takes the job on: the same id with the same request is the same job, with another one a conflict.
    pub fn accept(&self, request: &Request) -> Result<Put> {
        self.volume.sweep(&self.folder)?;
        let put = self.put_json(REQUEST, request)?;
        if put == Put::AlreadyThere {
            let accepted: Request = self.read_json(REQUEST)?;
            let is_same = Request { submitted: request.submitted.clone(), ..accepted.clone() } == *request;
            if !is_same {
                return Err(self.conflict(&accepted, request));
            }
        }
        Ok(put)
    }

    /// Keeps the whole URL of an accepted request's source, for every worker that takes up the job.
    pub fn put_source_url(&self, url: &SourceUrl) -> Result<Put> {
        Ok(self.volume.put_secret(&self.folder.join(SOURCE_URL), url.expose().as_bytes())?)
    }

    /// The whole URL of the request's source.
    pub fn source_url(&self, source: &UrlSource) -> Result<SourceUrl> {
        let path = self.path_of(SOURCE_URL);
        let damaged = |reason: &str| JobFolderError::Damaged { path: path.clone(), reason: reason.to_owned() };
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(damaged("it is missing: whoever submitted the job was cut off; submit it again"));
            }
            read => read.map_err(|e| volume::read_error(&path, e))?,
        };
        let url = SourceUrl::new(&text).map_err(|_| damaged("it holds no URL"))?;
        if url.sha256() == source.url_sha256 { Ok(url) } else { Err(damaged("it is not the URL of the request")) }
    }

    /// The plan, if the job has one.
    pub fn plan(&self) -> Result<Option<Plan>> {
        for name in [COUNTED_PLAN, WHOLE_PLAN, PLAN] {
            if let Some(plan) = self.plan_in(name)? {
                return Ok(Some(plan));
            }
        }
        Ok(None)
    }

    fn plan_in(&self, name: &str) -> Result<Option<Plan>> {
        let plan: Option<Plan> = self.read_json_if_there(name)?;
        match plan.as_ref().map(Plan::check) {
            Some(Err(reason)) => Err(JobFolderError::Damaged { path: self.path_of(name), reason }),
            _ => Ok(plan),
        }
    }

    /// Publishes the packet table, whose rows `fill` pushes in the order of the file. Before the plan, so that whoever
    /// sees a plan finds its table. If `fill` fails, nothing is published.
    pub fn put_packets<T, E: From<JobFolderError>>(
        &self,
        fill: impl FnOnce(&mut dyn FnMut(PacketRow) -> Result<()>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let path = self.path_of(PACKETS);
        let failed = |e| E::from(write_error(&path, e));
        let mut staged = self.stage(PACKETS)?;
        let mut writer = PacketWriter::new(&mut staged).map_err(failed)?;
        let filled = fill(&mut |row| writer.push(row).map_err(|e| write_error(&path, e)))?;
        writer.finish().map_err(failed)?;
        staged.publish().map_err(JobFolderError::from)?;
        Ok(filled)
    }

    /// Puts the plan, and gives the one that counts.
    pub fn put_plan(&self, plan: &Plan) -> Result<Plan> {
        self.put_json(PLAN, plan)?;
        Ok(self.plan()?.unwrap_or_else(|| plan.clone()))
    }

    /// Puts the plan that replaces a refuted one ([`Plan::next`]), and gives the one that counts.
    pub fn put_next_plan(&self, plan: &Plan) -> Result<Plan> {
        let name = match plan.numbering {
            Numbering::Packets => WHOLE_PLAN,
            Numbering::Output => COUNTED_PLAN,
        };
        self.put_json(name, plan)?;
        Ok(self.plan()?.unwrap_or_else(|| plan.clone()))
    }

    /// Whether the segments of the plan that begins with this one were sent to whoever works on them.
    pub fn is_announced(&self, first_segment: u32) -> Result<bool> {
        self.has(&announced_name(first_segment))
    }

    pub fn put_announced(&self, first_segment: u32) -> Result<()> {
        self.volume.put(&self.folder.join(announced_name(first_segment)), b"")?;
        Ok(())
    }

    /// The packets `[start, end)` of the plan's table.
    pub fn packets(&self, start: u64, end: u64) -> Result<impl Iterator<Item = Result<PacketRow>> + use<>> {
        let path = self.path_of(PACKETS);
        let rows = packet_table::read(&path, start, end).map_err(|e| read_error(&path, e))?;
        Ok(rows.map(move |row| row.map_err(|e| read_error(&path, e))))
    }

    /// What was accepted, if something was.
    pub fn request(&self) -> Result<Option<Request>> {
        self.read_json_if_there(REQUEST)
    }

    /// Whether a segment is published.
    pub fn has_segment(&self, index: u32) -> Result<bool> {
        self.has(&segment_name(index))
    }

    /// The segments of the plan that are not published yet, in order.
    pub fn missing_segments(&self, plan: &Plan) -> Result<Vec<Segment>> {
        let published = self.published_segments()?;
        Ok(plan.segments.iter().filter(|segment| !published.contains(&segment.index)).copied().collect())
    }

    /// The segments that are published, of any plan.
    pub fn published_segments(&self) -> Result<BTreeSet<u32>> {
        let folder = self.path_of(SEGMENTS);
        let names = match fs::read_dir(&folder) {
            Ok(names) => names,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(e) => return Err(volume::read_error(&folder, e).into()),
        };
        let index =
            |name: &str| name.strip_suffix(".parquet")?.parse().ok().filter(|index| segment_file(*index) == name);
        let mut published = BTreeSet::new();
        for name in names {
            let name = name.map_err(|e| volume::read_error(&folder, e))?.file_name();
            published.extend(name.to_str().and_then(index));
        }
        Ok(published)
    }

    /// Marks that a worker is about to work on a step of the job: [`Attempt`].
    pub fn begin_attempt(&self, step: Step, worker: &str) -> Result<Attempt> {
        self.volume.create_folder(&self.folder)?;
        Ok(Attempt::begin(&self.volume, &self.folder.join(ATTEMPTS).join(step.to_string()), worker)?)
    }

    /// Begins a segment's file.
    pub fn begin_segment(&self, class_names: &[String], index: u32) -> Result<StagedSegment> {
        let name = segment_name(index);
        let path = self.path_of(&name);
        let staged = self.stage(&name)?;
        let writer = RowWriter::segment(staged.handle()?, class_names).map_err(|e| write_error(&path, e))?;
        Ok(StagedSegment { staged, writer, path })
    }

    /// What a published segment says of itself.
    pub fn segment_info(&self, index: u32) -> Result<SegmentInfo> {
        let path = self.path_of(&segment_name(index));
        let info = detection_file::read_segment_info(&path).map_err(|e| read_error(&path, e))?;
        let reason = if info.index != index {
            format!("it is segment {}", info.index)
        } else if info.inferred > info.decoded {
            format!("{} frames inferred of {} decoded ones", info.inferred, info.decoded)
        } else {
            return Ok(info);
        };
        Err(JobFolderError::Damaged { path, reason })
    }

    /// The error for a segment whose content cannot be.
    pub fn damaged_segment(&self, index: u32, reason: &str) -> JobFolderError {
        JobFolderError::Damaged { path: self.path_of(&segment_name(index)), reason: reason.to_owned() }
    }

    /// The rows of a published segment, a batch at a time.
    pub fn segment_rows(&self, index: u32) -> Result<impl Iterator<Item = Result<Vec<Row>>> + use<>> {
        self.rows(&segment_name(index))
    }

    /// The rows of the published result, a batch at a time.
    pub fn track_rows(&self) -> Result<impl Iterator<Item = Result<Vec<Row>>> + use<>> {
        self.rows(TRACKS)
    }

    /// Whether a file of the folder is published.
    pub fn has(&self, name: &str) -> Result<bool> {
        Ok(self.volume.has(&self.folder.join(name))?)
    }

    /// Publishes the result, whose rows `fill` pushes. If `fill` fails, nothing is published.
    pub fn put_tracks<E: From<JobFolderError>>(
        &self,
        class_names: &[String],
        metadata: Vec<(String, String)>,
        fill: impl FnOnce(&mut dyn FnMut(Row) -> Result<()>) -> std::result::Result<(), E>,
    ) -> std::result::Result<Put, E> {
        let path = self.path_of(TRACKS);
        let failed = |e| E::from(write_error(&path, e));
        let mut staged = self.stage(TRACKS)?;
        let mut writer = RowWriter::tracks(&mut staged, class_names, metadata).map_err(failed)?;
        fill(&mut |row| writer.push(row).map_err(|e| write_error(&path, e)))?;
        writer.finish().map_err(failed)?;
        Ok(staged.publish().map_err(JobFolderError::from)?)
    }

    pub fn put_summary(&self, summary: &Summary) -> Result<Summary> {
        self.put_json(SUMMARY, summary)?;
        self.read_json(SUMMARY)
    }

    pub fn summary(&self) -> Result<Option<Summary>> {
        self.read_json_if_there(SUMMARY)
    }

    pub fn outcome(&self) -> Result<Option<Outcome>> {
        self.read_json_if_there(OUTCOME)
    }

    /// Fails if a file that the outcome lists is not there any more as it was published.
    pub fn verify(&self, outcome: &Outcome) -> Result<()> {
        for file in &outcome.files {
            let reason = match self.published(&file.path, file.rows) {
                Ok(found) if found == *file => continue,
                Ok(found) => {
                    format!("{} bytes with another sha256 than outcome.json has; it had {}", found.bytes, file.bytes)
                }
                Err(JobFolderError::Volume(VolumeError::Io { source, .. })) => source.to_string(),
                Err(e) => return Err(e),
            };
            return Err(JobFolderError::Damaged { path: self.path_of(&file.path), reason });
        }
        Ok(())
    }

    /// Ends the job and gives the outcome that counts: the first one.
    pub fn put_outcome(&self, outcome: &Outcome) -> Result<Outcome> {
        self.put_json(OUTCOME, outcome)?;
        self.read_json(OUTCOME)
    }

    /// Begins a file of this folder that will be published by put-if-absent.
    pub fn stage(&self, name: &str) -> Result<Staged> {
        Ok(self.volume.stage(&self.folder.join(name))?)
    }

    /// Reads a published file back and says what is in it.
    pub fn published(&self, name: &str, rows: Option<u64>) -> Result<PublishedFile> {
        let path = self.path_of(name);
        let read = || Ok::<_, io::Error>((fs::metadata(&path)?.len(), Sha256::of_file(&path)?));
        let (bytes, sha256) = read().map_err(|e| volume::read_error(&path, e))?;
        Ok(PublishedFile { path: name.to_owned(), bytes, sha256, rows })
    }

    fn rows(&self, name: &str) -> Result<impl Iterator<Item = Result<Vec<Row>>> + use<>> {
        let path = self.path_of(name);
        let batches = detection_file::read_rows(&path).map_err(|e| read_error(&path, e))?;
        Ok(batches.map(move |batch| batch.map_err(|e| read_error(&path, e))))
    }

    fn conflict(&self, accepted: &Request, request: &Request) -> JobFolderError {
        let fields = [
            ("source", accepted.source != request.source),
            ("model", accepted.model != request.model),
            ("settings", accepted.settings != request.settings),
            ("outputs", accepted.outputs != request.outputs),
        ];
        let differing: Vec<&str> = fields.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
        JobFolderError::Conflict {
            job_id: self.job_id.clone(),
            path: self.path_of(REQUEST),
            difference: if differing.is_empty() { "version".to_owned() } else { differing.join(" and ") },
        }
    }

    fn put_json(&self, name: &str, value: &impl Serialize) -> Result<Put> {
        let mut json = serde_json::to_vec_pretty(value).expect("our documents have string keys and finite numbers");
        json.push(b'\n');
        Ok(self.volume.put(&self.folder.join(name), &json)?)
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.path_of(name);
        let bytes = fs::read(&path).map_err(|e| volume::read_error(&path, e))?;
        serde_json::from_slice(&bytes).map_err(|e| JobFolderError::Damaged { path, reason: e.to_string() })
    }

    fn read_json_if_there<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        match self.read_json(name) {
            Err(JobFolderError::Volume(VolumeError::Io { source, .. })) if source.kind() == ErrorKind::NotFound => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }
}

/// A segment's file under its temporary name. Dropped without [`StagedSegment::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct StagedSegment {
    staged: Staged,
    writer: RowWriter<File>,
    path: PathBuf,
}

impl StagedSegment {
    /// Takes the next row, in presentation order.
    pub fn push(&mut self, row: Row) -> Result<()> {
        self.writer.push(row).map_err(|e| write_error(&self.path, e))
    }

    pub fn publish(self, info: &SegmentInfo) -> Result<Put> {
        self.writer.finish_segment(info).map_err(|e| write_error(&self.path, e))?;
        Ok(self.staged.publish()?)
    }
}

fn announced_name(first_segment: u32) -> String {
    format!("announced-{first_segment:05}")
}

fn segment_name(index: u32) -> String {
    format!("{SEGMENTS}/{}", segment_file(index))
}

fn segment_file(index: u32) -> String {
    format!("{index:05}.parquet")
}

/// An error of the Parquet writer is the volume's where there is an I/O error below it.
fn write_error(path: &Path, error: ParquetError) -> JobFolderError {
    let io = io_error_of(error).unwrap_or_else(|other| io::Error::other(other.to_string()));
    volume::write_error(path, io).into()
}

/// So is an error of the reader. Without one, or where the file is gone or ends early, it is not what was published.
fn read_error(path: &Path, error: ParquetError) -> JobFolderError {
    match io_error_of(error) {
        Ok(io) if !matches!(io.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
            volume::read_error(path, io).into()
        }
        Ok(io) => JobFolderError::Damaged { path: path.to_owned(), reason: io.to_string() },
        Err(other) => JobFolderError::Damaged { path: path.to_owned(), reason: other.to_string() },
    }
}

fn io_error_of(error: ParquetError) -> std::result::Result<io::Error, ParquetError> {
    match error {
        ParquetError::External(inner) => inner.downcast().map(|io| *io).map_err(ParquetError::External),
        other => Err(other),
    }
}
