//! The little of protobuf's encoding that it takes to write an ONNX file by hand. Numbers of fields are onnx.proto's.

/// A field that holds bytes: a message or a text.
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

pub fn text(number: u64, text: &str) -> Vec<u8> {
    field(number, text.as_bytes())
}

fn integer(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value.cast_unsigned())].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A `StringStringEntryProto`.
pub fn entry(key: &str, value: &str) -> Vec<u8> {
    [text(1, key), text(2, value)].concat()
}

/// A `TensorProto` of one f32 that is in another file.
pub fn external_tensor(location: &str) -> Vec<u8> {
    let entries = [entry("location", location), entry("offset", "0"), entry("length", "4")];
    let entries: Vec<u8> = entries.iter().flat_map(|entry| field(13, entry)).collect();
    [integer(1, 1), integer(2, 1), text(8, "weight"), entries, integer(14, 1)].concat()
}

/// A `ValueInfoProto` of f32.
pub fn value(name: &str, shape: &[i64]) -> Vec<u8> {
    let dimensions: Vec<u8> = shape.iter().flat_map(|size| field(1, &integer(1, *size))).collect();
    let tensor = [integer(1, 1), field(2, &dimensions)].concat();
    [text(1, name), field(2, &field(1, &tensor))].concat()
}

/// A `ModelProto` of opset 13 with these inputs, outputs and encoded operations.
pub fn model(inputs: &[Vec<u8>], outputs: &[Vec<u8>], nodes: &[u8]) -> Vec<u8> {
    let values =
        |number, values: &[Vec<u8>]| -> Vec<u8> { values.iter().flat_map(|value| field(number, value)).collect() };
    let graph = [nodes.to_vec(), text(2, "graph"), values(11, inputs), values(12, outputs)].concat();
    [integer(1, 8), field(7, &graph), field(8, &integer(2, 13))].concat()
}
