#!/usr/bin/env python3
"""Makes the hostile files that tests/tests/hostile.rs runs the program on, and corpus.json, which says what each must
come to. Needs Python 3 and the `ffmpeg` program; the same versions make the same bytes.

Usage: make.py FOLDER

Every file starts as a clip by FFmpeg. What FFmpeg would not write is patched in afterwards, at the place that the
format's specification gives it (ISO/IEC 14496-12 for MP4, RFC 9559 for Matroska, the AVI and IVF headers).
"""

import json
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

X264 = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p"
MANIFEST = []


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    clips = Clips(folder)
    for part in (sizes, claims, times, streams, damage, working):
        part(clips)
    (folder / "corpus.json").write_text(json.dumps(MANIFEST, indent=1))


def expect(path, what, comes_to, frames=None, arguments=()):
    """`comes_to` is an error code or "works". `arguments` are added to the call."""
    entry = {"file": path.name, "what": what, "comes_to": comes_to, "arguments": list(arguments)}
    if frames is not None:
        entry["frames"] = frames
    MANIFEST.append(entry)


class Clips:
    """Makes clips; those that are only material for others lie one folder below."""

    def __init__(self, folder):
        self.folder = folder
        self.material = folder / "material"
        self.material.mkdir(exist_ok=True)

    def make(self, name, size, frames, options, material=True):
        """A moving test picture at 25 frames/s."""
        source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25"]
        return self.run(name, source, f"-frames:v {frames} {options}", material)

    def black(self, name, size, frames, options):
        """Large pictures that take little time to encode and little space."""
        return self.run(name, ["-f", "lavfi", "-i", f"color=black:size={size}:rate=25"], f"-frames:v {frames} {options}", True)

    def run(self, name, inputs, options, material=False):
        path = (self.material if material else self.folder) / name
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *inputs, "-threads", "1", "-fflags", "+bitexact"]
        command += ["-flags", "+bitexact", *options.split(), str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return path

    def write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def joined(self, name, parts):
        """Streams without a container, one behind the other, in one container."""
        kind = parts[0].suffix[1:]
        raw = self.material / f"{name}.{kind}"
        raw.write_bytes(b"".join(part.read_bytes() for part in parts))
        return self.run(name, ["-f", kind, "-i", str(raw)], "-c copy")


# --- sizes -----------------------------------------------------------------------------------------------------------


def sizes(clips):
    small = clips.make("small.mp4", "160x96", 10, X264).read_bytes()
    huge = overwritten(small, b"stsd", 44, struct.pack(">HH", 65535, 65535))
    expect(clips.write("header-65535.mp4", huge), "an MP4 sample entry of 65535x65535", "PIXELS_LIMIT")

    vp8 = clips.make("small.ivf", "160x96", 10, "-c:v libvpx -deadline realtime -cpu-used 8").read_bytes()
    huge = bytearray(vp8)
    huge[12:16] = struct.pack("<HH", 65535, 65535)
    expect(clips.write("header-65535.ivf", huge), "an IVF header of 65535x65535", "PIXELS_LIMIT")
    huge = bytearray(vp8)
    # Behind the file's and the frame's header: three bytes of frame tag, a start code, then 14 bits each.
    assert huge[47:50] == b"\x9d\x01\x2a"
    huge[50:54] = struct.pack("<HH", 0x3FFF, 0x3FFF)
    expect(clips.write("picture-16383.ivf", huge), "a VP8 keyframe of 16383x16383", "INPUT_CORRUPT")

    mjpeg = clips.make("small.avi", "160x96", 10, "-c:v mjpeg -pix_fmt yuvj420p").read_bytes()
    nothing = bytearray(mjpeg)
    format_at = nothing.index(b"strf") + 8
    nothing[format_at + 4:format_at + 12] = struct.pack("<ii", 0, 0)
    for at in places(bytes(nothing), b"\xff\xc0\x00\x11\x08"):
        nothing[at + 5:at + 9] = bytes(4)
    expect(clips.write("zero-by-zero.avi", nothing), "pictures of 0x0", "DIMENSIONS_INVALID")

    wide = clips.black("wide.mp4", "2048x2048", 2, f"{X264} -vf setsar=16")
    expect(clips.write("stretched.mp4", wide.read_bytes()), "pixels that stretch 2048 columns to 32768", "PIXELS_LIMIT")

    first = clips.make("first.h264", "160x96", 50, X264)
    large = clips.black("large.h264", "7680x4320", 2, X264)
    for name in ("switch-to-8k.ts", "switch-to-8k.mp4", "switch-to-8k.mkv"):
        expect(clips.joined(name, [first, large]), "H.264 that switches to 8K after two seconds", "PIXELS_LIMIT")
    once = clips.joined("8k.ts", [large])
    expect(once, "8K from the first picture on", "PIXELS_LIMIT")
    expect(once, "8K, where that is allowed", "works", 2, ["--max-pixels", "33177600"])
    for codec, container, options in (
        ("hevc", "ts", "-c:v libx265 -preset ultrafast -x265-params log-level=error:pools=none:frame-threads=1:bframes=0 -pix_fmt yuv420p"),
        ("mjpeg", "mkv", "-c:v mjpeg -pix_fmt yuvj420p"),
    ):
        first = clips.make(f"first.{codec}", "160x96", 20, options)
        large = clips.black(f"large.{codec}", "7680x4320", 1, options)
        joined = clips.joined(f"switch-to-8k-{codec}.{container}", [first, large])
        expect(joined, f"{codec} that switches to 8K", "PIXELS_LIMIT")
    for codec, options in {
        "vp9": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p",
        "av1": "-c:v libaom-av1 -usage realtime -cpu-used 8 -pix_fmt yuv420p",
    }.items():
        first = clips.make(f"first-{codec}.ivf", "160x96", 20, options)
        large = clips.black(f"large-{codec}.ivf", "7680x4320", 1, options)
        joined = clips.write(f"switch-to-8k-{codec}.ivf", ivf_joined(first.read_bytes(), large.read_bytes()))
        expect(joined, f"{codec} that switches to 8K", "PIXELS_LIMIT")


def ivf_joined(first, second):
    """The frames of both, timestamps going on."""
    frames = list(ivf_frames(first))
    joined = bytearray(first[:32])
    for number, frame in enumerate(frames + list(ivf_frames(second))):
        joined += struct.pack("<IQ", len(frame), number) + frame
    return joined


def ivf_frames(data):
    at = 32
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + 12:at + 12 + size]
        at += 12 + size


# --- claims ----------------------------------------------------------------------------------------------------------


def claims(clips):
    most = 0xFFFFFFFF
    small = clips.make("claims.mp4", "160x96", 10, X264).read_bytes()
    at = small.index(b"stsz")
    # Every sample has one byte, and all are in one chunk: FFmpeg would list them.
    many = bytearray(overwritten(small, b"stsz", 8, struct.pack(">II", 1, most)))
    many = bytearray(overwritten(bytes(many), b"stsc", 16, struct.pack(">I", most)))
    many = overwritten(bytes(many), b"stts", 12, struct.pack(">I", most))
    assert at > 0
    expect(clips.write("claims-4294967295-frames.mp4", many), "a table of 2^32 - 1 samples of one byte", "DURATION_LIMIT")
    several = overwritten(small, b"stsz", 8, struct.pack(">II", 1, 30_000_000))
    expect(clips.write("claims-30000000-frames.mp4", several), "a table of more samples than the file has bytes", "DURATION_LIMIT")
    # As many as one index of FFmpeg's cannot have, in a file that would be long enough for them.
    long_enough = overwritten(small, b"stsz", 8, struct.pack(">II", 1, 25_000_000)) + boxed(b"free", bytes(13_000_000))
    expect(clips.write("claims-25000000-frames.mp4", long_enough), "a table of more samples than memory is given for", "DURATION_LIMIT")

    # Ways around whoever counts what an index claims before FFmpeg reads it.
    index = bytes(many[many.index(b"moov") - 4:])
    before = bytes(many[:many.index(b"moov") - 4])
    behind = before + boxed(b"free", b"") * 20_000 + index
    expect(clips.write("claims-behind-20000-boxes.mp4", behind), "a table behind many empty boxes", "DURATION_LIMIT")
    behind = before + boxed(b"free", b"") * (1 << 20) + index
    expect(clips.write("claims-behind-a-million-boxes.mp4", behind), "a table behind more boxes than are walked", "INPUT_CORRUPT")
    packed = boxed(b"dcom", b"zlib") + boxed(b"cmvd", struct.pack(">I", len(index)) + zlib.compress(index))
    packed = before + boxed(b"moov", boxed(b"cmov", packed))
    expect(clips.write("claims-compressed.mp4", packed), "a table in a compressed index", "FORMAT_DENIED")
    table = boxed(b"stsz", struct.pack(">III", 0, 1, most))
    for place in (b"edts", b"udta", b"tref"):
        hidden = inserted(small, [b"moov", b"trak"], boxed(place, table))
        name = f"claims-in-{place.decode()}.mp4"
        expect(clips.write(name, hidden), "a table where none belongs, but FFmpeg looks", "DURATION_LIMIT")

    options = f"{X264} -movflags frag_keyframe+empty_moov+default_base_moof"
    fragments = clips.make("fragments.mp4", "160x96", 10, options).read_bytes()
    # No field per sample follows: each is of the default size and length.
    run = fragments.index(b"trun")
    empty = bytearray(fragments)
    empty[run + 4:run + 12] = struct.pack(">II", 0, most)
    expect(clips.write("fragment-of-4294967295-frames.mp4", empty), "a fragment of 2^32 - 1 samples", "DURATION_LIMIT")

    small = clips.make("weeks.mp4", "160x96", 10, f"{X264} -use_editlist 0").read_bytes()
    slow = overwritten(small, b"stts", 16, struct.pack(">I", 0x7FFFFFFF))
    expect(clips.write("claims-weeks.mp4", slow), "ten frames that are shown for weeks", "DURATION_LIMIT")

    matroska = clips.make("claims.mkv", "160x96", 10, X264).read_bytes()
    # Duration, a float of eight bytes, in milliseconds: 10^12 frames at 25 a second.
    at = matroska.index(b"\x44\x89\x88")
    long = matroska[:at + 3] + struct.pack(">d", 4e13) + matroska[at + 11:]
    expect(clips.write("claims-10-12-frames.mkv", long), "a header that claims 10^12 frames", "DURATION_LIMIT")

    avi = bytearray(clips.make("claims.avi", "160x96", 10, "-c:v mpeg4 -pix_fmt yuv420p").read_bytes())
    header = avi.index(b"strh") + 8
    avi[header + 32:header + 36] = struct.pack("<I", most)
    expect(clips.write("claims-4294967295-frames.avi", avi), "a header that claims 2^32 - 1 frames", "DURATION_LIMIT")

    plain = clips.make("plain.mp4", "160x96", 50, X264, material=False)
    expect(plain, "two seconds, where one is allowed", "DURATION_LIMIT", arguments=["--max-duration", "1"])
    expect(plain, "more bytes than are allowed", "BYTES_LIMIT", arguments=["--max-bytes", "1000"])
    size = str(plain.stat().st_size)
    expect(plain, "just as many bytes as are allowed", "works", 50, ["--max-bytes", size, "--max-probe-bytes", "4096"])
    expect(plain, "as many seconds as are allowed", "works", 50, ["--max-duration", "2"])
    raw = clips.make("plain.ts", "160x96", 50, X264, material=False)
    expect(raw, "two seconds of packets, where one is allowed", "DURATION_LIMIT", arguments=["--max-duration", "1"])


# --- times -----------------------------------------------------------------------------------------------------------


def times(clips):
    small = clips.make("times.mp4", "160x96", 10, X264).read_bytes()
    expect(
        clips.write("time-scale-0.mp4", overwritten(small, b"mdhd", 16, bytes(4))),
        "a track whose second has 0 ticks", "TIMESTAMPS_INVALID")
    fast = overwritten(small, b"mdhd", 16, struct.pack(">I", 0x7FFFFFFF))
    fast = overwritten(fast, b"stts", 16, struct.pack(">I", 1))
    expect(clips.write("2147483647-frames-a-second.mp4", fast), "an absurd rate", "TIMESTAMPS_INVALID")

    ivf = bytearray(clips.make("times.ivf", "160x96", 10, "-c:v libvpx -deadline realtime -cpu-used 8").read_bytes())
    ivf[16:24] = struct.pack("<II", 0, 0)
    expect(clips.write("time-base-0.ivf", ivf), "a time base of 0/0", "TIMESTAMPS_INVALID")
    ivf[16:24] = struct.pack("<II", 25, 1)
    for frame, at in enumerate(list(ivf_places(ivf))):
        ivf[at + 4:at + 12] = struct.pack("<Q", frame << 59)
    expect(clips.write("timestamps-of-all-time.ivf", ivf), "timestamps from one end of 64 bits to the other", "TIMESTAMPS_INVALID")

    rate = clips.make("rate.y4m", "160x96", 10, "-pix_fmt yuv420p").read_bytes()
    expect(
        clips.write("1000000-frames-a-second.y4m", rate.replace(b" F25:1 ", b" F1000000:1 ", 1)),
        "a million frames a second", "TIMESTAMPS_INVALID")

    # A DefaultDuration of one nanosecond, and timestamps of 25 frames a second.
    matroska = clips.make("rate.mkv", "160x96", 25, X264).read_bytes()
    at = matroska.index(b"\x23\xe3\x83\x84")
    absurd = matroska[:at + 4] + struct.pack(">I", 1) + matroska[at + 8:]
    expect(clips.write("absurd-rate-good-timestamps.mkv", absurd), "an absurd rate beside timestamps that are right", "works", 25)

    ivf = bytearray(clips.make("early.ivf", "160x96", 25, "-c:v libvpx -deadline realtime -cpu-used 8").read_bytes())
    for frame, at in enumerate(list(ivf_places(ivf))):
        ivf[at + 4:at + 12] = struct.pack("<q", frame - 1000)
    expect(clips.write("negative-timestamps.ivf", ivf), "timestamps before zero", "works", 25)
    shifted = clips.make(
        "negative-offsets.mp4", "160x96", 25, f"{X264} -bf 2 -movflags negative_cts_offsets", material=False)
    expect(shifted, "composition offsets before zero", "works", 25)
    expect(clips.make("no-timestamps.h264", "160x96", 25, X264, material=False), "H.264 without a container", "works", 25)
    expect(clips.make("no-timestamps.m4v", "160x96", 25, "-c:v mpeg4 -f m4v -bf 2 -pix_fmt yuv420p", material=False),
           "MPEG-4 without a container", "works", 25)
    zero = bytearray(clips.make("zero.ivf", "160x96", 25, "-c:v libvpx -deadline realtime -cpu-used 8").read_bytes())
    for at in list(ivf_places(zero)):
        zero[at + 4:at + 12] = bytes(8)
    expect(clips.write("timestamps-all-zero.ivf", zero), "frames that all have the time zero", "works", 25)


def ivf_places(data):
    at = 32
    while at < len(data):
        yield at
        at += 12 + struct.unpack_from("<I", data, at)[0]


# --- streams ---------------------------------------------------------------------------------------------------------


def streams(clips):
    one = clips.make("one-stream.mp4", "64x64", 5, X264)
    for name in ("thousand-streams.mkv", "thousand-streams.mp4"):
        many = clips.run(name, ["-i", str(one)], "-map 0:v " * 1000 + "-c copy")
        expect(many, "a thousand streams", "STREAMS_LIMIT")
    large = clips.black("large-stream.mp4", "3840x2160", 2, X264)
    for name in ("hundred-4k-streams.mkv", "hundred-4k-streams.mp4"):
        many = clips.run(name, ["-i", str(large)], "-map 0:v " * 100 + "-c copy")
        expect(many, "a hundred streams of 4K, of which one is to be looked at", "works", 2)
    few = clips.run("three-streams.mkv", ["-i", str(one)], "-map 0:v " * 3 + "-c copy")
    expect(few, "three streams, where two are allowed", "STREAMS_LIMIT", arguments=["--max-streams", "2"])
    expect(few, "as many streams as are allowed", "works", 5, ["--max-streams", "3"])


# --- damage ----------------------------------------------------------------------------------------------------------


def damage(clips):
    for container in ("mp4", "mkv", "ts", "avi"):
        whole = bytearray(clips.make(f"whole.{container}", "160x96", 150, f"{X264} -bf 0").read_bytes())
        noise = random.Random(container)
        # The headers stay, or it would be no video any more; nine of ten blocks behind them are noise.
        begin, block = 4096 if container != "mp4" else whole.index(b"mdat") + 4, 64
        end = whole.rindex(b"moov") - 4 if container == "mp4" else len(whole)
        for at in range(begin, end - block, block):
            if noise.random() < 0.9:
                whole[at:at + block] = noise.randbytes(block)
        path = clips.write(f"damaged-90-percent.{container}", whole)
        expect(path, "nine of ten bytes are noise", "INPUT_CORRUPT")


    # The size in the header of one picture in the middle.
    mjpeg = clips.make("sof.avi", "160x96", 25, "-c:v mjpeg -pix_fmt yuvj420p").read_bytes()
    at = list(places(mjpeg, b"\xff\xc0\x00\x11\x08"))[12] + 5
    impossible = mjpeg[:at] + struct.pack(">HH", 65535, 65535) + mjpeg[at + 4:]
    expect(clips.write("one-header-65535.avi", impossible), "one JPEG of 25 that claims 65535x65535", "works", 24)


# --- what must work --------------------------------------------------------------------------------------------------


def working(clips):
    expect(clips.make("one-pixel.mkv", "2x2", 5, "-vf scale=1:1 -c:v mjpeg -pix_fmt yuvj444p", material=False),
           "pictures of one pixel", "works", 5)
    expect(clips.make("odd.mp4", "161x91", 5, "-c:v libx264 -preset ultrafast -pix_fmt yuv444p", material=False),
           "an odd width and height", "works", 5)
    phone = clips.make("phone.mp4", "160x96", 25, X264).read_bytes()
    turned = overwritten(phone, b"tkhd", 44, struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30))
    expect(clips.write("rotated.mp4", turned), "a phone held upright", "works", 25)

    first = clips.make("grow-1.h264", "160x96", 25, X264)
    second = clips.make("grow-2.h264", "320x192", 25, X264)
    for name in ("changes-size.ts", "changes-size.mp4", "changes-size.mkv"):
        expect(clips.joined(name, [first, second]), "H.264 that becomes larger", "works", 50)
    expect(clips.joined("back-and-forth.ts", [second, first, second]), "H.264 that becomes smaller and larger", "works", 75)
    first = clips.make("grow-1.ivf", "160x96", 20, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p")
    second = clips.make("grow-2.ivf", "320x192", 20, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p")
    expect(clips.write("changes-size.ivf", ivf_joined(first.read_bytes(), second.read_bytes())),
           "VP9 that becomes larger", "works", 40)


# --- bytes -----------------------------------------------------------------------------------------------------------


def places(data, what):
    at = data.find(what)
    while at >= 0:
        yield at
        at = data.find(what, at + 1)


def boxed(kind, content):
    return struct.pack(">I", 8 + len(content)) + kind + content


def inserted(data, boxes, new):
    """A copy with `new` at the end of the last of `boxes`, each the first of its kind, which all become longer. The index
    has to be behind the pictures."""
    data, at = bytearray(data), data.index(boxes[-1]) - 4
    end = at + struct.unpack_from(">I", data, at)[0]
    for at in (data.index(box) - 4 for box in boxes):
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(new))
    return bytes(data[:end] + new + data[end:])


def overwritten(data, box, offset, replacement):
    """A copy with bytes replaced, `offset` bytes behind the beginning of the first such box's name."""
    at = data.index(box) + offset
    return data[:at] + replacement + data[at + len(replacement):]


if __name__ == "__main__":
    main()
