//! Class names as exporters write them: the `repr` of a Python dict or list of strings.

use super::MOST_CLASSES;

/// How many classes COCO has.
pub const COCO_CLASSES: usize = 80;

/// COCO's 80 detection classes, in the order that detectors number them.
#[rustfmt::skip]
const COCO_NAMES: [&str; COCO_CLASSES] = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
];

/// COCO's 80 classes as owned names.
pub fn coco() -> Vec<String> {
    COCO_NAMES.iter().map(|name| (*name).to_owned()).collect()
}

/// COCO's 91 numbers as its own files count them: 0 and ten others belong to no class.
pub fn coco_91() -> Vec<String> {
    const UNUSED: [usize; 11] = [0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83];
    let mut names = COCO_NAMES.iter();
    let name = |class_id| if UNUSED.contains(&class_id) { Some("") } else { names.next().copied() };
    (0..91).map_while(name).map(str::to_owned).collect()
}

/// Reads `{0: 'person', 1: "bird's nest"}` or `['person', 'car']` into names by class id.
///
/// Keys must be 0, 1, 2 … in any order: a gap would leave a class without a name. The error says what is wrong where.
pub fn parse(text: &str) -> Result<Vec<String>, String> {
    let mut reader = Reader { rest: text.trim_start() };
    let mut entries: Vec<(usize, String)> = Vec::new();
    let end = match reader.next_char() {
        Some('{') => '}',
        Some('[') => ']',
        Some('(') => ')',
        _ => return Err("it is neither a dict nor a list".to_owned()),
    };
    while !reader.skip(end) {
        if entries.len() == MOST_CLASSES {
            return Err(format!("it has more than {MOST_CLASSES} entries"));
        }
        let key = if end == '}' { reader.key()? } else { entries.len() };
        entries.push((key, reader.string()?));
        if !reader.skip(',') {
            reader.expect(end)?;
            break;
        }
    }
    if !reader.rest.trim().is_empty() {
        return Err(format!("there is more after its end: {:?}", reader.start()));
    }
    // Stable, so that of a key written twice the later one is seen to be too many.
    entries.sort_by_key(|(key, _)| *key);
    match entries.iter().enumerate().find(|(index, (key, _))| index != key) {
        Some((index, _)) => Err(format!("class {index} is missing or there twice")),
        None if entries.is_empty() => Err("it names no class".to_owned()),
        None => Ok(entries.into_iter().map(|(_, name)| name).collect()),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn next_char(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// Steps over white space and then over `wanted`, if it is there.
    fn skip(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(wanted).map(|rest| self.rest = rest).is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.skip(wanted) { Ok(()) } else { Err(format!("{wanted:?} was expected at {:?}", self.start())) }
    }

    /// The next few characters, for a message.
    fn start(&self) -> String {
        self.rest.chars().take(20).collect()
    }

    /// A class id, with or without quotes, and the colon after it.
    fn key(&mut self) -> Result<usize, String> {
        self.rest = self.rest.trim_start();
        let digits = if self.rest.starts_with(['\'', '"']) { self.string()? } else { self.digits() };
        let key = digits.parse().map_err(|_| format!("a class id was expected at {:?}", self.start()))?;
        self.expect(':')?;
        Ok(key)
    }

    fn digits(&mut self) -> String {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        digits.to_owned()
    }

    fn string(&mut self) -> Result<String, String> {
        self.rest = self.rest.trim_start();
        let start = self.start();
        let Some(quote @ ('\'' | '"')) = self.next_char() else {
            return Err(format!("a quoted name was expected at {start:?}"));
        };
        let mut text = String::new();
        loop {
            match self.next_char() {
                None => return Err(format!("the name at {start:?} has no end")),
                Some(end) if end == quote => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(other) => text.push(other),
            }
        }
    }

    /// The character behind a backslash; Python's `repr` writes these and no others.
    fn escape(&mut self) -> Result<char, String> {
        let start = self.start();
        let code = match self.next_char() {
            Some(same @ ('\\' | '\'' | '"')) => return Ok(same),
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('x') => self.hexadecimal(2),
            Some('u') => self.hexadecimal(4),
            Some('U') => self.hexadecimal(8),
            _ => None,
        };
        code.and_then(char::from_u32).ok_or_else(|| format!("an escape at {start:?} is not known"))
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<u32> {
        let number = self.rest.get(..digits)?;
        self.rest = self.rest.get(digits..)?;
        number.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(number, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dict_and_a_list_are_read() {
        assert_eq!(parse("{0: 'person', 1: 'car'}").unwrap(), ["person", "car"]);
        assert_eq!(parse(" {1:'car' , 0 : \"person\",} ").unwrap(), ["person", "car"]);
        assert_eq!(parse("['person', 'car']").unwrap(), ["person", "car"]);
        assert_eq!(parse(r#"{"0": "person"}"#).unwrap(), ["person"]);
    }

    #[test]
    fn quotes_escapes_and_separators_inside_names_are_kept() {
        let names =
            parse(r#"{0: "bird's nest", 1: 'a\'b"c', 2: 'x, 3: y}', 3: 'tab\t\\', 4: 'gr\xfcn \u4eba \U0001f600'}"#);
        assert_eq!(names.unwrap(), ["bird's nest", "a'b\"c", "x, 3: y}", "tab\t\\", "grün 人 😀"]);
    }

    #[test]
    fn what_is_not_a_list_of_names_is_refused() {
        for text in [
            "",
            "person",
            "{",
            "{}",
            "[]",
            "{0: person}",
            "{0: 'a', 2: 'b'}",
            "{0: 'a', 0: 'b'}",
            "{0: 'a'} x",
            "{0 'a'}",
            "{0: 'a' 1: 'b'}",
            "{0: 'a",
            r"{0: '\q'}",
            r"{0: '\ud800'}",
            r"{0: '\x+1'}",
            "{-1: 'a'}",
            "{99999999999999999999: 'a'}",
            "[1, 2]",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    /// What Python 3.11 printed for `repr({0: 'it\'s', 1: 'say "hi"', 2: 'both \' "', 3: 'line\nend', 4: '\x00é\u200b'})`.
    #[test]
    fn a_repr_that_python_printed_is_read() {
        let names = parse(r#"{0: "it's", 1: 'say "hi"', 2: 'both \' "', 3: 'line\nend', 4: '\x00é\u200b'}"#).unwrap();
        assert_eq!(names, ["it's", "say \"hi\"", "both ' \"", "line\nend", "\0é\u{200b}"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[{(]?[0-9:, '\"\\\\xuUa\u{e9}\u{1f600}]{0,60}[\\]})]?") {
            let _ = parse(&text);
        }
    }
}
