//! Where a redirect leads.

use framefleet_contract::source_url::{InvalidSourceUrl, SourceUrl};

/// Resolves a `Location` against the URL that gave it (RFC 3986, 5.2). Credentials in it are not taken.
pub(crate) fn target(base: &SourceUrl, location: &str) -> Result<SourceUrl, InvalidSourceUrl> {
    let location = location.split('#').next().unwrap_or_default();
    SourceUrl::new(&without_user_info(&absolute(base, location)))
}

fn absolute(base: &SourceUrl, location: &str) -> String {
    let origin = format!("{}://{}:{}", base.scheme(), base.host(), base.port());
    let has_scheme = location.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
    if has_scheme {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{}:{location}", base.scheme())
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else if location.starts_with('?') {
        format!("{origin}{}{location}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{origin}{}", without_dots(&format!("{folder}/{location}")))
    }
}

/// Goes up for `..` and leaves out `.` (RFC 3986, 5.2.4), before the query.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) =
        path_and_query.find('?').map_or((path_and_query, ""), |question| path_and_query.split_at(question));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}

fn without_user_info(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |end| rest.split_at(end));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_resolved_against_the_url_that_gave_it() {
        let base = SourceUrl::new("https://u:p@h/a/b/v.mp4?sig=1").unwrap();
        for (location, expected) in [
            ("http://other:81/x?y=1#z", "http://other:81/x?y=1"),
            ("//other/x", "https://other/x"),
            ("/x", "https://h:443/x"),
            ("w.mp4", "https://h:443/a/b/w.mp4"),
            ("../w.mp4?up=../..", "https://h:443/a/w.mp4?up=../.."),
            ("../../../w.mp4", "https://h:443/w.mp4"),
            ("./w.mp4", "https://h:443/a/b/w.mp4"),
            ("?sig=2", "https://h:443/a/b/v.mp4?sig=2"),
            ("http://me:secret@other/x", "http://other/x"),
        ] {
            assert_eq!(target(&base, location).unwrap().expose(), expected, "{location}");
        }
        for location in ["file:///etc/passwd", "gopher://h/", "javascript:x", "http://"] {
            assert!(target(&base, location).is_err(), "{location}");
        }
    }
}
