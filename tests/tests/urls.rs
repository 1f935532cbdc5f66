//! Videos behind URLs: the same result as from a file, from servers that are allowed alone, and nobody sees a credential.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::job::contents_of;
use framefleet_tests::scratch::files_below;
use framefleet_tests::tls_relay::TlsRelay;
use framefleet_tests::{Call, Detector, Ended, Manner, Scratch, Server, clip, repository};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const X264: &str = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p";
/// More than the blocks that are kept in memory: so many bytes that no picture can be predicted from another.
const LARGE: &str = "-vf noise=alls=100:allf=t -c:v libx264 -preset ultrafast -g 25 -qp 8 -pix_fmt yuv420p";

fn clip_in(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.clip(name, &clip::moving("160x96", 4), X264)
}

/// With the loopback interface, on which the server is, among the allowed addresses.
fn call(scratch: &Scratch, url: &str) -> Call {
    scratch.call_of_urls(Detector::Colours, &[url]).with(&["--allow-address", "127.0.0.0/8", "--threads", "2"])
}

/// A call on a clip that is given in this manner.
fn ended(manner: Manner, flags: &[&str]) -> Ended {
    let scratch = Scratch::new();
    let server = Server::start(fs::read(clip_in(&scratch, "clip.mp4")).unwrap(), manner);
    call(&scratch, &server.url("clip.mp4")).with(flags).run()
}

#[test]
fn a_video_behind_a_url_gives_the_bytes_of_the_file() {
    let scratch = Scratch::new();
    for (name, options) in [("index-behind.mp4", LARGE), ("indexed.mkv", LARGE), ("small.ts", X264)] {
        let video = scratch.clip(name, &clip::moving("640x480", 4), options);
        let bytes = fs::read(&video).unwrap();
        assert!(options != LARGE || bytes.len() > 20 << 20, "{name} has {} bytes", bytes.len());
        let server = Server::start(bytes, Manner::Well);
        let flags = ["--segment-seconds", "1"];
        let of_file = scratch.call(Detector::Colours, &[&video]).with(&flags).run().job();
        let of_url = call(&scratch, &server.url(name)).with(&flags).run().job();
        assert_eq!(of_url.digest(), of_file.digest(), "{name}");
        assert_eq!(of_url.plan(), of_file.plan(), "{name}");
        assert!(of_url.plan().segments.len() > 1, "{name}");
        assert!(
            server.connections() < 8,
            "{} connections for {} requests",
            server.connections(),
            server.requests().len()
        );
    }
}

#[test]
fn a_job_on_a_url_goes_on_where_it_was_cut_off_and_draws() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let server = Server::start(fs::read(&video).unwrap(), Manner::Well);
    let url = server.url("clip.mp4?sig=1");
    let call = || call(&scratch, &url).with(&["--segment-seconds", "1", "--annotate"]);
    let job = call().run().job();
    let annotated = scratch.call(Detector::Colours, &[&video]).with(&["--annotate"]).run().job();
    let before = job.contents();
    assert_eq!(before.get(Path::new("annotated.mp4")), annotated.contents().get(Path::new("annotated.mp4")));
    for name in ["outcome.json", "summary.json", "tracks.parquet", "annotated.mp4", "segments/00002.parquet"] {
        fs::remove_file(job.folder.join(name)).unwrap();
    }
    let again = call().run().job();
    assert_eq!((again.id(), again.digest(), again.summary().segments.found), (job.id(), annotated.digest(), 3));
    assert!(call().run().job().was_finished);
    fs::write(job.folder.join("source-url"), "http://elsewhere/clip.mp4").unwrap();
    fs::remove_file(job.folder.join("outcome.json")).unwrap();
    assert!(call().run().error(1, "JOB_DAMAGED").contains("source-url"));
}

#[test]
fn credentials_are_kept_for_workers_and_shown_to_nobody() {
    let scratch = Scratch::new();
    let server = Server::start(fs::read(clip_in(&scratch, "clip.mp4")).unwrap(), Manner::Well);
    let url = server.url_for("visitor:pa55word", "clip.mp4?X-Sig=s1gnature&t0ken");
    let ended =
        call(&scratch, &url).with(&["--annotate", "--metrics", "metrics.txt"]).env("FRAMEFLEET_LOG", "trace").run();
    assert_eq!(ended.status, Some(0), "{ended}");
    let job = ended.lines().remove(0);
    let basic = "Basic dmlzaXRvcjpwYTU1d29yZA==";
    assert!(server.requests().iter().all(|head| head.contains("X-Sig=s1gnature&t0ken") && head.contains(basic)));
    let kept = job.folder.join("source-url");
    assert_eq!(fs::read_to_string(&kept).unwrap(), url);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let mut seen = contents_of(scratch.path());
    assert!(seen.remove(kept.strip_prefix(scratch.path()).unwrap()).is_some(), "{kept:?}");
    seen.insert("stdout".into(), ended.stdout.clone().into_bytes());
    seen.insert("stderr".into(), ended.stderr.clone().into_bytes());
    assert!(seen.contains_key(Path::new("metrics.txt")) && !ended.stderr.is_empty(), "{ended}");
    for secret in ["visitor", "pa55word", "s1gnature", "t0ken", "dmlzaXRvcjpwYTU1d29yZA"] {
        for (name, bytes) in &seen {
            let has = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!has, "{secret} is in {}", name.display());
        }
    }
    assert!(ended.stdout.contains("clip.mp4?X-Sig=***&***"), "{ended}");
}

#[test]
fn errors_show_no_credentials() {
    let scratch = Scratch::new();
    let file = fs::read(clip_in(&scratch, "clip.mp4")).unwrap();
    let manners = [
        Manner::NoRanges,
        Manner::NoLength,
        Manner::FailsAfter(0, 403),
        Manner::FailsAfter(0, 404),
        Manner::FailsAfter(0, 500),
        Manner::ChangesAfter(3),
        Manner::FailsAfter(4, 403),
        Manner::Redirects("http://10.0.0.1/?s1gnature".into()),
        Manner::Redirects("s1gnature://pa55word".into()),
        Manner::RedirectsInCircles,
    ];
    for manner in manners {
        let server = Server::start(file.clone(), manner.clone());
        let url = server.url_for("visitor:pa55word", "clip.mp4?sig=s1gnature");
        let out = scratch.join("out");
        let ended = call(&scratch, &url).env("FRAMEFLEET_LOG", "trace").run();
        assert_ne!(ended.status, Some(0), "{manner:?}: {ended}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!["visitor", "pa55word", "sig=s1"].iter().any(|secret| said.contains(secret)), "{manner:?}: {said}");
        if out.exists() {
            let shown = files_below(&out).into_iter().filter(|name| !name.ends_with("source-url"));
            let leaks =
                |name: &PathBuf| String::from_utf8_lossy(&fs::read(out.join(name)).unwrap()).contains("s1gnature");
            assert_eq!(shown.filter(leaks).collect::<Vec<_>>(), [] as [PathBuf; 0], "{manner:?}");
            fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn what_a_server_may_do_works() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let file = fs::read(&video).unwrap();
    let digest = scratch.call(Detector::Colours, &[&video]).run().job().digest();
    let well = Server::start(file.clone(), Manner::Well);
    let manners = [
        Manner::FailsFor(2, 503),
        Manner::NoValidators,
        Manner::Redirects(well.url("elsewhere.mp4?sig=2")),
        Manner::RedirectsFor(3),
    ];
    for manner in manners {
        let server = Server::start(file.clone(), manner.clone());
        let job = call(&scratch, &server.url_for("visitor:pa55word", "clip.mp4")).run().job();
        assert_eq!(job.digest(), digest, "{manner:?}");
    }
    let redirected = well.requests();
    assert!(!redirected.is_empty() && redirected.iter().all(|head| !head.to_lowercase().contains("authorization")));
}

#[test]
fn what_a_server_may_not_do_has_a_code() {
    for (manner, code) in [
        (Manner::NoRanges, "SOURCE_REFUSED"),
        (Manner::Gzip, "SOURCE_REFUSED"),
        (Manner::WrongPart, "SOURCE_REFUSED"),
        (Manner::FailsAfter(0, 401), "SOURCE_REFUSED"),
        (Manner::FailsAfter(0, 403), "SOURCE_REFUSED"),
        (Manner::FailsAfter(0, 404), "SOURCE_NOT_FOUND"),
        (Manner::FailsAfter(0, 410), "SOURCE_NOT_FOUND"),
        (Manner::FailsAfter(0, 503), "SOURCE_UNREADABLE"),
        (Manner::ShortPart, "SOURCE_UNREADABLE"),
        (Manner::NoLength, "BYTES_LIMIT"),
        (Manner::NoTotal, "BYTES_LIMIT"),
        (Manner::EndlessPart, "BYTES_LIMIT"),
        (Manner::RedirectsInCircles, "REDIRECT_DENIED"),
        (Manner::Redirects("http://169.254.169.254/latest/meta-data".into()), "REDIRECT_DENIED"),
        (Manner::Redirects("http://[::1]/".into()), "REDIRECT_DENIED"),
        (Manner::Redirects("http://2852039166/".into()), "REDIRECT_DENIED"),
        (Manner::Redirects("file:///etc/passwd".into()), "REDIRECT_DENIED"),
        (Manner::Redirects("gopher://127.0.0.1/".into()), "REDIRECT_DENIED"),
    ] {
        ended(manner, &[]).error(2, code);
    }
    ended(Manner::Well, &["--max-bytes", "1000"]).error(2, "BYTES_LIMIT");
    ended(Manner::DripsAfter(0), &["--stall-seconds", "0.5"]).error(2, "READ_TIMEOUT");
}

#[test]
fn what_goes_wrong_midway_ends_the_job_or_leaves_it_open() {
    // One request tells what is there, and the next ones read it.
    for after in [1, 2, 3] {
        ended(Manner::ChangesAfter(after), &[]).error(1, "SOURCE_CHANGED");
        ended(Manner::FailsAfter(after, 404), &[]).error(1, "SOURCE_NOT_FOUND");
        ended(Manner::FailsAfter(after, 403), &[]).error(1, "SOURCE_REFUSED");
        ended(Manner::DripsAfter(after), &["--stall-seconds", "0.5"]).error(1, "READ_TIMEOUT");
    }
    let open = ended(Manner::FailsAfter(3, 500), &["--stall-seconds", "2"]);
    open.error(1, "SOURCE_UNREADABLE");
    assert!(open.stdout.contains("\"error\"") && !open.stdout.contains("outcome"), "{open}");
}

#[test]
fn addresses_that_are_not_public_are_denied_unless_they_are_allowed() {
    let scratch = Scratch::new();
    let out = scratch.join("out");
    for host in [
        "169.254.169.254",
        "127.0.0.1",
        "localhost",
        "[::1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ] {
        let url = format!("http://{host}:9/clip.mp4");
        scratch.call_of_urls(Detector::Colours, &[&url]).run().error(2, "ADDRESS_DENIED");
    }
    assert!(!out.exists());
    let server = Server::start(fs::read(clip_in(&scratch, "clip.mp4")).unwrap(), Manner::Well);
    let url = server.url("clip.mp4");
    let call = || scratch.call_of_urls(Detector::Colours, &[&url]);
    call().with(&["--allow-address", "10.0.0.0/8"]).run().error(2, "ADDRESS_DENIED");
    call().env("FRAMEFLEET_ALLOW_ADDRESSES", "").run().error(2, "ADDRESS_DENIED");
    call().with(&["--allow-address", "127.0.0.1/8"]).run().error(2, "BAD_REQUEST");
    assert_eq!(server.connections(), 0);
    call().env("FRAMEFLEET_ALLOW_ADDRESSES", "10.0.0.0/8,127.0.0.1").env("http_proxy", "http://10.0.0.1:9").run().job();
}

#[test]
fn other_schemes_are_denied_and_a_file_url_is_the_path_that_it_names() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "a clip.mp4");
    let root = scratch.path().to_str().unwrap();
    for name in [
        "concat:a.mp4|b.mp4",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "data:video/mp4;base64,AAAA",
        "gopher://127.0.0.1/",
        "ftp://127.0.0.1/v.mp4",
        "s3://bucket/v.mp4",
        "file:///etc/passwd",
    ] {
        scratch.call_of_urls(Detector::Colours, &[name]).with(&["--root", root]).run().error(2, "URL_SCHEME_DENIED");
    }
    let url = format!("file://{}", video.to_str().unwrap().replace(' ', "%20"));
    let of_url = scratch.call_of_urls(Detector::Colours, &[&url]).with(&["--root", root]).run().job();
    let of_file = scratch.call(Detector::Colours, &[&video]).run().job();
    assert_eq!((of_url.id(), of_file.was_finished), (of_file.id(), true));
    scratch.file("b:c.mp4", &fs::read(&video).unwrap());
    scratch.call(Detector::Colours, &[Path::new("./b:c.mp4")]).run().job();
}

/// A relay that speaks TLS, with a certificate that the program is told to trust.
#[test]
fn https_is_read_from_a_server_with_a_trusted_certificate_alone() {
    let scratch = Scratch::new();
    let server = Server::start(fs::read(clip_in(&scratch, "clip.mp4")).unwrap(), Manner::Well);
    let relay = TlsRelay::start(&scratch, &server);
    let call = || call(&scratch, &relay.url("clip.mp4"));
    let untrusted = call().run();
    untrusted.error(2, "SOURCE_UNREADABLE");
    assert!(untrusted.stderr.contains("certificate"), "{untrusted}");
    let certificate = relay.certificate().to_str().unwrap();
    let job = call().env("SSL_CERT_FILE", certificate).with(&["--stall-seconds", "1e300"]).run().job();
    assert_eq!(job.outcome.files.len(), 2);
    let none = repository::street();
    call().env("SSL_CERT_FILE", none.to_str().unwrap()).run().error(2, "BAD_REQUEST");
    scratch.call(Detector::Colours, &[&scratch.join("clip.mp4")]).env("SSL_CERT_FILE", "/none").run().job();
}
