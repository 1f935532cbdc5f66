//! How the two files of a model are put into one input of the fuzzer, and taken out of it again.

/// An ONNX file and what may be beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelInput<'a> {
    pub onnx: &'a [u8],
    pub toml: Option<&'a str>,
}

impl<'a> ModelInput<'a> {
    /// The last two bytes say how long the text before them is; what they cannot say is taken for no text.
    pub fn split(bytes: &'a [u8]) -> Self {
        let Some((rest, length)) = bytes.split_last_chunk::<2>() else {
            return Self { onnx: bytes, toml: None };
        };
        let length = usize::from(u16::from_le_bytes(*length));
        let Some(start) = rest.len().checked_sub(length).filter(|_| length > 0) else {
            return Self { onnx: rest, toml: None };
        };
        let (onnx, text) = rest.split_at(start);
        // Another encoding is refused where the file is read.
        Self { onnx, toml: str::from_utf8(text).ok() }
    }

    pub fn join(self) -> Vec<u8> {
        let text = self.toml.unwrap_or_default();
        let length = u16::try_from(text.len()).unwrap_or(0);
        [self.onnx, &text.as_bytes()[..usize::from(length)], &length.to_le_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_joined_is_split_again() {
        for toml in [None, Some("head = \"v8\"")] {
            let input = ModelInput { onnx: b"bytes of a graph", toml };
            assert_eq!(ModelInput::split(&input.join()), input);
        }
        assert_eq!(ModelInput::split(b"x"), ModelInput { onnx: b"x", toml: None });
        assert_eq!(ModelInput::split(b"x\xff\xff"), ModelInput { onnx: b"x", toml: None });
    }
}
