//! The names a pickle may mention: what `torch.save` and numpy write for weights and statistics, nothing else.

/// An allow-listed module member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `torch.FloatStorage` and its siblings.
    Storage(Storage),
    /// `torch.Size`.
    TorchSize,
    /// `numpy.core.multiarray._reconstruct`.
    NumpyReconstruct,
    /// `numpy.core.multiarray.scalar`.
    NumpyScalar,
    /// `numpy.core.numeric._frombuffer` (protocol 5).
    NumpyFromBuffer,
    /// `numpy.ndarray`.
    NumpyArray,
    /// `numpy.dtype`.
    NumpyDtype,
    /// `_codecs.encode`: how protocols 0 to 2 spell bytes.
    CodecsEncode,
}

/// Element types of a torch storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// bfloat16.
    BF16,
    /// Signed 64-bit.
    I64,
    /// Signed 32-bit.
    I32,
    /// Signed 16-bit.
    I16,
    /// Signed 8-bit.
    I8,
    /// Unsigned 8-bit.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

/// Looks a name up.
#[must_use]
pub fn lookup(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "Size") => Global::TorchSize,
        ("torch", storage) => Global::Storage(storage_named(storage)?),
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Global::NumpyReconstruct,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Global::NumpyScalar,
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::NumpyFromBuffer,
        ("numpy", "ndarray") => Global::NumpyArray,
        ("numpy", "dtype") => Global::NumpyDtype,
        ("_codecs", "encode") => Global::CodecsEncode,
        _ => return None,
    })
}

fn storage_named(name: &str) -> Option<Storage> {
    Some(match name {
        "DoubleStorage" => Storage::F64,
        "FloatStorage" => Storage::F32,
        "HalfStorage" => Storage::F16,
        "BFloat16Storage" => Storage::BF16,
        "LongStorage" => Storage::I64,
        "IntStorage" => Storage::I32,
        "ShortStorage" => Storage::I16,
        "CharStorage" => Storage::I8,
        "ByteStorage" => Storage::U8,
        "BoolStorage" => Storage::Bool,
        _ => return None,
    })
}
