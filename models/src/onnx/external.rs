//! Which files beside an ONNX file belong to it, and that no others are read.
//!
//! ONNX Runtime gets the files' bytes with the model's, and takes them for the weights and constants of the main graph.
//! What else says that its data is in a file, such as a weight of a graph inside an operation or a sparse one, it reads
//! by that name from the process's own folder: neither hashed nor in the model's folder. So that is refused.

use super::{AttributeProto, FunctionProto, GraphProto, LONGEST_NAME, NodeProto, SparseTensorProto, TensorProto};
use crate::error::shown;
use std::collections::BTreeSet;

/// The files' names without repeats, sorted; or what wants a file where it cannot have one.
pub fn files(graph: &GraphProto, functions: &[FunctionProto]) -> Result<Vec<String>, String> {
    let (constants, others): (Vec<&NodeProto>, Vec<&NodeProto>) =
        graph.node.iter().partition(|node| node.op_type == "Constant");
    sparse_tensors(&graph.sparse_initializer)?;
    nodes(others)?;
    let mut served: Vec<&TensorProto> = graph.initializer.iter().collect();
    for attribute in constants.into_iter().flat_map(|node| &node.attribute) {
        served.extend(&attribute.t);
        beside_its_tensor(attribute)?;
    }
    for function in functions {
        nodes(&function.node)?;
        function.attribute_proto.iter().try_for_each(whole_attribute)?;
    }
    let entries = served.into_iter().flat_map(|tensor| &tensor.external_data);
    let names: BTreeSet<&str> =
        entries.filter(|entry| entry.key == "location").map(|entry| entry.value.as_str()).collect();
    Ok(names.into_iter().map(str::to_owned).collect())
}

// From here on: an error for each tensor whose data is in a file. As deep as prost lets messages be.

fn inner_graph(graph: &GraphProto) -> Result<(), String> {
    tensors(&graph.initializer)?;
    sparse_tensors(&graph.sparse_initializer)?;
    nodes(&graph.node)
}

fn nodes<'a>(nodes: impl IntoIterator<Item = &'a NodeProto>) -> Result<(), String> {
    nodes.into_iter().flat_map(|node| &node.attribute).try_for_each(whole_attribute)
}

fn whole_attribute(attribute: &AttributeProto) -> Result<(), String> {
    tensors(&attribute.t)?;
    beside_its_tensor(attribute)
}

fn beside_its_tensor(attribute: &AttributeProto) -> Result<(), String> {
    tensors(&attribute.tensors)?;
    sparse_tensors(attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors))?;
    attribute.g.iter().chain(&attribute.graphs).try_for_each(inner_graph)
}

fn sparse_tensors<'a>(sparse: impl IntoIterator<Item = &'a SparseTensorProto>) -> Result<(), String> {
    sparse.into_iter().try_for_each(|sparse| tensors(sparse.values.iter().chain(&sparse.indices)))
}

fn tensors<'a>(tensors: impl IntoIterator<Item = &'a TensorProto>) -> Result<(), String> {
    let mut external = tensors.into_iter().filter(|tensor| !tensor.external_data.is_empty());
    external.next().map_or(Ok(()), |tensor| {
        let location = tensor.external_data.iter().find(|entry| entry.key == "location");
        Err(format!(
            "the data of its tensor `{}` is in another file ({:?}), as only that of dense weights and constants of the \
             main graph may be",
            shown(&tensor.name, LONGEST_NAME),
            shown(location.map_or("", |entry| &entry.value), LONGEST_NAME)
        ))
    })
}
