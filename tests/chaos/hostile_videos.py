"""Videos as strangers may send them, each with what must become of it."""

import io
import struct
import tempfile
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from hostile import HEIGHT, NO_FRAME, UNREADABLE, WIDTH, Case, Faces, draw, encode, patched

COUNT = 12
LOSSY = 14.0
FRAMES = [draw(number) for number in range(COUNT)]


def faces(*numbers: int, of: Sequence[np.ndarray] = FRAMES, within: float = LOSSY) -> Faces:
    """Expect these frames, which are numbered as they decode."""
    return Faces({number: of[number] for number in numbers}, within)


USUAL = faces(6, 11)
"""What FLIP2 takes of all twelve."""


def clip(
    container: str,
    frames: Iterable[np.ndarray] = FRAMES,
    *,
    codec: str = "libx264",
    times: Sequence[int] | None = None,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    **coding: Any,
) -> bytes:
    """Encode a video; times are in 25ths of a second."""
    with tempfile.NamedTemporaryFile() as file:  # an index is moved to the front in files alone
        with av.open(file.name, "w", format=container, options=options or {}) as target:
            add_clip(target, frames, codec=codec, times=times, pixels=pixels, **coding)
        return Path(file.name).read_bytes()


def add_clip(
    target: Any,
    frames: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    times: Sequence[int] | None = None,
    pixels: str = "yuv420p",
    key_every: int = 4,
) -> None:
    frames = list(frames)
    stream = target.add_stream(codec, rate=25, options={"crf": "10"} if "x264" in codec else {})
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt, stream.codec_context.gop_size = pixels, key_every
    stream.codec_context.max_b_frames, stream.codec_context.bit_rate = 0, 4_000_000
    for number, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.time_base, frame.pts = Fraction(1, 25), number if times is None else times[number]
        target.mux(stream.encode(frame))
    target.mux(stream.encode())


def sound(target: Any, codec: str = "aac") -> None:
    stream = target.add_stream(codec, rate=8000)
    quiet = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
    quiet.sample_rate = 8000
    target.mux(stream.encode(quiet))
    target.mux(stream.encode())


MP4 = clip("mp4")
FAST = clip("mp4", options={"movflags": "faststart"})
PIECES = clip("mp4", options={"movflags": "frag_keyframe+empty_moov"})
AVI = clip("avi", codec="mjpeg", pixels="yuvj420p")
MKV = clip("matroska")
WEBM = clip("webm", codec="libvpx")
MPG = clip("mpeg", codec="mpeg1video")
TS = clip("mpegts")


def packets(raw: bytes) -> list[tuple[int, int]]:
    """Return where each packet of the video begins and ends."""
    with av.open(io.BytesIO(raw)) as source:
        found = [p for p in source.demux(video=0) if p.size]
        return [(packet.pos, packet.pos + packet.size) for packet in found]


CUT = {f"MP4 cut off after {end}": Case("a.mp4", MP4[:end], UNREADABLE) for end in (1, 16, 40)} | {
    # no number of bytes: encoders write as many as it comes, and tests go by their names
    "MP4 cut off half way": Case("a.mp4", MP4[: len(MP4) // 2], UNREADABLE),
    "MP4 cut off in its index": Case("a.mp4", MP4[: MP4.index(b"trak")], NO_FRAME),
    "MP4 cut off, its index first": Case("a.mp4", FAST[: packets(FAST)[7][1]], faces(6, 7)),
    "MP4 cut off in its ninth frame": Case("a.mp4", FAST[: packets(FAST)[8][1] - 9], faces(6, 7)),
    "MP4 in pieces": Case("a.mp4", PIECES, USUAL),
    "MP4 in pieces, cut off": Case("a.mp4", PIECES[: packets(PIECES)[7][1]], faces(6, 7)),
    "AVI cut off": Case("a.avi", AVI[: packets(AVI)[7][1] + 8], faces(6, 7)),
    "AVI cut off in its header": Case("a.avi", AVI[:100], UNREADABLE),
    "Matroska cut off": Case("a.mkv", MKV[: packets(MKV)[8][0]], faces(6, 7)),
    "Matroska cut off in its header": Case("a.mkv", MKV[:60], UNREADABLE),
    "WebM cut off": Case("a.webm", WEBM[: packets(WEBM)[8][0]], faces(6, 7)),
    "MPEG cut off in its header": Case("a.mpg", MPG[:20], UNREADABLE),
}

M3U8 = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
DASH = b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>'
WAVE = b"RIFF\x24\0\0\0WAVEfmt " + bytes(40)

DISGUISED = {
    "empty": Case("a.mp4", b"", UNREADABLE),
    "text": Case("a.avi", b"no video, only words\n", UNREADABLE),
    "playlist of HLS": Case("a.mp4", M3U8, UNREADABLE),
    "playlist of concat": Case("a.mov", CONCAT, UNREADABLE),
    "playlist of SDP": Case("a.mp4", SDP, UNREADABLE),
    "playlist of DASH": Case("a.mkv", DASH, UNREADABLE),
    "playlist after a signature": Case("a.mp4", b"\0\0\0\x08free" + M3U8, UNREADABLE),
    "picture": Case("a.mp4", encode("PNG"), UNREADABLE),
    "sequence": Case("a.mp4", b"\x89HDF\r\n\x1a\n" + bytes(500), UNREADABLE),
    "sound": Case("a.avi", WAVE, UNREADABLE),
    "GIF": Case("a.mp4", encode("GIF"), UNREADABLE),
    "AVI named .mp4": Case("a.mp4", AVI, USUAL),
    "Matroska named .avi": Case("a.avi", MKV, USUAL),
    "MP4 named .webm": Case("a.webm", MP4, USUAL),
    "transport stream": Case("a.mpg", TS, UNREADABLE),
    "bare stream": Case("a.mp4", clip("h264"), UNREADABLE),
}


SUBTITLES = b"1\n00:00:00,000 --> 00:00:01,000\nfirst\n\n"


def with_subtitles() -> bytes:
    """Put a stream of subtitles before the video."""
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(SUBTITLES), format="srt") as words,
        av.open(file, "w", format="matroska") as target,
    ):
        stream = target.add_stream_from_template(words.streams.subtitles[0])
        add_clip(target, FRAMES)
        for packet in words.demux():
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return file.getvalue()


def two_videos(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as target:
        streams = []
        for frames in (first, second):
            stream = target.add_stream("libx264", rate=25, options={"crf": "10"})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        for stream, frames in zip(streams, (first, second), strict=True):
            for picture in frames:
                target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            target.mux(stream.encode())
    return file.getvalue()


def only_sound(container: str = "mp4") -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        sound(target)
    return file.getvalue()


def cover(*, film: bool) -> bytes:
    """Attach a picture, as music does, to sound or to a film."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as target:
        art = target.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        if film:
            add_clip(target, FRAMES)
        else:
            sound(target)
        target.mux(art.encode(av.VideoFrame.from_ndarray(draw(30), format="rgb24")))
        target.mux(art.encode())
    return file.getvalue()


def stills(pictures: Sequence[np.ndarray], times: Sequence[int] | None = None) -> bytes:
    """Put JPEGs of any size into one AVI."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as target:
        stream = target.add_stream("mjpeg", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        for number, picture in enumerate(pictures):
            packet = av.Packet(encode("JPEG", picture, quality=95))
            packet.stream, packet.pts, packet.dts = stream, number, number
            target.mux(packet)
    return file.getvalue()


def turned(degrees: int) -> bytes:
    """Patch the display matrix of the track header (ISO/IEC 14496-12, section 8.3.2)."""
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    return patched(MP4, MP4.index(b"tkhd") + 4 + 40, matrix)


def upright(degrees: int) -> Faces:
    return faces(6, 11, of=[np.rot90(frame, -degrees // 90) for frame in FRAMES])


def box(raw: bytes, name: bytes, offset: int, value: int) -> bytes:
    """Patch four bytes of a box of an MP4, counted from its content."""
    return patched(raw, raw.index(name) + 4 + offset, struct.pack(">I", value))


def lie(raw: bytes, **places: int) -> bytes:
    """Patch what the headers of an AVI declare."""
    for place, value in places.items():
        name, offset = {"frames": (b"avih", 24), "length": (b"strh", 40), "width": (b"strf", 12)}[
            place
        ]
        raw = patched(raw, raw.index(name) + offset, struct.pack("<I", value))
    return raw


def broken_stills(*broken: int) -> bytes:
    raw = bytearray(AVI)
    for number in broken:
        begin, end = packets(AVI)[number]
        raw[begin + 8 : end] = bytes(end - begin - 8)
    return bytes(raw)


def noise_in(raw: bytes, *numbers: int) -> bytes:
    changed = bytearray(raw)
    for number in numbers:
        begin, end = packets(raw)[number]
        changed[begin + 20 : end] = np.random.default_rng(0).bytes(end - begin - 20)
    return bytes(changed)


ODD = [draw(number, 63, 47) for number in range(COUNT)]
GROWN = [draw(n, *(2 * (WIDTH, HEIGHT) if n < 6 else (96, 80))[:2]) for n in range(COUNT)]
WITHOUT_5 = [frame for number, frame in enumerate(FRAMES) if number != 5]

STREAMS = {
    "subtitles first": Case("a.mkv", with_subtitles(), USUAL),
    "two videos": Case("a.mkv", two_videos(FRAMES, [f[:24, :32] for f in FRAMES]), USUAL),
    "sound alone": Case("a.mp4", only_sound(), NO_FRAME),
    "a cover and sound": Case("a.mp4", cover(film=False), NO_FRAME),
    "a cover and a film": Case("a.mp4", cover(film=True), USUAL),
    "one frame": Case("a.mp4", clip("mp4", FRAMES[:1]), faces(0)),
    "odd sides": Case(
        "a.mkv", clip("matroska", ODD, codec="ffv1", pixels="bgr0"), faces(6, 11, of=ODD, within=1)
    ),
    "another size halfway": Case("a.avi", stills(GROWN), faces(6, 11, of=GROWN)),
    "beyond the limit halfway": Case("a.avi", stills([*FRAMES, draw(0, 300, 300)]), UNREADABLE),
    "beyond the limit": Case("a.mp4", clip("mp4", [draw(0, 300, 300)]), UNREADABLE),
    "turned by 90": Case("a.mp4", turned(90), upright(90)),
    "turned by 180": Case("a.mp4", turned(180), upright(180)),
    "turned by 270": Case("a.mp4", turned(270), upright(270)),
    "times of any distance": Case(
        "a.mkv", clip("matroska", times=[0, 1, 2, 50, 51, 90, 91, 92, 400, 401, 402, 9000]), USUAL
    ),
    "times of no distance": Case("a.avi", AVI.replace(b"idx1", b"JUNK"), USUAL),
    "a frame of noise": Case("a.avi", broken_stills(5), faces(6, 10, of=WITHOUT_5)),
    "frames of noise alone": Case("a.avi", broken_stills(*range(COUNT)), NO_FRAME),
    "noise in the middle of H.264": Case("a.mp4", noise_in(MP4, 5), faces(6, 10, of=WITHOUT_5)),
}

LIES = {
    "a million frames declared": Case("a.avi", lie(AVI, frames=999_999, length=999_999), USUAL),
    "a width of 2^31 declared": Case("a.avi", lie(AVI, width=2**31 - 1), USUAL),
    "a width of 2^31, and nothing else to go by": Case(
        "a.avi", lie(clip("avi", codec="ffv1", pixels="bgr0"), width=2**31 - 1), UNREADABLE
    ),
    "a width of 30,000": Case(
        "a.avi", lie(clip("avi", codec="ffv1", pixels="bgr0"), width=30_000), UNREADABLE
    ),
    "2^32 - 1 sizes declared": Case("a.mp4", box(MP4, b"stsz", 8, 2**32 - 1), UNREADABLE),
    "2^32 - 1 frames of one size": Case(
        "a.mp4", box(box(MP4, b"stsz", 4, 1), b"stsz", 8, 2**32 - 1), NO_FRAME
    ),
    "2^32 - 1 times declared": Case("a.mp4", box(MP4, b"stts", 4, 2**32 - 1), UNREADABLE),
    "frames that lie elsewhere": Case("a.mp4", box(MP4, b"stco", 8, 2**32 - 1), NO_FRAME),
    "no duration": Case("a.mp4", box(box(MP4, b"mvhd", 16, 0), b"mdhd", 16, 0), USUAL),
    "a box of 2^32 - 1": Case("a.mp4", patched(MP4, 0, b"\xff" * 4), UNREADABLE),
    "a codec that is none": Case("a.mp4", MP4.replace(b"avc1", b"none"), UNREADABLE),
}

VIDEOS = CUT | DISGUISED | STREAMS | LIES
