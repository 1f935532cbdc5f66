//! Going to a place in a file, and what the container's index knows of keyframes.

use super::MediaError;
use super::demux::Demuxer;
use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;
use framefleet_contract::packet_table::PacketRow;

impl Demuxer {
    /// Goes to a keyframe of the table, or to somewhere before it. A hint only: what is read next tells where it is.
    ///
    /// By byte position in transport and program streams, which have no index and are searched by timestamps wrongly
    /// where those of decoding and of presentation differ; by decoding time elsewhere.
    pub fn seek_to(&mut self, keyframe: &PacketRow) -> Result<(), MediaError> {
        let by_position = matches!(self.input.format().name(), "mpegts" | "mpeg");
        let (target, flags) = match keyframe.position {
            Some(position) if by_position => (Some(position), ffi::AVSEEK_FLAG_BYTE),
            _ => (keyframe.dts.or(keyframe.pts), ffi::AVSEEK_FLAG_BACKWARD),
        };
        let Some(target) = target else { return Err(self.unreadable(ffmpeg::Error::InvalidData)) };
        let _working = self.watch.pulse.working();
        // SAFETY: the context is open and the stream index is one of its own.
        let result = unsafe { ffi::av_seek_frame(self.input.as_mut_ptr(), self.stream as i32, target, flags) };
        if result < 0 {
            return Err(self.unreadable(ffmpeg::Error::from(result)));
        }
        Ok(())
    }

    /// Whether the container's index has a keyframe with this timestamp; `None` if it has no index. Complete only when
    /// all packets were read.
    pub fn index_has_keyframe(&self, timestamp: i64) -> Option<bool> {
        // SAFETY: the context and its stream are open; the entry is valid until the next read, and is copied at once.
        unsafe {
            let stream = *(*self.input_ptr()).streams.add(self.stream);
            if ffi::avformat_index_get_entries_count(stream) == 0 {
                return None;
            }
            let entry = ffi::avformat_index_get_entry_from_timestamp(stream, timestamp, ffi::AVSEEK_FLAG_BACKWARD);
            Some(
                entry
                    .as_ref()
                    .is_some_and(|entry| entry.timestamp == timestamp && entry.flags() & ffi::AVINDEX_KEYFRAME != 0),
            )
        }
    }
}
