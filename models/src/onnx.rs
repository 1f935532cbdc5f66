//! The parts of an ONNX file that tell what a model is: its inputs, outputs, metadata and the shape of its graph.
//!
//! The messages name only the fields of `onnx.proto` that are needed; prost steps over the others, among them the
//! weights, without copying them. So a header costs microseconds whatever the file's size.

mod external;

use crate::error::shown;
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<StringEntry>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct FunctionProto {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
    /// What is left out where the function is called.
    #[prost(message, repeated, tag = "11")]
    attribute_proto: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct StringEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<SparseTensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(message, optional, tag = "6")]
    g: Option<GraphProto>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphProto>,
    #[prost(message, optional, tag = "22")]
    sparse_tensor: Option<SparseTensorProto>,
    #[prost(message, repeated, tag = "23")]
    sparse_tensors: Vec<SparseTensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<StringEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct SparseTensorProto {
    #[prost(message, optional, tag = "1")]
    values: Option<TensorProto>,
    #[prost(message, optional, tag = "2")]
    indices: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

/// The limits that prost has reads as a fault of the encoding; it need not be one.
fn undecodable(error: &prost::DecodeError) -> String {
    let text = error.to_string();
    if text.contains("recursion limit") {
        return "its graphs are nested deeper than any exporter nests them".to_owned();
    }
    format!("it is not an ONNX file, or only a part of one ({text})")
}

/// What an ONNX file says about itself.
#[derive(Debug, Clone)]
pub struct Header {
    /// Inputs that a caller must fill: initializers that are listed as inputs, as old exporters do, are left out.
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    pub metadata: BTreeMap<String, String>,
    /// Files beside this one that hold weights, as the ONNX file names them; without repeats, sorted.
    pub external_files: Vec<String>,
    nodes: Vec<NodeProto>,
    /// By the tensors that they make; of two that claim the same one, the first.
    makers: HashMap<String, usize>,
    initializers: HashSet<String>,
}

/// An input or output of the graph.
#[derive(Debug, Clone)]
pub struct Value {
    pub name: String,
    pub element: Element,
    /// `None` where the file does not even say how many dimensions there are.
    pub shape: Option<Vec<Dimension>>,
}

/// The type of a tensor's elements, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F32,
    F16,
    F64,
    U8,
    I32,
    I64,
    /// Another one, by its number in `TensorProto.DataType`; 0 for what is no tensor.
    Other(i32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    Fixed(u32),
    /// Known when the model runs; the name is the exporter's.
    Open(String),
}

impl Dimension {
    pub fn fixed(&self) -> Option<u32> {
        match self {
            Self::Fixed(size) => Some(*size),
            Self::Open(_) => None,
        }
    }
}

impl Header {
    /// Reads a header; the error says in words what is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("the file is empty".to_owned());
        }
        let model = ModelProto::decode(bytes).map_err(|error| undecodable(&error))?;
        let graph = model.graph.ok_or("it is not an ONNX file (no graph in it)")?;
        let external_files = external::files(&graph, &model.functions)?;
        let initializers: HashSet<String> = graph.initializer.into_iter().map(|tensor| tensor.name).collect();
        let inputs = graph.input.into_iter().filter(|input| !initializers.contains(&input.name));
        Ok(Self {
            makers: makers(&graph.node),
            inputs: inputs.map(Value::from).collect(),
            outputs: graph.output.into_iter().map(Value::from).collect(),
            metadata: model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect(),
            external_files,
            nodes: graph.node,
            initializers,
        })
    }

    /// The operations whose results an output is put together from, one for each distinct tensor: what is found when
    /// one walks back from the output over operations that only move values around.
    pub fn sources_of(&self, output: &str) -> Vec<&str> {
        let mut sources = Vec::new();
        let mut seen = HashSet::new();
        let mut open = vec![output];
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            match self.direct_maker_of(name) {
                Some(node) if node.op_type == "Concat" => open.extend(node.input.iter().map(String::as_str)),
                Some(node) if moves_values(&node.op_type) => open.extend(node.input.first().map(String::as_str)),
                Some(node) => sources.push(node.op_type.as_str()),
                None if self.initializers.contains(name) => sources.push("Constant"),
                None => sources.push("Input"),
            }
        }
        sources
    }

    /// What the operation that makes a tensor joins, if it joins anything; moving values around before is passed over.
    pub fn joined_by(&self, name: &str) -> Vec<&str> {
        match self.maker_of(name) {
            Some(node) if node.op_type == "Concat" => node.input.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a tensor has the same values whatever the picture, seen from the operation that makes it.
    pub fn is_constant(&self, name: &str) -> bool {
        match self.maker_of(name) {
            Some(node) => match node.op_type.as_str() {
                "Constant" | "ConstantOfShape" => true,
                "Expand" => node.input.first().is_some_and(|input| self.is_constant_value(input)),
                _ => false,
            },
            None => self.initializers.contains(name),
        }
    }

    fn is_constant_value(&self, name: &str) -> bool {
        self.initializers.contains(name)
            || self.maker_of(name).is_some_and(|node| matches!(node.op_type.as_str(), "Constant" | "ConstantOfShape"))
    }

    /// Whether a tensor is a multiple of an exponential.
    pub fn is_exponential(&self, name: &str) -> bool {
        let is_exp = |name: &str| self.maker_of(name).is_some_and(|node| node.op_type == "Exp");
        match self.maker_of(name) {
            Some(node) if node.op_type == "Mul" => operands(node).iter().any(|input| is_exp(input)),
            _ => is_exp(name),
        }
    }

    /// Whether a tensor is the sigmoid of what a layer of a perceptron says, and nothing else was added.
    pub fn is_sigmoid_of_perceptron(&self, name: &str) -> bool {
        let input_of = |node: &NodeProto| node.input.first().and_then(|input| self.maker_of(input));
        let sigmoid = self.maker_of(name).filter(|node| node.op_type == "Sigmoid");
        let layer = sigmoid.and_then(input_of);
        let is_product = |node: &NodeProto| matches!(node.op_type.as_str(), "MatMul" | "Gemm");
        layer.is_some_and(|layer| {
            let biased = layer.op_type == "Add"
                && operands(layer).iter().any(|input| self.maker_of(input).is_some_and(is_product))
                && operands(layer).iter().any(|input| self.is_constant_value(input) || self.is_named_constant(input));
            is_product(layer) || biased
        })
    }

    /// An initializer under another name: exporters share equal ones by `Identity`.
    fn is_named_constant(&self, name: &str) -> bool {
        self.direct_maker_of(name).is_some_and(|node| {
            node.op_type == "Identity" && node.input.first().is_some_and(|input| self.is_constant_value(input))
        })
    }

    /// Whether an operation of that type is anywhere in the main graph.
    pub fn has_operation(&self, op_type: &str) -> bool {
        self.nodes.iter().any(|node| node.op_type == op_type)
    }

    /// Whether the main graph has a tensor of that name, whatever the modules around it are called: exporters name the
    /// weights after their place in the network, and share equal ones under the name of the second.
    pub fn has_weight(&self, name: &str) -> bool {
        let is_it = |whole: &String| {
            whole.strip_suffix(name).is_some_and(|modules| modules.is_empty() || modules.ends_with('.'))
        };
        self.initializers.iter().any(is_it) || self.makers.keys().any(is_it)
    }

    /// The operation that makes a tensor, or the one that made what was only moved around since.
    fn maker_of(&self, name: &str) -> Option<&NodeProto> {
        let mut name = name;
        for _ in 0..MOST_MOVES {
            let node = self.direct_maker_of(name)?;
            if !moves_values(&node.op_type) {
                return Some(node);
            }
            name = node.input.first()?;
        }
        None
    }

    fn direct_maker_of(&self, name: &str) -> Option<&NodeProto> {
        self.nodes.get(*self.makers.get(name)?)
    }

    /// The operations that read a tensor of that name first-hand.
    pub fn readers_of(&self, name: &str) -> impl Iterator<Item = &str> {
        let reads = move |node: &&NodeProto| node.input.iter().any(|input| input == name);
        self.nodes.iter().filter(reads).map(|node| node.op_type.as_str())
    }

    /// Inputs and outputs with their types and shapes, for a person to read.
    pub fn describe(&self) -> String {
        format!("inputs {} and outputs {}", list(&self.inputs), list(&self.outputs))
    }
}

/// The inputs of an operation on two tensors: each may lead through the whole graph, and a file can list a million.
fn operands(node: &NodeProto) -> &[String] {
    &node.input[..node.input.len().min(2)]
}

/// More moves in a row than any exporter writes; a graph that goes in a circle has no end of them.
const MOST_MOVES: usize = 1000;

fn makers(nodes: &[NodeProto]) -> HashMap<String, usize> {
    let mut makers = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in &node.output {
            makers.entry(name.clone()).or_insert(index);
        }
    }
    makers
}

/// True for operations that only rearrange their first input.
fn moves_values(op_type: &str) -> bool {
    matches!(op_type, "Transpose" | "Reshape" | "Flatten" | "Identity" | "Slice" | "Split" | "Squeeze" | "Unsqueeze")
}

impl From<ValueInfo> for Value {
    fn from(info: ValueInfo) -> Self {
        let tensor = info.r#type.and_then(|r#type| r#type.tensor_type);
        let element = match tensor.as_ref().map_or(0, |tensor| tensor.elem_type) {
            1 => Element::F32,
            2 => Element::U8,
            6 => Element::I32,
            7 => Element::I64,
            10 => Element::F16,
            11 => Element::F64,
            other => Element::Other(other),
        };
        let shape = tensor.and_then(|tensor| tensor.shape);
        Self { name: info.name, element, shape: shape.map(|shape| shape.dim.into_iter().map(Into::into).collect()) }
    }
}

impl From<DimensionProto> for Dimension {
    fn from(dimension: DimensionProto) -> Self {
        match dimension.dim_value.and_then(|size| u32::try_from(size).ok()) {
            Some(size) if size > 0 => Self::Fixed(size),
            _ => Self::Open(dimension.dim_param.unwrap_or_default()),
        }
    }
}

/// At most this many inputs, outputs or dimensions are written out in a message.
const LISTED: usize = 8;
/// Characters of a name that are written out.
const LONGEST_NAME: usize = 80;

fn list(values: &[Value]) -> String {
    if values.is_empty() {
        return "(none)".to_owned();
    }
    let mut text: Vec<String> = values.iter().take(LISTED).map(Value::describe).collect();
    if values.len() > LISTED {
        text.push(format!("and {} more", values.len() - LISTED));
    }
    text.join(", ")
}

impl Value {
    fn describe(&self) -> String {
        format!("`{}` {} {}", shown(&self.name, LONGEST_NAME), self.element.describe(), self.describe_shape())
    }

    /// Such as `[1,3,?,?]`.
    pub fn describe_shape(&self) -> String {
        self.shape.as_ref().map_or_else(
            || "[unknown shape]".to_owned(),
            |shape| {
                let more = (shape.len() > LISTED).then(|| "…".to_owned());
                let sizes: Vec<_> = shape.iter().take(LISTED).map(Dimension::describe).chain(more).collect();
                format!("[{}]", sizes.join(","))
            },
        )
    }
}

impl Dimension {
    fn describe(&self) -> String {
        match self {
            Self::Fixed(size) => size.to_string(),
            Self::Open(name) if name.is_empty() => "?".to_owned(),
            Self::Open(name) => shown(name, LONGEST_NAME).into_owned(),
        }
    }
}

impl Element {
    /// The type's usual name, from `TensorProto.DataType` in onnx.proto.
    pub fn describe(self) -> String {
        let name = match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::F64 => "f64",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Other(3) => "i8",
            Self::Other(8) => "string",
            Self::Other(9) => "bool",
            Self::Other(16) => "bf16",
            Self::Other(0) => "no tensor",
            Self::Other(number) => return format!("element type {number}"),
        };
        name.to_owned()
    }
}
