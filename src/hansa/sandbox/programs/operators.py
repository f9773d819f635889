"""The operators of scripts that are known to leave nothing behind: no state, no work that runs on, no file."""

from typing import Final

_ARITHMETIC = """
    abs abs_ absolute acos add add_ addbmm addcdiv addcmul addmm addmv addr all amax amin aminmax angle any argmax
    argmin argsort asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_not bitwise_or bitwise_xor bmm ceil ceil_
    clamp clamp_ clamp_max clamp_max_ clamp_min clamp_min_ clip clip_ copysign cos cosh count_nonzero cross cummax
    cummin cumprod cumsum deg2rad diff digamma dist div div_ divide dot einsum eq erf erf_ erfc erfinv exp exp2 exp_
    expm1 fix floor floor_ floor_divide floordiv fmax fmin fmod frac ge gt histc hypot inner isclose isfinite isinf
    isnan isneginf isposinf kron kthvalue lcm le lerp lgamma log log10 log1p log2 log_ log_softmax logaddexp
    logaddexp2 logical_and logical_not logical_or logical_xor logit logsumexp lt masked_fill masked_fill_ matmul max
    maximum mean median min minimum mm mode mul mul_ multiply mv nan_to_num nanmean nanmedian nansum ne neg neg_
    negative norm not_equal outer polygamma pow pow_ prod quantile rad2deg reciprocal reciprocal_ remainder round
    round_ rsqrt rsqrt_ rsub sgn sigmoid sigmoid_ sign sin sinc sinh softmax sort special_erf special_expit sqrt
    sqrt_ square std std_mean sub sub_ subtract sum sum_to_size tan tanh tanh_ topk trace true_divide trunc
    unique_dim var var_mean where xlogy
"""
_SHAPES = """
    adjoint arange as_tensor atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat chunk clone
    column_stack concat concatenate contiguous copy_ detach diag diag_embed diagonal dim dsplit dstack empty
    empty_like expand expand_as eye fill fill_ flatten flip fliplr flipud full full_like gather hsplit hstack index
    index_add index_copy index_fill index_put index_put_ index_select is_contiguous is_floating_point linspace
    logspace masked_scatter masked_select meshgrid moveaxis movedim narrow new_empty new_full new_ones new_zeros
    nonzero nonzero_numpy numel one_hot ones ones_like permute ravel repeat repeat_interleave reshape reshape_as
    resolve_conj roll rot90 scalar_tensor scatter scatter_ scatter_add scatter_add_ select size slice split
    split_with_sizes squeeze squeeze_ stack stride sum_to_size swapaxes swapdims t take take_along_dim tensor
    tensor_split tensordot tile to transpose tril tril_indices triu triu_indices type_as unbind unflatten unfold
    unsqueeze unsqueeze_ view view_as vsplit vstack zero_ zeros zeros_like
"""
_LAYERS = """
    _convolution _native_multi_head_attention _nested_tensor_from_mask _nested_tensor_from_mask_left_aligned
    _transformer_encoder_layer_fwd _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    affine_grid_generator alpha_dropout alpha_dropout_ avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear celu
    celu_ channel_shuffle col2im constant_pad_nd conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d
    conv_transpose3d convolution cosine_similarity dropout dropout_ elu elu_ embedding embedding_bag
    feature_alpha_dropout feature_alpha_dropout_ feature_dropout feature_dropout_ gelu gelu_ glu grid_sampler
    group_norm gru gru_cell hardshrink hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ im2col
    instance_norm l1_loss layer_norm leaky_relu leaky_relu_ linear log_sigmoid lstm lstm_cell max_pool1d max_pool2d
    max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d mish mish_ mse_loss
    native_batch_norm native_group_norm native_layer_norm pad pairwise_distance pixel_shuffle pixel_unshuffle prelu
    reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 relu6_ relu_ replication_pad1d replication_pad2d
    replication_pad3d rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell rrelu scaled_dot_product_attention selu
    selu_ silu silu_ softplus softshrink threshold threshold_ to_padded_tensor unfold upsample_bicubic2d
    upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d
"""
_CHANCE = "bernoulli multinomial normal normal_ rand rand_like randint randint_like randn randn_like randperm uniform_"
"""From generators that begin anew with every call."""
_PLAIN = """
    Bool Complex Delete Float FloatImplicit Int IntImplicit ScalarImplicit __and__ __contains__ __derive_index
    __getitem__ __is__ __isnot__ __not__ __or__ __range_length __xor__ _set_item append ceil clear copy dict
    endswith extend floor format get hash insert is_autocast_enabled is_grad_enabled is_nonzero item items join keys
    len list lower mH mT mathremainder matrix_H numpy_T ord pop remove replace reverse sort sorted split startswith
    str strip update upper values warn
"""
_STEPS = """
    Constant DictConstruct GetAttr If ListConstruct ListUnpack Loop NumToTensor Print RaiseException TupleConstruct
    TupleIndex TupleSlice TupleUnpack Uninitialized abs data device dtype is_cpu is_cuda is_mkldnn is_mps is_nested
    is_quantized is_sparse is_xpu isinstance layout max min requires_grad shape type unchecked_cast
    unchecked_unwrap_optional
"""
STATELESS: Final = frozenset(
    f"aten::{name}" for names in (_ARITHMETIC, _SHAPES, _LAYERS, _CHANCE, _PLAIN) for name in names.split()
) | frozenset(f"prim::{name}" for name in _STEPS.split())
"""What each writes in place is told by its declaration, and looked at apart. A script with any other operator is run in
a process that ends with its answer: it may do what no declaration tells, as `fork` and `set_grad_enabled` do."""
