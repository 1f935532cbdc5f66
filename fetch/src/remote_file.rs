//! A remote file that is read at any place: in blocks, of which the last ones are kept, and further ones are read ahead.

use crate::client::Fetcher;
use crate::error::FetchError;
use crate::remote::Remote;
use framefleet_contract::identity::Sha256;
use framefleet_contract::request::{END_BYTES, UrlSource, Version};
use framefleet_contract::source_url::SourceUrl;
use std::collections::VecDeque;
use std::time::Duration;

/// At a tenth of a second for each request, blocks of this size give 10 MiB/s to whoever jumps, and more to whoever reads on.
const BLOCK_BYTES: u64 = 1 << 20;
/// Asked for at once where a file is read on.
const BLOCKS_AHEAD: u64 = 4;
/// Demuxers go back and forth between an index, pictures and sound: some places at a time. 16 MiB in all.
const MOST_BLOCKS: usize = 16;

#[derive(Debug)]
pub struct RemoteFile {
    remote: Remote,
    version: Version,
    blocks: VecDeque<Block>,
}

#[derive(Debug)]
struct Block {
    index: u64,
    bytes: Vec<u8>,
}

impl Fetcher {
    /// Identifies what is at the URL now. Each of its two requests may take `time`.
    ///
    /// # Errors
    /// Among others, a file of more than `most_bytes`.
    pub fn identify(&self, url: &SourceUrl, most_bytes: u64, time: Duration) -> Result<UrlSource, FetchError> {
        let mut remote = Remote::new(self, url);
        let first = remote.get(&(0..END_BYTES), None, time)?;
        let (version, mut ends) = (first.version, first.bytes);
        let size = version.size;
        if size > most_bytes {
            let reason = format!("it has {size} bytes, and {most_bytes} are allowed; --max-bytes raises that");
            return Err(FetchError::BytesLimit { url: url.to_string(), reason });
        }
        if size > END_BYTES {
            let last = size - END_BYTES.min(size - END_BYTES)..size;
            ends.extend(remote.get(&last, Some(&version), time)?.bytes);
        }
        Ok(UrlSource::new(url, version, Sha256::of(&ends)))
    }

    /// Fails if there is another version at the URL now, which the server is asked for with one byte.
    pub fn check_unchanged(&self, url: &SourceUrl, version: &Version, time: Duration) -> Result<(), FetchError> {
        Remote::new(self, url).get(&(0..1), Some(version), time).map(|_| ())
    }

    /// The file of this version. Nothing is asked for before it is read.
    pub fn open(&self, url: &SourceUrl, version: &Version) -> RemoteFile {
        RemoteFile { remote: Remote::new(self, url), version: version.clone(), blocks: VecDeque::new() }
    }
}

impl RemoteFile {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.version.size
    }

    /// Reads some bytes at a position, at least one where there are any, within `time`.
    pub fn read_at(&mut self, buffer: &mut [u8], position: u64, time: Duration) -> Result<usize, FetchError> {
        if position >= self.version.size || buffer.is_empty() {
            return Ok(0);
        }
        let index = position / BLOCK_BYTES;
        if !self.has(index) {
            self.load(index, time)?;
        }
        let bytes = self.touch(index);
        let bytes = bytes.get((position % BLOCK_BYTES) as usize..).unwrap_or_default();
        let read = bytes.len().min(buffer.len());
        buffer[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }

    /// Fails if there is another version now.
    pub fn check_unchanged(&mut self, time: Duration) -> Result<(), FetchError> {
        self.remote.get(&(0..1), Some(&self.version), time).map(|_| ())
    }

    fn has(&self, index: u64) -> bool {
        self.blocks.iter().any(|block| block.index == index)
    }

    /// With those that follow, if the one before it was read.
    fn load(&mut self, index: u64, time: Duration) -> Result<(), FetchError> {
        let reads_on = index > 0 && self.has(index - 1);
        let most = if reads_on { BLOCKS_AHEAD } else { 1 };
        let count = (1..most).take_while(|ahead| !self.has(index + ahead)).count() as u64 + 1;
        let start = index * BLOCK_BYTES;
        let end = start.saturating_add(count * BLOCK_BYTES).min(self.version.size);
        let part = self.remote.get(&(start..end), Some(&self.version), time)?;
        for (i, bytes) in part.bytes.chunks(BLOCK_BYTES as usize).enumerate() {
            self.blocks.push_back(Block { index: index + i as u64, bytes: bytes.to_vec() });
        }
        self.blocks.drain(..self.blocks.len().saturating_sub(MOST_BLOCKS));
        Ok(())
    }

    /// The bytes of a block that is there, which is kept longest from now on.
    fn touch(&mut self, index: u64) -> &[u8] {
        if let Some(place) = self.blocks.iter().position(|block| block.index == index)
            && let Some(block) = self.blocks.remove(place)
        {
            self.blocks.push_back(block);
        }
        self.blocks.back().map_or(&[], |block| &block.bytes)
    }
}
