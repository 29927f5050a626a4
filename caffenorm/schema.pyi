"""Types of the messages of proto/caffe.proto. Made by tools/make_schema_stub.py; do not edit."""

from typing import ClassVar

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer, RepeatedScalarFieldContainer
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DESCRIPTOR: FileDescriptor

class _Message(Message):
    def __init__(self, **fields: object) -> None: ...

Type: EnumTypeWrapper
DOUBLE: int
FLOAT: int
FLOAT16: int
INT: int
UINT: int
BOOL: int

DataType: EnumTypeWrapper
CAFFE_FLOAT: int
CAFFE_HALF: int
CAFFE_DOUBLE: int
CAFFE_INT8_QUANTIZED: int
CAFFE_INT16_QUANTIZED: int
CAFFE_INT32_QUANTIZED: int
CAFFE_INT64_QUANTIZED: int
CAFFE_PACKED_BINARY: int

Phase: EnumTypeWrapper
TRAIN: int
TEST: int

DatumTypeInfo: EnumTypeWrapper
DatumTypeInfo_DATUM: int
DatumTypeInfo_ANNOTATED_DATUM: int

Packing: EnumTypeWrapper
NCHW: int
NHWC: int

Autotune: EnumTypeWrapper
CAFFE_AUTOTUNE_DISABLED: int
CAFFE_AUTOTUNE_FUNCTION: int
CAFFE_AUTOTUNE_FUNCTION_PARAMETER: int

QuantizerMode: EnumTypeWrapper
CAFFE_QUANT_PASSIVE: int
CAFFE_QUANT_OBSERVE: int
CAFFE_QUANT_PSEUDO: int

class BlobShape(_Message):
    @property
    def dim(self) -> RepeatedScalarFieldContainer[int]: ...

class BlobProto(_Message):
    @property
    def shape(self) -> BlobShape: ...
    @property
    def data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def diff(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def double_data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def double_diff(self) -> RepeatedScalarFieldContainer[float]: ...
    num: int
    channels: int
    height: int
    width: int
    data_type: int
    @property
    def shape_stride(self) -> BlobShape: ...
    packed_data: bytes
    packed_diff: bytes
    raw_data_type: int
    raw_diff_type: int
    raw_data: bytes
    raw_diff: bytes
    length: int

class BlobProtoVector(_Message):
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...

class Datum(_Message):
    channels: int
    height: int
    width: int
    data: bytes
    label: int
    @property
    def float_data(self) -> RepeatedScalarFieldContainer[float]: ...
    encoded: bool
    record_id: int
    seg_label: bytes
    @property
    def labels(self) -> RepeatedScalarFieldContainer[float]: ...

class FillerParameter(_Message):
    VarianceNorm: ClassVar[EnumTypeWrapper]
    FAN_IN: ClassVar[int]
    FAN_OUT: ClassVar[int]
    AVERAGE: ClassVar[int]
    type: str
    value: float
    min: float
    max: float
    mean: float
    std: float
    sparse: int
    variance_norm: int
    scale: float
    num_groups: int
    negative_slope: float
    alpha: float
    @property
    def diag_val(self) -> RepeatedScalarFieldContainer[float]: ...
    file: str

class NetParameter(_Message):
    name: str
    @property
    def input(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def input_shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    @property
    def input_dim(self) -> RepeatedScalarFieldContainer[int]: ...
    force_backward: bool
    @property
    def state(self) -> NetState: ...
    debug_info: bool
    @property
    def layer(self) -> RepeatedCompositeFieldContainer[LayerParameter]: ...
    @property
    def layers(self) -> RepeatedCompositeFieldContainer[V1LayerParameter]: ...
    data_type: int
    @property
    def quantizer(self) -> RepeatedCompositeFieldContainer[QuantizerParameter]: ...
    reduced_memory_inference: bool
    autotune: int
    default_forward_type: int
    default_backward_type: int
    default_forward_math: int
    default_backward_math: int
    global_grad_scale: float
    global_grad_scale_adaptive: bool
    default_conv_algos_override: str
    reduce_buckets: int
    default_cudnn_math_override: int
    eltwise_mem_sharing: bool
    @property
    def compile_net_state(self) -> CompileNetState: ...
    engine: str
    bn_stats_batch_size: int
    @property
    def multinode(self) -> MultinodeParameter: ...
    @property
    def mem_param(self) -> MemoryOptimizationParameter: ...
    profile_info: bool
    profile_iter: int
    profile_warmup: int

class NetState(_Message):
    phase: int
    level: int
    @property
    def stage(self) -> RepeatedScalarFieldContainer[str]: ...
    quantizer_mode: int

class NetStateRule(_Message):
    phase: int
    min_level: int
    max_level: int
    @property
    def stage(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def not_stage(self) -> RepeatedScalarFieldContainer[str]: ...

class ParamSpec(_Message):
    DimCheckMode: ClassVar[EnumTypeWrapper]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    name: str
    share_mode: int
    lr_mult: float
    decay_mult: float

class LayerParameter(_Message):
    name: str
    type: str
    @property
    def bottom(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def top(self) -> RepeatedScalarFieldContainer[str]: ...
    phase: int
    @property
    def loss_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def param(self) -> RepeatedCompositeFieldContainer[ParamSpec]: ...
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def propagate_down(self) -> RepeatedScalarFieldContainer[bool]: ...
    @property
    def include(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def exclude(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def accuracy_param(self) -> AccuracyParameter: ...
    @property
    def argmax_param(self) -> ArgMaxParameter: ...
    @property
    def batch_norm_param(self) -> BatchNormParameter: ...
    @property
    def bias_param(self) -> BiasParameter: ...
    @property
    def clip_param(self) -> ClipParameter: ...
    @property
    def concat_param(self) -> ConcatParameter: ...
    @property
    def contrastive_loss_param(self) -> ContrastiveLossParameter: ...
    @property
    def convolution_param(self) -> ConvolutionParameter: ...
    @property
    def crop_param(self) -> CropParameter: ...
    @property
    def data_param(self) -> DataParameter: ...
    @property
    def dropout_param(self) -> DropoutParameter: ...
    @property
    def dummy_data_param(self) -> DummyDataParameter: ...
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def elu_param(self) -> ELUParameter: ...
    @property
    def embed_param(self) -> EmbedParameter: ...
    @property
    def exp_param(self) -> ExpParameter: ...
    @property
    def flatten_param(self) -> FlattenParameter: ...
    @property
    def hdf5_data_param(self) -> HDF5DataParameter: ...
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    @property
    def hinge_loss_param(self) -> HingeLossParameter: ...
    @property
    def image_data_param(self) -> ImageDataParameter: ...
    @property
    def infogain_loss_param(self) -> InfogainLossParameter: ...
    @property
    def inner_product_param(self) -> InnerProductParameter: ...
    @property
    def input_param(self) -> InputParameter: ...
    @property
    def log_param(self) -> LogParameter: ...
    @property
    def loss_param(self) -> LossParameter: ...
    @property
    def lrn_param(self) -> LRNParameter: ...
    @property
    def memory_data_param(self) -> MemoryDataParameter: ...
    @property
    def mvn_param(self) -> MVNParameter: ...
    @property
    def parameter_param(self) -> ParameterParameter: ...
    @property
    def pooling_param(self) -> PoolingParameter: ...
    @property
    def power_param(self) -> PowerParameter: ...
    @property
    def prelu_param(self) -> PReLUParameter: ...
    @property
    def python_param(self) -> PythonParameter: ...
    @property
    def recurrent_param(self) -> RecurrentParameter: ...
    @property
    def reduction_param(self) -> ReductionParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def reshape_param(self) -> ReshapeParameter: ...
    @property
    def scale_param(self) -> ScaleParameter: ...
    @property
    def sigmoid_param(self) -> SigmoidParameter: ...
    @property
    def slice_param(self) -> SliceParameter: ...
    @property
    def softmax_param(self) -> SoftmaxParameter: ...
    @property
    def spp_param(self) -> SPPParameter: ...
    @property
    def swish_param(self) -> SwishParameter: ...
    @property
    def tanh_param(self) -> TanHParameter: ...
    @property
    def threshold_param(self) -> ThresholdParameter: ...
    @property
    def tile_param(self) -> TileParameter: ...
    @property
    def transform_param(self) -> TransformationParameter: ...
    @property
    def window_data_param(self) -> WindowDataParameter: ...
    bottom_data_type: int
    compute_data_type: int
    top_data_type: int
    @property
    def bottom_quantizer(self) -> RepeatedCompositeFieldContainer[QuantizerParameter]: ...
    @property
    def top_quantizer(self) -> RepeatedCompositeFieldContainer[QuantizerParameter]: ...
    @property
    def net_quantizer(self) -> QuantizerParameter: ...
    @property
    def blobs_quantizer(self) -> RepeatedCompositeFieldContainer[QuantizerParameter]: ...
    autotune: int
    device: int
    @property
    def bottom_shared_index(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def top_shared_index(self) -> RepeatedScalarFieldContainer[int]: ...
    buffer: int
    forward_type: int
    backward_type: int
    forward_math: int
    backward_math: int
    debug: bool
    cudnn_math_override: int
    engine: str
    reshape_every_iter: bool
    @property
    def accum_param(self) -> AccumParameter: ...
    @property
    def adaptive_bias_channel_param(self) -> AdaptiveBiasChannelParameter: ...
    @property
    def additive_margin_inner_product_param(self) -> AdditiveMarginInnerProductParameter: ...
    @property
    def affinity_param(self) -> AffinityParameter: ...
    @property
    def annotated_data_param(self) -> AnnotatedDataParameter: ...
    @property
    def asdn_data_param(self) -> AsdnDataParameter: ...
    @property
    def augmentation_param(self) -> AugmentationParameter: ...
    @property
    def batch_contrastive_loss_param(self) -> BatchContrastiveParameter: ...
    @property
    def batch_reduction_param(self) -> BatchReductionParameter: ...
    @property
    def batch_to_space_nd_param(self) -> BatchToSpaceNDParameter: ...
    @property
    def bbox_reg_param(self) -> BBoxRegParameter: ...
    @property
    def bias_channel_param(self) -> BiasChannelParameter: ...
    @property
    def bin_label_data_param(self) -> BinLabelDataParameter: ...
    @property
    def black_augmentation_param(self) -> BlackAugmentationParameter: ...
    @property
    def bn_param(self) -> BNParameter: ...
    @property
    def box_annotator_ohem_param(self) -> BoxAnnotatorOHEMParameter: ...
    @property
    def box_output_param(self) -> BoxOutputParameter: ...
    @property
    def broadcast_to_param(self) -> BroadcastToParameter: ...
    @property
    def center_loss_param(self) -> CenterLossParameter: ...
    @property
    def channel_permutation_param(self) -> ChannelPermutationParameter: ...
    @property
    def channel_scale_param(self) -> ChannelScaleParameter: ...
    @property
    def coeff_schedule_param(self) -> CoeffScheduleParameter: ...
    @property
    def confidence_penalty_loss_param(self) -> ConfidencePenaltyLossParameter: ...
    @property
    def convolution3d_param(self) -> Convolution3DParameter: ...
    @property
    def correlation_param(self) -> CorrelationParameter: ...
    @property
    def cosin_add_m_param(self) -> CosinAddmParameter: ...
    @property
    def cosin_mul_m_param(self) -> CosinMulmParameter: ...
    @property
    def cosine_similarity_batch_param(self) -> CosineSimilarityBatchParameter: ...
    @property
    def coupled_cluster_loss_param(self) -> CoupledClusterLossParameter: ...
    @property
    def cpm_transform_param(self) -> CPMTransformationParameter: ...
    @property
    def crelu_param(self) -> CReLUParameter: ...
    @property
    def crop_and_resize_param(self) -> CropAndResizeParameter: ...
    @property
    def ctc_decoder_param(self) -> CTCDecoderParameter: ...
    @property
    def ctc_loss_param(self) -> CTCLossParameter: ...
    @property
    def ctc_param(self) -> CTCParameter: ...
    @property
    def decode_bbox_param(self) -> DecodeBBoxParameter: ...
    @property
    def deformable_convolution_param(self) -> DeformableConvolutionParameter: ...
    @property
    def dense_crf_param(self) -> DenseCRFParameter: ...
    @property
    def dense_image_data_param(self) -> DenseImageDataParameter: ...
    @property
    def densecrf_param(self) -> DenseCRFParameter: ...
    @property
    def depth_to_space_param(self) -> DepthToSpaceParameter: ...
    @property
    def detection_accuracy_param(self) -> DetectionAccuracyParameter: ...
    @property
    def detection_evaluate_param(self) -> DetectionEvaluateParameter: ...
    @property
    def detection_loss_param(self) -> DetectionLossParameter: ...
    @property
    def detection_output_param(self) -> DetectionOutputParameter: ...
    @property
    def detectnet_augmentation_param(self) -> DetectNetAugmentationParameter: ...
    @property
    def detectnet_groundtruth_param(self) -> DetectNetGroundTruthParameter: ...
    @property
    def domain_transform_param(self) -> DomainTransformParameter: ...
    @property
    def downsample_param(self) -> DownsampleParameter: ...
    @property
    def eltwise_affine_param(self) -> EltwiseAffineParameter: ...
    @property
    def eval_detection_param(self) -> EvalDetectionParameter: ...
    @property
    def expand_dims_nd_param(self) -> ExpandDimsNDParameter: ...
    @property
    def fcn_data_param(self) -> FCNDataParameter: ...
    @property
    def feature_decay_loss_param(self) -> FeatureDecayLossParameter: ...
    @property
    def flip_param(self) -> FlipParameter: ...
    @property
    def flow_warp_param(self) -> FlowWarpParameter: ...
    @property
    def focal_loss_param(self) -> FocalLossParameter: ...
    @property
    def gather_nd_param(self) -> GatherNDParameter: ...
    @property
    def gather_param(self) -> GatherParameter: ...
    @property
    def gather_v2_param(self) -> GatherV2Parameter: ...
    @property
    def gemm_param(self) -> GemmParameter: ...
    @property
    def general_contrastive_loss_param(self) -> GeneralContrastiveParameter: ...
    @property
    def general_triplet_loss_param(self) -> GeneralTripletParameter: ...
    @property
    def grn_param(self) -> GRNParameter: ...
    @property
    def hard_sigmoid_param(self) -> HardSigmoidParameter: ...
    @property
    def hotspot_param(self) -> HotspotParameter: ...
    @property
    def image_gt_data_param(self) -> ImageGtDataParameter: ...
    @property
    def image_label_data_param(self) -> ImageLabelDataParameter: ...
    @property
    def infimum_loss_param(self) -> InfimumLossParamter: ...
    @property
    def inner_distance_param(self) -> InnerDistanceParameter: ...
    @property
    def insanity_param(self) -> InsanityParameter: ...
    @property
    def interp_param(self) -> InterpParameter: ...
    @property
    def l1_loss_param(self) -> L1LossParameter: ...
    @property
    def label_specific_add_param(self) -> LabelSpecificAddParameter: ...
    @property
    def label_specific_affine_param(self) -> LabelSpecificAffineParameter: ...
    @property
    def label_specific_hard_margin_param(self) -> LabelSpecificHardMarginParameter: ...
    @property
    def label_specific_margin_param(self) -> LabelSpecificMarginParameter: ...
    @property
    def label_specific_rescale_param(self) -> LabelSpecificRescaleParameter: ...
    @property
    def largemargin_inner_product_param(self) -> LargeMarginInnerProductParameter: ...
    @property
    def layer_norm_param(self) -> LayerNormParameter: ...
    @property
    def loc_loss_param(self) -> LocLossParameter: ...
    @property
    def local_param(self) -> LocalParameter: ...
    @property
    def log_softmax_param(self) -> LogSoftmaxParameter: ...
    @property
    def loss_statistic_param(self) -> LossStatisticParameter: ...
    @property
    def lp_normalization_param(self) -> LpNormalizationParameter: ...
    @property
    def lpq_loss_param(self) -> LpqLossParameter: ...
    @property
    def lstm_param(self) -> LSTMParameter: ...
    @property
    def margin_inner_product_param(self) -> MarginInnerProductParameter: ...
    @property
    def mask_param(self) -> TransformationParameter: ...
    @property
    def mask_resize_param(self) -> MaskResizeParameter: ...
    @property
    def mat_read_param(self) -> MatReadParameter: ...
    @property
    def mat_write_param(self) -> MatWriteParameter: ...
    @property
    def matmul_param(self) -> MatMulParameter: ...
    @property
    def mean_param(self) -> MeanParameter: ...
    @property
    def mergecrop_param(self) -> MergeCropParameter: ...
    @property
    def mil_data_param(self) -> MILDataParameter: ...
    @property
    def mil_param(self) -> MILParameter: ...
    @property
    def mirror_pad_param(self) -> MirrorPadParameter: ...
    @property
    def mn_activation_param(self) -> MnActivationParameter: ...
    @property
    def mn_grad_compress_param(self) -> MnParamGradCompressParameter: ...
    @property
    def moe_param(self) -> MOEParameter: ...
    @property
    def mtcnn_data_param(self) -> MTCNNDataParameter: ...
    @property
    def mul_param(self) -> MulParameter: ...
    @property
    def multi_stage_meanfield_param(self) -> MultiStageMeanfieldParameter: ...
    @property
    def multibox_loss_param(self) -> MultiBoxLossParameter: ...
    @property
    def multinode(self) -> MultinodeLayerParameter: ...
    @property
    def nca_param(self) -> NCAParameter: ...
    @property
    def nms_param(self) -> NMSParameter: ...
    @property
    def noise_param(self) -> NoiseParameter: ...
    @property
    def non_max_suppression_param(self) -> NonMaxSuppressionParameter: ...
    @property
    def norm_param(self) -> NormalizeParameter: ...
    @property
    def normalize_param(self) -> NormalizeParameter: ...
    @property
    def one_hot_param(self) -> OneHotParameter: ...
    @property
    def op_transform_param(self) -> OPTransformationParameter: ...
    @property
    def ordinal_regression_loss_param(self) -> OrdinalRegressionParameter: ...
    @property
    def pad_param(self) -> PadParameter: ...
    @property
    def pairwise_param(self) -> PairwiseParameter: ...
    @property
    def parse_evaluate_param(self) -> ParseEvaluateParameter: ...
    @property
    def pass_through_param(self) -> PassThroughParameter: ...
    @property
    def permute_param(self) -> PermuteParameter: ...
    @property
    def pooling3d_param(self) -> Pooling3DParameter: ...
    @property
    def power_file_param(self) -> PowerFileParameter: ...
    @property
    def predict_box_param(self) -> PredictBoxParameter: ...
    @property
    def prior_box_param(self) -> PriorBoxParameter: ...
    @property
    def proposal_param(self) -> ProposalParameter: ...
    @property
    def proposal_target_param(self) -> ProposalTargetParameter: ...
    @property
    def psroi_pooling_param(self) -> PSROIPoolingParameter: ...
    @property
    def pyramid_roi_align_param(self) -> PyramidROIAlignParameter: ...
    @property
    def quantization_param(self) -> QuantizationParameter: ...
    @property
    def reader_param(self) -> ReaderParameter: ...
    @property
    def reduce_l1_param(self) -> ReduceL1Parameter: ...
    @property
    def reduce_l2_param(self) -> ReduceL2Parameter: ...
    @property
    def reduce_logsumexp_param(self) -> ReduceLogSumExpParameter: ...
    @property
    def reduce_max_param(self) -> ReduceMaxParameter: ...
    @property
    def reduce_mean_param(self) -> ReduceMeanParameter: ...
    @property
    def reduce_min_param(self) -> ReduceMinParameter: ...
    @property
    def reduce_prod_param(self) -> ReduceProdParameter: ...
    @property
    def reduce_sum_param(self) -> ReduceSumParameter: ...
    @property
    def region_loss_param(self) -> RegionLossParameter: ...
    @property
    def region_param(self) -> RegionParameter: ...
    @property
    def region_yolo_param(self) -> RegionYoloParameter: ...
    @property
    def relu6_param(self) -> ReLUParameter: ...
    @property
    def reorg_param(self) -> ReorgParameter: ...
    @property
    def reorg_yolo_param(self) -> ReorgYoloParameter: ...
    @property
    def repack_param(self) -> RepackParameter: ...
    @property
    def resample_param(self) -> ResampleParameter: ...
    @property
    def resize_bilinear_param(self) -> ResizeBilinearParameter: ...
    @property
    def resize_nearest_neighbor_param(self) -> ResizeNearestNeighborParameter: ...
    @property
    def resize_param(self) -> ResizeParameter: ...
    @property
    def reverse_param(self) -> ReverseParameter: ...
    @property
    def reverse_sequence_param(self) -> ReverseSequenceParameter: ...
    @property
    def ring_pad_param(self) -> RingPadParameter: ...
    @property
    def roi_align_param(self) -> ROIAlignParameter: ...
    @property
    def roi_pooling_param(self) -> ROIPoolingParameter: ...
    @property
    def roi_warping_param(self) -> ROIWarpingParameter: ...
    @property
    def rpn_param(self) -> RPNParameter: ...
    @property
    def rss_loss_param(self) -> RandomSamplingSoftmaxLossParameter: ...
    @property
    def running_average_param(self) -> RunningAverageParameter: ...
    @property
    def scaled_tanh_param(self) -> ScaledTanHParameter: ...
    @property
    def scatter_nd_param(self) -> ScatterNDParameter: ...
    @property
    def seg_accuracy_param(self) -> SegAccuracyParameter: ...
    @property
    def seg_data_param(self) -> SegDataParameter: ...
    @property
    def segmentation_evaluate_param(self) -> SegmentationEvaluateParameter: ...
    @property
    def selu_param(self) -> SeLUParameter: ...
    @property
    def shuffle_channel_param(self) -> ShuffleChannelParameter: ...
    @property
    def smooth_l1_loss_param(self) -> SmoothL1LossParameter: ...
    @property
    def smoothl1_param(self) -> SmoothL1Parameter: ...
    @property
    def soft_contrastive_loss_param(self) -> SoftContrastiveParameter: ...
    @property
    def soft_truncation_param(self) -> SoftTruncationParameter: ...
    @property
    def space_to_batch_nd_param(self) -> SpaceToBatchNDParameter: ...
    @property
    def space_to_depth_param(self) -> SpaceToDepthParameter: ...
    @property
    def spatial_dropout_param(self) -> SpatialDropoutParameter: ...
    @property
    def split_param(self) -> SplitParameter: ...
    @property
    def squeeze_param(self) -> SqueezeParameter: ...
    @property
    def st_loss_param(self) -> STLossParameter: ...
    @property
    def st_param(self) -> SpatialTransformerParameter: ...
    @property
    def stack_param(self) -> StackParameter: ...
    @property
    def statistical_loss_param(self) -> StatisticalLossParameter: ...
    @property
    def strided_slice_param(self) -> StridedSliceParameter: ...
    @property
    def sub_region_param(self) -> SubRegionParameter: ...
    @property
    def sum_pooling_param(self) -> SumPoolingParameter: ...
    @property
    def thresholded_relu_param(self) -> ThresholdedReLUParameter: ...
    @property
    def tile_nd_param(self) -> TileNDParameter: ...
    @property
    def transpose_param(self) -> TransposeParameter: ...
    @property
    def triplet_loss_param(self) -> TripletLossParameter: ...
    @property
    def trt_param(self) -> TRTParameter: ...
    @property
    def truncation_param(self) -> TruncationParameter: ...
    @property
    def unique_label_param(self) -> UniqueLabelParameter: ...
    @property
    def unpooling_param(self) -> UnpoolingParameter: ...
    @property
    def unstack_param(self) -> UnstackParameter: ...
    @property
    def upsample_darknet_param(self) -> UpsampleDarknetParameter: ...
    @property
    def upsample_param(self) -> UpsampleParameter: ...
    @property
    def video_data_param(self) -> VideoDataParameter: ...
    @property
    def writer_param(self) -> WriterParameter: ...
    @property
    def yolo_detection_output_param(self) -> YoloDetectionOutputParameter: ...
    @property
    def yolo_seg_param(self) -> YoloSegParameter: ...
    @property
    def yolov3_detection_output_param(self) -> Yolov3DetectionOutputParameter: ...
    @property
    def yolov3_param(self) -> Yolov3Parameter: ...
    @property
    def instance_norm_param(self) -> InstanceNormParameter: ...
    @property
    def group_norm_param(self) -> GroupNormParameter: ...
    @property
    def gn_param(self) -> GroupNormParameter: ...

class SolverParameter(_Message):
    SnapshotFormat: ClassVar[EnumTypeWrapper]
    HDF5: ClassVar[int]
    BINARYPROTO: ClassVar[int]
    SolverMode: ClassVar[EnumTypeWrapper]
    CPU: ClassVar[int]
    GPU: ClassVar[int]
    SolverType: ClassVar[EnumTypeWrapper]
    SGD: ClassVar[int]
    NESTEROV: ClassVar[int]
    ADAGRAD: ClassVar[int]
    RMSPROP: ClassVar[int]
    ADADELTA: ClassVar[int]
    ADAM: ClassVar[int]
    SAG: ClassVar[int]
    net: str
    @property
    def net_param(self) -> NetParameter: ...
    train_net: str
    @property
    def test_net(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def train_net_param(self) -> NetParameter: ...
    @property
    def test_net_param(self) -> RepeatedCompositeFieldContainer[NetParameter]: ...
    @property
    def train_state(self) -> NetState: ...
    @property
    def test_state(self) -> RepeatedCompositeFieldContainer[NetState]: ...
    @property
    def test_iter(self) -> RepeatedScalarFieldContainer[int]: ...
    test_interval: int
    test_compute_loss: bool
    test_initialization: bool
    base_lr: float
    display: int
    average_loss: int
    max_iter: int
    iter_size: int
    lr_policy: str
    gamma: float
    power: float
    momentum: float
    weight_decay: float
    regularization_type: str
    stepsize: int
    @property
    def stepvalue(self) -> RepeatedScalarFieldContainer[int]: ...
    clip_gradients: float
    snapshot: int
    snapshot_prefix: str
    snapshot_diff: bool
    snapshot_format: int
    solver_mode: int
    device_id: int
    random_seed: int
    type: str
    delta: float
    momentum2: float
    rms_decay: float
    debug_info: bool
    snapshot_after_train: bool
    solver_type: int
    layer_wise_reduce: bool
    @property
    def weights(self) -> RepeatedScalarFieldContainer[str]: ...
    data_type: int
    device: int
    eval_type: str
    ap_version: str
    show_per_class_result: bool
    rampup_interval: int
    rampup_lr: float
    min_lr: float
    momentum_policy: str
    max_momentum: float
    momentum_power: float
    larc: bool
    larc_policy: str
    larc_eta: float
    larc_turbo: bool
    weight_decay_policy: str
    weight_decay_power: float
    max_weight_decay: float
    @property
    def plateau_winsize(self) -> RepeatedScalarFieldContainer[int]: ...
    solver_data_type: int
    store_blobs_in_old_format: bool
    test_and_snapshot_last_epochs: int
    per_parameter_reduce: bool
    @property
    def stagelr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def stageiter(self) -> RepeatedScalarFieldContainer[int]: ...
    disabled_update: bool
    engine: str
    warmup_iter: int
    warmup_start_lr: float
    local_lr_auto: bool
    local_gw_ratio: float
    test_offset: int
    log_avg_gradient_norm: bool
    test_before_snapshot: bool
    @property
    def group_id(self) -> RepeatedScalarFieldContainer[int]: ...
    richness: int
    update_interval: int
    clamp_weights_lower: float
    clamp_weights_upper: float
    clip_weights: float
    stepearly: int

class SolverState(_Message):
    iter: int
    learned_net: str
    @property
    def history(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    current_step: int
    minimum_loss: float
    iter_last_event: int

class MultiPhaseSolverParameter(_Message):
    @property
    def params_pair(self) -> RepeatedCompositeFieldContainer[SolverBatchSizePair]: ...

class SolverBatchSizePair(_Message):
    @property
    def solver_params(self) -> SolverParameter: ...
    batch_size: int

class TransformationParameter(_Message):
    InterpolationAlgo: ClassVar[EnumTypeWrapper]
    INTER_NEAREST: ClassVar[int]
    INTER_LINEAR: ClassVar[int]
    INTER_CUBIC: ClassVar[int]
    INTER_AREA: ClassVar[int]
    scale: float
    mirror: bool
    crop_size: int
    mean_file: str
    @property
    def mean_value(self) -> RepeatedScalarFieldContainer[float]: ...
    force_color: bool
    force_gray: bool
    img_rand_resize_lower: int
    img_rand_resize_upper: int
    rand_resize_ratio_lower: float
    rand_resize_ratio_upper: float
    vertical_stretch_lower: float
    vertical_stretch_upper: float
    horizontal_stretch_lower: float
    horizontal_stretch_upper: float
    interpolation_algo_down: int
    interpolation_algo_up: int
    allow_upscale: bool
    forward_packing: int
    crop_h: int
    crop_w: int
    use_gpu_transform: bool
    random_seed: int
    display: bool
    num_labels: int
    @property
    def resize_param(self) -> RepeatedCompositeFieldContainer[ResizeParameter]: ...
    @property
    def noise_param(self) -> NoiseParameter: ...
    @property
    def distort_param(self) -> DistortionParameter: ...
    @property
    def expand_param(self) -> ExpansionParameter: ...
    @property
    def emit_constraint(self) -> EmitConstraint: ...
    @property
    def random_resize_param(self) -> RandomResizeParameter: ...
    @property
    def random_aspect_ratio_param(self) -> RandomAspectRatioParameter: ...
    flow: bool
    bgr2rgb: bool
    pad: int
    vertical_mirror: bool
    random_90_deg_rot: bool
    @property
    def scale_factors(self) -> RepeatedScalarFieldContainer[float]: ...
    crop_width: int
    crop_height: int
    fix_crop: bool
    more_fix_crop: bool
    multi_scale: bool
    @property
    def scale_ratios(self) -> RepeatedScalarFieldContainer[float]: ...
    max_distort: int
    is_flow: bool
    original_image: bool
    stride: int
    upper_size: int
    upper_height: int
    upper_width: int
    multiscale: bool
    min_scaling_factor: float
    max_scaling_factor: float
    angle_interval: float
    min_shear_bxy: float
    max_shear_bxy: float
    max_perspective_ratio: float
    warp_fillval: float
    debug_display: bool
    contrast_adjustment: bool
    smooth_filtering: bool
    jpeg_compression: bool
    center_crop: bool
    erase_ratio: float
    scale_min: float
    scale_max: float
    aspect_min: float
    aspect_max: float
    enable_classf_aug: bool
    max_rotation_angle: int
    contrast_brightness_adjustment: bool
    min_contrast: float
    max_contrast: float
    max_brightness_shift: int
    max_smooth: float
    max_color_shift: int
    min_side_min: int
    min_side_max: int
    min_side: int
    apply_probability: float
    debug_params: bool
    cvt_bgr2rgb: bool
    max_shearing_ratio: float

class DataParameter(_Message):
    DB: ClassVar[EnumTypeWrapper]
    LEVELDB: ClassVar[int]
    LMDB: ClassVar[int]
    DATUMFILE: ClassVar[int]
    CHANNELENCODING: ClassVar[EnumTypeWrapper]
    UINT8: ClassVar[int]
    UINT16FLOW: ClassVar[int]
    BOOL1: ClassVar[int]
    RANDPERMORDER: ClassVar[EnumTypeWrapper]
    FIRST_PERMUTE_THEN_RANGE: ClassVar[int]
    FIRST_RANGE_THEN_PERMUTE: ClassVar[int]
    source: str
    batch_size: int
    rand_skip: int
    backend: int
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    force_encoded_color: bool
    prefetch: int
    threads: int
    parser_threads: int
    cache: bool
    shuffle: bool
    precache: bool
    @property
    def side(self) -> RepeatedScalarFieldContainer[int]: ...
    shuffle_buffer_size: int
    num_label: int
    disk_reader_threads: int
    huge_video_dataset: bool
    limit_samples: int
    preselection_file: str
    preselection_label: int
    range_start: int
    range_end: int
    rand_permute: bool
    rand_permute_order: int
    rand_permute_seed: int
    @property
    def slice_point(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def encoding(self) -> RepeatedScalarFieldContainer[int]: ...
    verbose: bool
    @property
    def subtract(self) -> RepeatedScalarFieldContainer[float]: ...
    permute_every_iter: int
    block_size: int
    show_data: int

class DummyDataParameter(_Message):
    @property
    def data_filler(self) -> RepeatedCompositeFieldContainer[FillerParameter]: ...
    @property
    def shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    @property
    def num(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def channels(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def height(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def width(self) -> RepeatedScalarFieldContainer[int]: ...

class HDF5DataParameter(_Message):
    source: str
    batch_size: int
    shuffle: bool

class HDF5OutputParameter(_Message):
    file_name: str

class ImageDataParameter(_Message):
    LabelType: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    IMAGE: ClassVar[int]
    PIXEL: ClassVar[int]
    BBX: ClassVar[int]
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    root_folder: str
    short_side: int
    threads: int
    cache: bool
    precache: bool
    dataset_share_per_node: float
    min_height: int
    min_width: int
    ignore_label: int
    label_type: int
    face_transform: bool
    max_shear_ratio: float
    max_aspect_ratio: float
    max_rotate_angle: float
    min_random_scale: float
    max_random_scale: float
    max_random_shift: int
    face_mirror: bool
    face_point_num: int
    balance_class: bool
    balance_by: int
    label_cut_start: int
    label_cut_end: int
    new_length: int
    show_data: int
    use_image: bool
    sampling_rate: int
    use_label: bool
    use_temporal_jitter: bool
    mean_value: float
    num_truth_channels: int
    use_byte_input: bool
    is_flow: bool
    truth_scale: float
    clip_min: float
    clip_max: float
    label_divide_factor: int
    has_label: bool

class InputParameter(_Message):
    @property
    def shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...

class MemoryDataParameter(_Message):
    batch_size: int
    channels: int
    height: int
    width: int
    @property
    def dim(self) -> RepeatedScalarFieldContainer[int]: ...
    transpose: bool
    length: int

class ParameterParameter(_Message):
    @property
    def shape(self) -> BlobShape: ...
    @property
    def blob_filler(self) -> FillerParameter: ...

class PythonParameter(_Message):
    module: str
    layer: str
    param_str: str
    share_in_parallel: bool

class WindowDataParameter(_Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    fg_threshold: float
    bg_threshold: float
    fg_fraction: float
    context_pad: int
    crop_mode: str
    cache_images: bool
    root_folder: str

class ConvolutionParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    LIBDNN: ClassVar[int]
    INTEL_SPATIAL: ClassVar[int]
    FFT: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    FuseType: ClassVar[EnumTypeWrapper]
    UNFUSED: ClassVar[int]
    FUSED_CONV_MAX_POOLING_RELU: ClassVar[int]
    FUSED_CONV_RELU: ClassVar[int]
    FUSED_CONV_ELTWISE_RELU: ClassVar[int]
    CuDNNConvolutionAlgorithmSeeker: ClassVar[EnumTypeWrapper]
    GET: ClassVar[int]
    FINDEX: ClassVar[int]
    FusionType: ClassVar[EnumTypeWrapper]
    NONE_FUSION: ClassVar[int]
    SUM_FUSION: ClassVar[int]
    TFPaddingMethod: ClassVar[EnumTypeWrapper]
    SAME: ClassVar[int]
    VALID: ClassVar[int]
    num_output: int
    bias_term: bool
    @property
    def pad(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def kernel_size(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def stride(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def dilation(self) -> RepeatedScalarFieldContainer[int]: ...
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    group: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    engine: int
    axis: int
    force_nd_im2col: bool
    fuse_type: int
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def kstride(self) -> RepeatedScalarFieldContainer[int]: ...
    kstride_h: int
    kstride_w: int
    cudnn_convolution_algo_seeker: int
    conv_algos_override: str
    relu: bool
    negative_slope: float
    conv_algorithm: str
    @property
    def coeff(self) -> RepeatedScalarFieldContainer[float]: ...
    fusion_type: int
    tf_pad: int
    filter_stride: int
    filter_stride_h: int
    filter_stride_w: int
    hole: int
    hole_h: int
    hole_w: int
    dilation_h: int
    dilation_w: int
    @property
    def shape_offset(self) -> RepeatedScalarFieldContainer[int]: ...
    kernel_depth: int
    temporal_stride: int
    filter_group: int
    temporal_pad: int
    @property
    def pad_shape(self) -> BlobShape: ...
    @property
    def kernel_shape(self) -> BlobShape: ...
    @property
    def stride_shape(self) -> BlobShape: ...
    binary: int
    pad_type: int
    pad_l: int
    pad_r: int
    pad_t: int
    pad_b: int

class InnerProductParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKLDNN: ClassVar[int]
    num_output: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    axis: int
    transpose: bool
    engine: int
    relu: bool
    negative_slope: float
    normalize: bool

class EmbedParameter(_Message):
    num_output: int
    input_dim: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...

class PoolingParameter(_Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    DEF: ClassVar[int]
    DEF_ALL: ClassVar[int]
    DEF_ALL2: ClassVar[int]
    DEF_ALL3: ClassVar[int]
    DEF_ALL4: ClassVar[int]
    LOWRES: ClassVar[int]
    AVE_EXC_PAD: ClassVar[int]
    AVE_TF: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    LIBDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    RoundMode: ClassVar[EnumTypeWrapper]
    CEIL: ClassVar[int]
    FLOOR: ClassVar[int]
    pool: int
    pad: int
    pad_h: int
    pad_w: int
    kernel_size: int
    kernel_h: int
    kernel_w: int
    stride: int
    stride_h: int
    stride_w: int
    engine: int
    global_pooling: bool
    round_mode: int
    @property
    def dilation(self) -> RepeatedScalarFieldContainer[int]: ...
    axis: int
    @property
    def kstride(self) -> RepeatedScalarFieldContainer[int]: ...
    kstride_h: int
    kstride_w: int
    torch_pooling: bool
    @property
    def pad_3d(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def kernel_size_3d(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def stride_3d(self) -> RepeatedScalarFieldContainer[int]: ...
    avg_include_pad: bool
    bin_size: int
    bin_h: int
    bin_w: int
    blobs_lr: float
    blobs_a_min: float
    kernel_depth: int
    temporal_stride: int
    @property
    def pad_shape(self) -> BlobShape: ...
    @property
    def kernel_shape(self) -> BlobShape: ...
    @property
    def stride_shape(self) -> BlobShape: ...
    ceil_mode: bool
    pad_type: int
    pad_l: int
    pad_r: int
    pad_t: int
    pad_b: int

class SPPParameter(_Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    AVE_EXC_PAD: ClassVar[int]
    AVE_TF: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    pyramid_height: int
    pool: int
    engine: int

class LRNParameter(_Message):
    NormRegion: ClassVar[EnumTypeWrapper]
    ACROSS_CHANNELS: ClassVar[int]
    WITHIN_CHANNEL: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    FuseType: ClassVar[EnumTypeWrapper]
    UNFUSED: ClassVar[int]
    FUSED_POOL_MAX: ClassVar[int]
    local_size: int
    alpha: float
    beta: float
    norm_region: int
    k: float
    engine: int
    fuse_type: int
    @property
    def pooling_param(self) -> PoolingParameter: ...
    unit_test_mode: bool
    unit_test_fuse_kernel: bool

class MVNParameter(_Message):
    normalize_variance: bool
    across_channels: bool
    eps: float
    add_eps_before_sqrt: bool

class BatchNormParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    use_global_stats: bool
    moving_average_fraction: float
    eps: float
    fused_relu: bool
    @property
    def scale_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    scale_bias: bool
    engine: int
    use_weight_bias: bool
    bias_term: bool
    @property
    def filler(self) -> FillerParameter: ...
    stats_batch_size: int
    relu: bool
    update_global_stats: bool
    disable_mean: bool
    disable_variance: bool
    use_alpha_beta: bool
    add_eps_before_sqrt: bool
    icnet: bool

class ScaleParameter(_Message):
    axis: int
    num_axes: int
    @property
    def filler(self) -> FillerParameter: ...
    bias_term: bool
    @property
    def bias_filler(self) -> FillerParameter: ...
    min_value: float
    max_value: float

class BiasParameter(_Message):
    axis: int
    num_axes: int
    @property
    def filler(self) -> FillerParameter: ...

class RecurrentParameter(_Message):
    num_output: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    debug_info: bool
    expose_hidden: bool
    default_initial: bool
    continue_recur: bool
    tf_rnn: bool
    linear_before_reset: int
    direction: str
    @property
    def activation_alpha(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def activation_beta(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def activations(self) -> RepeatedScalarFieldContainer[str]: ...

class ClipParameter(_Message):
    min: float
    max: float

class DropoutParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    dropout_ratio: float
    scale_train: bool
    engine: int
    random_seed: int
    sample_weights_test: bool
    sqrt_scale: bool

class ELUParameter(_Message):
    alpha: float

class EltwiseParameter(_Message):
    EltwiseOp: ClassVar[EnumTypeWrapper]
    PROD: ClassVar[int]
    SUM: ClassVar[int]
    MAX: ClassVar[int]
    STOCHASTIC_SUM: ClassVar[int]
    SORT: ClassVar[int]
    DIV: ClassVar[int]
    MIN: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    operation: int
    @property
    def coeff(self) -> RepeatedScalarFieldContainer[float]: ...
    stable_prod_grad: bool
    engine: int
    coeff_blob: bool
    axis: int

class ExpParameter(_Message):
    base: float
    scale: float
    shift: float

class LogParameter(_Message):
    base: float
    scale: float
    shift: float

class PowerParameter(_Message):
    power: float
    scale: float
    shift: float

class PReLUParameter(_Message):
    @property
    def filler(self) -> FillerParameter: ...
    channel_shared: bool
    init_value: float

class ReLUParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    negative_slope: float
    engine: int
    fuse: bool
    upper_limit: int
    relu6: bool
    maximum: float
    minimum: float

class SigmoidParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    engine: int

class SwishParameter(_Message):
    beta: float

class TanHParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    engine: int

class ThresholdParameter(_Message):
    threshold: float

class ArgMaxParameter(_Message):
    out_max_val: bool
    top_k: int
    axis: int
    min_first: bool

class ConcatParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    axis: int
    concat_dim: int
    per_fla_fuse: bool
    engine: int

class CropParameter(_Message):
    axis: int
    @property
    def offset(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def dimsize(self) -> RepeatedScalarFieldContainer[int]: ...

class FlattenParameter(_Message):
    axis: int
    end_axis: int

class ReductionParameter(_Message):
    ReductionOp: ClassVar[EnumTypeWrapper]
    SUM: ClassVar[int]
    ASUM: ClassVar[int]
    SUMSQ: ClassVar[int]
    MEAN: ClassVar[int]
    TOPK: ClassVar[int]
    operation: int
    axis: int
    coeff: float
    k: int

class ReshapeParameter(_Message):
    @property
    def shape(self) -> BlobShape: ...
    axis: int
    num_axes: int
    pixelshuffler: int

class SliceParameter(_Message):
    axis: int
    @property
    def slice_point(self) -> RepeatedScalarFieldContainer[int]: ...
    slice_dim: int

class SoftmaxParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    engine: int
    axis: int
    hard_ratio: float
    @property
    def class_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    hard_mining_label: int
    cutting_point: float
    normalize_type: str
    label_smooth_factor: float

class TileParameter(_Message):
    axis: int
    tiles: int

class LossParameter(_Message):
    NormalizationMode: ClassVar[EnumTypeWrapper]
    FULL: ClassVar[int]
    VALID: ClassVar[int]
    BATCH_SIZE: ClassVar[int]
    NONE: ClassVar[int]
    PRE_FIXED: ClassVar[int]
    ignore_label: int
    normalization: int
    normalize: bool
    label_smoothing: float
    pre_fixed_normalizer: float
    weight_by_label_freqs: bool
    @property
    def class_weighting(self) -> RepeatedScalarFieldContainer[float]: ...
    weigh_instance: bool
    background_weight: float

class AccuracyParameter(_Message):
    top_k: int
    axis: int
    ignore_label: int
    min_is_better: bool
    denominator: float

class ContrastiveLossParameter(_Message):
    margin: float
    legacy_version: bool

class HingeLossParameter(_Message):
    Norm: ClassVar[EnumTypeWrapper]
    L1: ClassVar[int]
    L2: ClassVar[int]
    norm: int

class InfogainLossParameter(_Message):
    source: str
    axis: int

class InstanceNormParameter(_Message):
    eps: float
    momentum: float
    affine: bool
    track_running_stats: bool
    @property
    def scale_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...

class GroupNormParameter(_Message):
    num_groups: int
    eps: float
    affine: bool
    @property
    def scale_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    group: int
    group_num: int
    group_ratio: float
    channels_per_group: int
    @property
    def slope_filler(self) -> FillerParameter: ...

class LayerNormParameter(_Message):
    eps: float
    elementwise_affine: bool
    @property
    def normalized_shape(self) -> RepeatedScalarFieldContainer[int]: ...
    axis: int
    bias: bool
    @property
    def scale_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...

class BNParameter(_Message):
    BNMode: ClassVar[EnumTypeWrapper]
    LEARN: ClassVar[int]
    INFERENCE: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    @property
    def scale_filler(self) -> FillerParameter: ...
    @property
    def shift_filler(self) -> FillerParameter: ...
    var_eps: float
    moving_average: bool
    decay: float
    across_spatial: bool
    bn_mode: int
    @property
    def slope_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    momentum: float
    eps: float
    frozen: bool
    engine: int
    axis: float
    icnet: bool

class NormalizeParameter(_Message):
    across_spatial: bool
    @property
    def scale_filler(self) -> FillerParameter: ...
    channel_shared: bool
    eps: float
    fix_scale: bool
    normalize_type: str
    fix_gradient: bool
    bp_norm: bool
    add_eps_before_sqrt: bool

class NormalizeBBoxParameter(_Message):
    across_spatial: bool
    @property
    def scale_filler(self) -> FillerParameter: ...
    channel_shared: bool
    eps: float

class LpNormalizationParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...
    p: int

class GRNParameter(_Message):
    bias: float

class ReLU6Parameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    engine: int
    n: float

class CReLUParameter(_Message):
    negative_slope: float
    concat_axis: int

class HardSigmoidParameter(_Message):
    alpha: float
    beta: float

class ScaledTanHParameter(_Message):
    alpha: float
    beta: float

class SeLUParameter(_Message):
    alpha: float

class ThresholdedReLUParameter(_Message):
    alpha: float

class InsanityParameter(_Message):
    lb: float
    ub: float

class LogSoftmaxParameter(_Message):
    axis: int

class PermuteParameter(_Message):
    @property
    def order(self) -> RepeatedScalarFieldContainer[int]: ...

class TransposeParameter(_Message):
    @property
    def dim(self) -> RepeatedScalarFieldContainer[int]: ...

class FlipParameter(_Message):
    flip_width: bool
    flip_height: bool

class ReverseParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...

class ReverseSequenceParameter(_Message):
    seq_axis: int
    batch_axis: int

class ShuffleChannelParameter(_Message):
    group: int

class ChannelPermutationParameter(_Message):
    @property
    def action(self) -> RepeatedCompositeFieldContainer[ChannelPermutationAction]: ...
    num_output: int
    inplace_possible: bool
    version: int

class ChannelPermutationAction(_Message):
    chan: int
    copy: int
    fill: float

class ReorgParameter(_Message):
    stride: int
    reverse: bool

class ReorgYoloParameter(_Message):
    stride: int

class PassThroughParameter(_Message):
    num_output: int
    block_height: int
    block_width: int

class DepthToSpaceParameter(_Message):
    block_size: int
    data_format: str

class SpaceToDepthParameter(_Message):
    block_size: int
    data_format: str

class BatchToSpaceNDParameter(_Message):
    @property
    def block_shape(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def crops(self) -> RepeatedScalarFieldContainer[int]: ...

class SpaceToBatchNDParameter(_Message):
    @property
    def block_shape(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def paddings(self) -> RepeatedScalarFieldContainer[int]: ...

class PadParameter(_Message):
    @property
    def paddings(self) -> RepeatedScalarFieldContainer[int]: ...
    constant_values: float
    @property
    def pads(self) -> RepeatedScalarFieldContainer[int]: ...
    mode: str
    value: float

class MirrorPadParameter(_Message):
    @property
    def paddings(self) -> RepeatedScalarFieldContainer[int]: ...
    constant_values: float
    mode: str

class RingPadParameter(_Message):
    axis: int
    pad: int

class InterpParameter(_Message):
    height: int
    width: int
    zoom_factor: int
    shrink_factor: int
    pad_beg: int
    pad_end: int
    align_corners: bool
    full_zoom_factor: int
    use_blob_size: bool

class UpsampleParameter(_Message):
    scale: float
    scale_h: int
    scale_w: int
    pad_out_h: bool
    pad_out_w: bool
    upsample_h: int
    upsample_w: int
    nearestneighbor_mode: bool

class UpsampleDarknetParameter(_Message):
    stride: int

class ResampleParameter(_Message):
    ResampleType: ClassVar[EnumTypeWrapper]
    NEAREST: ClassVar[int]
    LINEAR: ClassVar[int]
    CUBIC: ClassVar[int]
    AREA: ClassVar[int]
    antialias: bool
    width: int
    height: int
    type: int
    factor: float

class ResizeBilinearParameter(_Message):
    align_corners: bool
    output_height: int
    output_width: int
    data_format: str
    scale_height: float
    scale_width: float
    half_pixel_centers: bool
    pytorch_half_pixel: bool
    output_depth: int
    scale_depth: float

class ResizeNearestNeighborParameter(_Message):
    align_corners: bool
    output_height: int
    output_width: int
    data_format: str
    scale_height: float
    scale_width: float
    half_pixel_centers: bool
    half_pixel_onnx: bool

class DownsampleParameter(_Message):
    top_height: int
    top_width: int

class UnPoolingParameter(_Message):
    UnPoolMethod: ClassVar[EnumTypeWrapper]
    FIXED: ClassVar[int]
    DIV: ClassVar[int]
    REP: ClassVar[int]
    unpool: int
    out_pad: int
    out_pad_h: int
    out_pad_w: int
    out_kernel_size: int
    out_kernel_h: int
    out_kernel_w: int
    out_stride: int
    out_stride_h: int
    out_stride_w: int

class UnpoolingParameter(_Message):
    UnpoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    TILE: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    unpool: int
    pad: int
    pad_h: int
    pad_w: int
    kernel_size: int
    kernel_h: int
    kernel_w: int
    stride: int
    stride_h: int
    stride_w: int
    unpool_size: int
    unpool_h: int
    unpool_w: int
    engine: int

class SpatialTransformerParameter(_Message):
    transform_type: str
    sampler_type: str
    output_H: int
    output_W: int
    to_compute_dU: bool
    theta_1_1: float
    theta_1_2: float
    theta_1_3: float
    theta_2_1: float
    theta_2_2: float
    theta_2_3: float
    de_transform: bool

class STLossParameter(_Message):
    output_H: int
    output_W: int

class PowerFileParameter(_Message):
    shift_file: str

class ExpandDimsNDParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...

class SqueezeParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...

class StackParameter(_Message):
    axis: int

class UnstackParameter(_Message):
    num: int
    axis: int

class BroadcastToParameter(_Message):
    @property
    def shape(self) -> RepeatedScalarFieldContainer[int]: ...

class TileNDParameter(_Message):
    @property
    def multiples(self) -> RepeatedScalarFieldContainer[int]: ...

class StridedSliceParameter(_Message):
    @property
    def begin(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def end(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def strides(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def axes(self) -> RepeatedScalarFieldContainer[int]: ...
    begin_mask: int
    end_mask: int
    ellipsis_mask: int
    new_axis_mask: int
    shrink_axis_mask: int

class GatherParameter(_Message):
    @property
    def indices(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def shape(self) -> RepeatedScalarFieldContainer[int]: ...
    axis: int

class GatherNDParameter(_Message):
    @property
    def indices(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def indices_shape(self) -> RepeatedScalarFieldContainer[int]: ...

class GatherV2Parameter(_Message):
    axis: int
    batch_flag: bool

class ScatterNDParameter(_Message):
    is_data_param: bool
    is_indices_param: bool
    is_updates_param: bool
    @property
    def data_shape(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def indices_shape(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def updates_shape(self) -> RepeatedScalarFieldContainer[int]: ...

class OneHotParameter(_Message):
    depth: int
    on_value: float
    off_value: float
    axis: int

class GemmParameter(_Message):
    alpha: float
    beta: float
    transA: int
    transB: int

class MatMulParameter(_Message):
    transpose_a: bool
    transpose_b: bool
    @property
    def blob_shape(self) -> RepeatedScalarFieldContainer[int]: ...
    dim_1: int
    dim_2: int
    dim_3: int

class MulParameter(_Message):
    @property
    def mul_shape(self) -> RepeatedScalarFieldContainer[int]: ...

class ReduceSumParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...
    keepdims: bool

class ReduceMeanParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...
    keepdims: bool

class ReduceMaxParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...
    keepdims: bool

class ReduceMinParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...
    keepdims: bool

class ReduceProdParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...
    keepdims: bool

class ReduceL1Parameter(_Message):
    @property
    def axes(self) -> RepeatedScalarFieldContainer[int]: ...
    keepdims: int

class ReduceL2Parameter(_Message):
    @property
    def axes(self) -> RepeatedScalarFieldContainer[int]: ...
    keepdims: int

class ReduceLogSumExpParameter(_Message):
    @property
    def axis(self) -> RepeatedScalarFieldContainer[int]: ...
    keepdims: bool

class SplitParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    MKL2017: ClassVar[int]
    MKLDNN: ClassVar[int]
    engine: int

class MergeCropParameter(_Message):
    MergeOp: ClassVar[EnumTypeWrapper]
    STACK: ClassVar[int]
    ADD: ClassVar[int]
    operation: int
    @property
    def forward(self) -> RepeatedScalarFieldContainer[bool]: ...
    @property
    def backward(self) -> RepeatedScalarFieldContainer[bool]: ...

class BatchReductionParameter(_Message):
    @property
    def level(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def reduction_param(self) -> ReductionParameter: ...
    pos: bool

class EltwiseAffineParameter(_Message):
    @property
    def slope_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    channel_shared: bool

class ChannelScaleParameter(_Message):
    do_forward: bool
    do_backward_feature: bool
    do_backward_scale: bool
    global_scale: bool
    max_global_scale: float
    min_global_scale: float
    init_global_scale: float

class SpatialDropoutParameter(_Message):
    dropout_ratio: float

class NoiseParameter(_Message):
    mu: float
    sigma: float
    prob: float
    hist_eq: bool
    inverse: bool
    decolorize: bool
    gauss_blur: bool
    jpeg: float
    posterize: bool
    erode: bool
    saltpepper: bool
    @property
    def saltpepper_param(self) -> SaltPepperParameter: ...
    clahe: bool
    convert_to_hsv: bool
    convert_to_lab: bool
    gaussian_std: float
    uniform_range: float
    bias: float

class DeformableConvolutionParameter(_Message):
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    num_output: int
    bias_term: bool
    @property
    def pad(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def kernel_size(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def stride(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def dilation(self) -> RepeatedScalarFieldContainer[int]: ...
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    group: int
    deformable_group: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    engine: int
    axis: int
    force_nd_im2col: bool

class LocalParameter(_Message):
    num_output: int
    bias_term: bool
    pad: int
    kernel_size: int
    stride: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...

class Convolution3DParameter(_Message):
    num_output: int
    bias_term: bool
    pad: int
    kernel_size: int
    group: int
    kernel_depth: int
    stride: int
    temporal_stride: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    filter_group: int
    temporal_pad: int

class Pooling3DParameter(_Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    AVE_EXC_PAD: ClassVar[int]
    pool: int
    kernel_size: int
    stride: int
    pad: int
    kernel_depth: int
    temporal_stride: int
    pad_h0: int
    pad_h1: int
    pad_w0: int
    pad_w1: int
    pad_d0: int
    pad_d1: int
    kernel_h: int
    kernel_w: int
    kernel_d: int
    stride_h: int
    stride_w: int
    stride_d: int
    global_pooling: bool
    ceil_mode: bool

class SumPoolingParameter(_Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    SUM: ClassVar[int]
    Engine: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    pool: int
    pad: int
    pad_h: int
    pad_w: int
    kernel_size: int
    kernel_h: int
    kernel_w: int
    stride: int
    stride_h: int
    stride_w: int
    engine: int
    global_pooling: bool

class DownSamplingParameter(_Message):
    DownSamplingType: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    VOTE: ClassVar[int]
    AVERAGE: ClassVar[int]
    type: int
    spatial_factor: int
    temporal_factor: int

class AggregationParameter(_Message):
    aggregation_param_r: float

class MOEParameter(_Message):
    BottomMapping: ClassVar[EnumTypeWrapper]
    GATING: ClassVar[int]
    EXPERT: ClassVar[int]
    GATING_AND_EXPERT: ClassVar[int]
    @property
    def gating_net(self) -> NetParameter: ...
    @property
    def expert_net(self) -> RepeatedCompositeFieldContainer[NetParameter]: ...
    @property
    def expert_instances(self) -> RepeatedScalarFieldContainer[int]: ...
    select_experts: int
    full_forward: bool
    @property
    def map_bottom(self) -> RepeatedScalarFieldContainer[int]: ...

class LSTMParameter(_Message):
    num_output: int
    clipping_threshold: float
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    batch_size: int

class CTCParameter(_Message):
    Decoder: ClassVar[EnumTypeWrapper]
    best_path: ClassVar[int]
    best_path_thres: ClassVar[int]
    prefix_search: ClassVar[int]
    threshold: float
    decode_type: int

class CTCDecoderParameter(_Message):
    blank_index: int
    ctc_merge_repeated: bool

class CTCLossParameter(_Message):
    output_delay: int
    blank_index: int
    preprocess_collapse_repeated: bool
    ctc_merge_repeated: bool
    loss_calculation_t: int

class LabelMap(_Message):
    @property
    def item(self) -> RepeatedCompositeFieldContainer[LabelMapItem]: ...

class LabelMapItem(_Message):
    name: str
    label: int
    display_name: str

class NormalizedBBox(_Message):
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    label: int
    difficult: bool
    score: float
    size: float

class NormalizedRBox(_Message):
    x1: float
    y1: float
    x2: float
    y2: float
    h: float
    difficult: bool
    score: float
    size: float

class NormalizedPolygon(_Message):
    x1: float
    y1: float
    x2: float
    y2: float
    x3: float
    y3: float
    x4: float
    y4: float
    difficult: bool
    score: float
    size: float

class NormalizedOrientedBBox(_Message):
    xc: float
    yc: float
    width: float
    height: float
    radians: float

class Annotation(_Message):
    instance_id: int
    @property
    def bbox(self) -> NormalizedBBox: ...
    @property
    def rbox(self) -> NormalizedRBox: ...
    @property
    def polygon(self) -> NormalizedPolygon: ...
    @property
    def oriented_bbox(self) -> NormalizedOrientedBBox: ...
    @property
    def lanes(self) -> LaneInfo: ...

class AnnotationGroup(_Message):
    group_label: int
    @property
    def annotation(self) -> RepeatedCompositeFieldContainer[Annotation]: ...

class AnnotatedDatum(_Message):
    AnnotationType: ClassVar[EnumTypeWrapper]
    BBOX: ClassVar[int]
    BBOXandSeg: ClassVar[int]
    LANE: ClassVar[int]
    @property
    def datum(self) -> Datum: ...
    type: int
    @property
    def annotation_group(self) -> RepeatedCompositeFieldContainer[AnnotationGroup]: ...
    record_id: int

class AnnotatedMaskDatum(_Message):
    AnnotationType: ClassVar[EnumTypeWrapper]
    BBOX: ClassVar[int]
    @property
    def datum(self) -> Datum: ...
    @property
    def mask(self) -> Datum: ...
    type: int
    @property
    def annotation_group(self) -> RepeatedCompositeFieldContainer[AnnotationGroup]: ...

class LaneInfo(_Message):
    x: float
    y: float
    id: int

class YoloSegItem(_Message):
    name: str
    label_id: int
    label: int
    r: int
    g: int
    b: int

class YoloSegLabel(_Message):
    @property
    def item(self) -> RepeatedCompositeFieldContainer[YoloSegItem]: ...

class VolumeDatum(_Message):
    channels: int
    length: int
    height: int
    width: int
    data: bytes
    label: int
    @property
    def float_data(self) -> RepeatedScalarFieldContainer[float]: ...

class C2TensorProto(_Message):
    DataType: ClassVar[EnumTypeWrapper]
    UNDEFINED: ClassVar[int]
    FLOAT: ClassVar[int]
    INT32: ClassVar[int]
    BYTE: ClassVar[int]
    STRING: ClassVar[int]
    BOOL: ClassVar[int]
    UINT8: ClassVar[int]
    INT8: ClassVar[int]
    UINT16: ClassVar[int]
    INT16: ClassVar[int]
    INT64: ClassVar[int]
    FLOAT16: ClassVar[int]
    DOUBLE: ClassVar[int]
    @property
    def dims(self) -> RepeatedScalarFieldContainer[int]: ...
    data_type: int
    @property
    def float_data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def int32_data(self) -> RepeatedScalarFieldContainer[int]: ...
    byte_data: bytes
    @property
    def string_data(self) -> RepeatedScalarFieldContainer[bytes]: ...
    @property
    def double_data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def int64_data(self) -> RepeatedScalarFieldContainer[int]: ...
    name: str

class C2TensorProtos(_Message):
    @property
    def protos(self) -> RepeatedCompositeFieldContainer[C2TensorProto]: ...

class Sampler(_Message):
    min_scale: float
    max_scale: float
    min_aspect_ratio: float
    max_aspect_ratio: float

class SampleConstraint(_Message):
    min_jaccard_overlap: float
    max_jaccard_overlap: float
    min_sample_coverage: float
    max_sample_coverage: float
    min_object_coverage: float
    max_object_coverage: float

class BatchSampler(_Message):
    use_original_image: bool
    @property
    def sampler(self) -> Sampler: ...
    @property
    def sample_constraint(self) -> SampleConstraint: ...
    max_sample: int
    max_trials: int

class EmitConstraint(_Message):
    EmitType: ClassVar[EnumTypeWrapper]
    CENTER: ClassVar[int]
    MIN_OVERLAP: ClassVar[int]
    emit_type: int
    emit_overlap: float

class ResizeParameter(_Message):
    Resize_mode: ClassVar[EnumTypeWrapper]
    WARP: ClassVar[int]
    FIT_SMALL_SIZE: ClassVar[int]
    FIT_LARGE_SIZE_AND_PAD: ClassVar[int]
    Pad_mode: ClassVar[EnumTypeWrapper]
    CONSTANT: ClassVar[int]
    MIRRORED: ClassVar[int]
    REPEAT_NEAREST: ClassVar[int]
    Interp_mode: ClassVar[EnumTypeWrapper]
    LINEAR: ClassVar[int]
    AREA: ClassVar[int]
    NEAREST: ClassVar[int]
    CUBIC: ClassVar[int]
    LANCZOS4: ClassVar[int]
    prob: float
    resize_mode: int
    height: int
    width: int
    height_scale: int
    width_scale: int
    pad_mode: int
    @property
    def pad_value(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def interp_mode(self) -> RepeatedScalarFieldContainer[int]: ...
    center_object: bool
    max_angle: float
    is_pyramid_test: bool
    out_height_scale: float
    out_width_scale: float

class RandomResizeParameter(_Message):
    min_size: int
    max_size: int
    @property
    def resize_param(self) -> ResizeParameter: ...

class RandomAspectRatioParameter(_Message):
    min_area_ratio: float
    max_area_ratio: float
    aspect_ratio_change: float
    max_attempt: int
    @property
    def resize_param(self) -> ResizeParameter: ...

class SaltPepperParameter(_Message):
    SaltType: ClassVar[EnumTypeWrapper]
    relative: ClassVar[int]
    absolute: ClassVar[int]
    fraction: float
    @property
    def value(self) -> RepeatedScalarFieldContainer[float]: ...
    type: int

class DistortionParameter(_Message):
    brightness_prob: float
    brightness_delta: float
    contrast_prob: float
    contrast_lower: float
    contrast_upper: float
    hue_prob: float
    hue_delta: float
    saturation_prob: float
    saturation_lower: float
    saturation_upper: float
    random_order_prob: float

class ExpansionParameter(_Message):
    prob: float
    max_expand_ratio: float

class AnnotatedDataParameter(_Message):
    @property
    def batch_sampler(self) -> RepeatedCompositeFieldContainer[BatchSampler]: ...
    label_map_file: str
    anno_type: int
    oriented: bool
    yolo_data_type: int
    yolo_data_jitter: float
    train_diffcult: bool
    single_class: bool
    seg_scales: int
    seg_resize_width: int
    seg_resize_height: int
    difficult_label_warmup: bool

class PriorBoxParameter(_Message):
    CodeType: ClassVar[EnumTypeWrapper]
    CORNER: ClassVar[int]
    CENTER_SIZE: ClassVar[int]
    CORNER_SIZE: ClassVar[int]
    @property
    def min_size(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def max_size(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def aspect_ratio(self) -> RepeatedScalarFieldContainer[float]: ...
    flip: bool
    clip: bool
    @property
    def variance(self) -> RepeatedScalarFieldContainer[float]: ...
    img_size: int
    img_h: int
    img_w: int
    step: float
    step_h: float
    step_w: float
    offset: float
    denser_prior_boxes: bool
    reduce_boxes: bool
    @property
    def offset_h(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def offset_w(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def width(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def height(self) -> RepeatedScalarFieldContainer[float]: ...
    faceboxes: bool
    @property
    def box_width(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def box_height(self) -> RepeatedScalarFieldContainer[float]: ...
    tf: bool
    yx_order: bool
    keras: bool
    @property
    def fixed_size(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def fixed_ratio(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def density(self) -> RepeatedScalarFieldContainer[float]: ...

class MultiBoxLossParameter(_Message):
    LocLossType: ClassVar[EnumTypeWrapper]
    L2: ClassVar[int]
    SMOOTH_L1: ClassVar[int]
    ConfLossType: ClassVar[EnumTypeWrapper]
    SOFTMAX: ClassVar[int]
    LOGISTIC: ClassVar[int]
    MatchType: ClassVar[EnumTypeWrapper]
    BIPARTITE: ClassVar[int]
    PER_PREDICTION: ClassVar[int]
    MiningType: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    MAX_NEGATIVE: ClassVar[int]
    HARD_EXAMPLE: ClassVar[int]
    loc_loss_type: int
    conf_loss_type: int
    loc_weight: float
    num_classes: int
    share_location: bool
    match_type: int
    overlap_threshold: float
    use_prior_for_matching: bool
    background_label_id: int
    use_difficult_gt: bool
    do_neg_mining: bool
    neg_pos_ratio: float
    neg_overlap: float
    code_type: int
    encode_variance_in_target: bool
    map_object_to_agnostic: bool
    ignore_cross_boundary_bbox: bool
    bp_inside: bool
    mining_type: int
    @property
    def nms_param(self) -> NonMaximumSuppressionParameter: ...
    sample_size: int
    use_prior_for_nms: bool
    ignore_difficult_gt: bool
    objectness_score: float
    use_polygon: bool
    oriented_weight: float

class DetectionOutputParameter(_Message):
    num_classes: int
    share_location: bool
    background_label_id: int
    @property
    def nms_param(self) -> NonMaximumSuppressionParameter: ...
    @property
    def save_output_param(self) -> SaveOutputParameter: ...
    code_type: int
    variance_encoded_in_target: bool
    keep_top_k: int
    confidence_threshold: float
    visualize: bool
    visualize_threshold: float
    save_file: str
    objectness_score: float
    use_polygon: bool
    side: int
    num_box: int
    coords: int
    nms_threshold: float
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    label_map_file: str
    classes: int
    normalized_bbox: bool
    clip: bool
    tflite_detection: bool
    tflite_use_regular_nms: bool
    max_classes_per_detection: int
    @property
    def scale_xywh(self) -> RepeatedScalarFieldContainer[float]: ...
    input_width: int
    input_height: int
    normalized: bool

class NonMaximumSuppressionParameter(_Message):
    nms_threshold: float
    top_k: int
    eta: float

class SaveOutputParameter(_Message):
    output_directory: str
    output_name_prefix: str
    output_format: str
    label_map_file: str
    name_size_file: str
    num_test_image: int
    @property
    def resize_param(self) -> ResizeParameter: ...

class DetectionEvaluateParameter(_Message):
    num_classes: int
    background_label_id: int
    overlap_threshold: float
    evaluate_difficult_gt: bool
    name_size_file: str
    @property
    def resize_param(self) -> ResizeParameter: ...
    use_polygon: bool

class MaskResizeParameter(_Message):
    output_height: int
    output_width: int
    factor_height: float
    factor_width: float

class ROIPoolingParameter(_Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float
    @property
    def pooled_size(self) -> RepeatedScalarFieldContainer[int]: ...
    pad_ratio: float
    ringpad: bool

class PSROIPoolingParameter(_Message):
    spatial_scale: float
    output_dim: int
    group_size: int

class ROIAlignParameter(_Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float
    sampling_ratio: int

class PyramidROIAlignParameter(_Message):
    crop_height: int
    crop_width: int
    extrapolation_value: float
    data_format: str

class ROIWarpingParameter(_Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float

class CropAndResizeParameter(_Message):
    crop_h: int
    crop_w: int
    extrapolation_value: float
    data_format: str

class ProposalParameter(_Message):
    feat_stride: int
    base_size: int
    min_size: int
    @property
    def ratio(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def scale(self) -> RepeatedScalarFieldContainer[float]: ...
    pre_nms_topn: int
    post_nms_topn: int
    nms_thresh: float
    stride: float
    @property
    def anchor_scale(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def anchor_ratio(self) -> RepeatedScalarFieldContainer[float]: ...
    anchor_base_size: int
    max_rois: int
    rpn_min_size: float
    rpn_nms_thresh: float

class RPNParameter(_Message):
    feat_stride: int
    basesize: int
    @property
    def scale(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def ratio(self) -> RepeatedScalarFieldContainer[float]: ...
    boxminsize: int
    per_nms_topn: int
    post_nms_topn: int
    nms_thresh: float

class ProposalTargetParameter(_Message):
    cls_num: int
    batch_size: int
    fg_fraction: float
    num_img_per_batch: int
    fg_thr: float
    bg_thr_hg: float
    bg_thr_lw: float
    img_width: int
    img_height: int
    iou_weighted: bool
    has_3d_boxes_and_proj_mat_input: bool
    output_3d_boxes: bool
    output_sample_weight: bool
    use_panoramic: bool

class BoxAnnotatorOHEMParameter(_Message):
    roi_per_img: int
    ignore_label: int

class SmoothL1LossParameter(_Message):
    sigma: float

class SmoothL1Parameter(_Message):
    turn_point: float

class LocLossParameter(_Message):
    threshold: float

class BBoxRegParameter(_Message):
    @property
    def bbox_mean(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def bbox_std(self) -> RepeatedScalarFieldContainer[float]: ...
    cls_aware: bool

class DecodeBBoxParameter(_Message):
    gt_iou_thr: float

class BoxOutputParameter(_Message):
    fg_thr: float
    iou_thr: float
    nms_type: str
    @property
    def field_h(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def field_w(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def downsample_rate(self) -> RepeatedScalarFieldContainer[int]: ...
    field_whr: float
    field_xyr: float
    max_nms_num: int
    max_post_nms_num: int
    min_size: float
    num_param_set: int
    ringpad: bool

class DetectionLossParameter(_Message):
    cls_num: int
    coord_num: int
    field_h: int
    field_w: int
    downsample_rate: int
    bb_smooth: bool
    field_whr: float
    field_xyr: float
    bg_threshold: float
    bg_multiple: int
    sample_mode: str
    objectness: bool
    iou_weighted: bool
    pos_neg_weighted: bool
    side: int
    num_class: int
    num_object: int
    object_scale: float
    noobject_scale: float
    class_scale: float
    coord_scale: float
    sqrt: bool
    constriant: bool

class DetectionAccuracyParameter(_Message):
    cls_num: int
    coord_num: int
    field_h: int
    field_w: int
    downsample_rate: int
    top_k: int
    field_whr: float
    field_xyr: float
    bg_threshold: float
    objectness: bool

class NMSParameter(_Message):
    top_k: int
    axis: int
    iou_threshold: float

class NonMaxSuppressionParameter(_Message):
    max_output_boxes_per_class: int
    iou_threshold: float
    score_threshold: float
    center_point_box: int

class PredictBoxParameter(_Message):
    stride: int
    receptive_field: int
    nms: bool
    output_vector: bool
    positive_thresh: float
    bbreg_exp: bool

class HotspotParameter(_Message):
    gaussian_std: float
    output_height: int
    output_width: int
    data_height: int
    data_width: int
    mean_removed: bool

class SubRegionParameter(_Message):
    region_height: int
    region_width: int
    data_height: int
    data_width: int
    as_dim: int

class RegionParameter(_Message):
    classes: int
    coords: int
    boxes_of_each_grid: int
    softmax: bool
    anchors: str
    bias_match: bool
    output_square: bool
    num: int
    ratio: float
    iou_thresh: float
    box_thresh: float
    biases: str

class RegionYoloParameter(_Message):
    coords: int
    classes: int
    num: int
    do_softmax: bool
    @property
    def anchors(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def mask(self) -> RepeatedScalarFieldContainer[int]: ...

class RegionLossParameter(_Message):
    side: int
    num_class: int
    bias_match: int
    coords: int
    num: int
    softmax: int
    jitter: float
    rescore: int
    object_scale: float
    class_scale: float
    noobject_scale: float
    coord_scale: float
    absolute: int
    thresh: float
    random: int
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    softmax_tree: str
    class_map: str
    num_label: int

class EvalDetectionParameter(_Message):
    ScoreType: ClassVar[EnumTypeWrapper]
    OBJ: ClassVar[int]
    PROB: ClassVar[int]
    MULTIPLY: ClassVar[int]
    side: int
    num_class: int
    num_object: int
    threshold: float
    sqrt: bool
    constriant: bool
    score_type: int
    nms: float
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...

class YoloDetectionOutputParameter(_Message):
    side: int
    num_classes: int
    num_box: int
    coords: int
    confidence_threshold: float
    nms_threshold: float
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    label_map_file: str

class Yolov3Parameter(_Message):
    IOU_LOSS: ClassVar[EnumTypeWrapper]
    IOU: ClassVar[int]
    GIOU: ClassVar[int]
    MSE: ClassVar[int]
    DIOU: ClassVar[int]
    CIOU: ClassVar[int]
    side: int
    num_class: int
    num: int
    object_scale: float
    class_scale: float
    noobject_scale: float
    coord_scale: float
    thresh: float
    anchors_scale: int
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def mask(self) -> RepeatedScalarFieldContainer[int]: ...
    use_logic_gradient: bool
    use_focal_loss: bool
    iou_loss: int
    iou_normalizer: float
    iou_thresh: float
    max_delta: float
    accumulate: bool
    label_smooth_eps: float

class Yolov3DetectionOutputParameter(_Message):
    num_classes: int
    num_box: int
    confidence_threshold: float
    nms_threshold: float
    @property
    def biases(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def anchors_scale(self) -> RepeatedScalarFieldContainer[int]: ...
    mask_group_num: int
    @property
    def mask(self) -> RepeatedScalarFieldContainer[int]: ...
    gaussian_box: bool

class YoloSegParameter(_Message):
    num_class: int
    object_scale: float
    class_scale: float
    use_logic_gradient: bool
    use_hardsigmoid: bool

class SegmentationEvaluateParameter(_Message):
    num_classes: int
    threshold: float

class DetectNetGroundTruthParameter(_Message):
    class ClassMapping(_Message):
        src: int
        dst: int
    GridboxType: ClassVar[EnumTypeWrapper]
    GRIDBOX_MAX: ClassVar[int]
    GRIDBOX_MIN: ClassVar[int]
    CoverageType: ClassVar[EnumTypeWrapper]
    RECTANGULAR: ClassVar[int]
    stride: int
    scale_cvg: float
    gridbox_type: int
    max_cvg_len: int
    min_cvg_len: int
    coverage_type: int
    image_size_x: int
    image_size_y: int
    obj_norm: bool
    crop_bboxes: bool
    @property
    def object_class(self) -> RepeatedCompositeFieldContainer[DetectNetGroundTruthParameter.ClassMapping]: ...

class DetectNetAugmentationParameter(_Message):
    crop_prob: float
    shift_x: int
    shift_y: int
    scale_prob: float
    scale_min: float
    scale_max: float
    flip_prob: float
    rotation_prob: float
    max_rotate_degree: float
    hue_rotation_prob: float
    hue_rotation: float
    desaturation_prob: float
    desaturation_max: float
    @property
    def resize_param(self) -> ResizeParameter: ...
    @property
    def noise_param(self) -> NoiseParameter: ...
    @property
    def distort_param(self) -> DistortionParameter: ...
    @property
    def expand_param(self) -> ExpansionParameter: ...
    @property
    def emit_constraint(self) -> EmitConstraint: ...

class TRTParameter(_Message):
    TRTMode: ClassVar[EnumTypeWrapper]
    FP32: ClassVar[int]
    FP16: ClassVar[int]
    INT8: ClassVar[int]
    trt_mode: int
    top_k: int
    deploy: str
    model: str
    @property
    def deploy_outputs(self) -> RepeatedScalarFieldContainer[str]: ...
    calibrator: str

class SegAccuracyParameter(_Message):
    AccuracyMetric: ClassVar[EnumTypeWrapper]
    PixelAccuracy: ClassVar[int]
    ClassAccuracy: ClassVar[int]
    PixelIOU: ClassVar[int]
    metric: int
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...
    reset: bool

class DenseCRFParameter(_Message):
    max_iter: int
    @property
    def pos_xy_std(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def pos_w(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def bi_xy_std(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def bi_rgb_std(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def bi_w(self) -> RepeatedScalarFieldContainer[float]: ...
    output_probability: bool
    x_gauss: float
    y_gauss: float
    wt_gauss: float
    x_bilateral: float
    y_bilateral: float
    r_bilateral: float
    g_bilateral: float
    b_bilateral: float
    wt_bilateral: float

class MultiStageMeanfieldParameter(_Message):
    Mode: ClassVar[EnumTypeWrapper]
    POTTS: ClassVar[int]
    compatibility_mode: int
    threshold: float
    theta_alpha: float
    theta_beta: float
    theta_gamma: float
    num_iterations: int
    spatial_filter_weight: float
    bilateral_filter_weight: float
    forced_spatial_filter_weight: float
    forced_bilateral_filter_weight: float

class DomainTransformParameter(_Message):
    num_iter: int
    spatial_sigma: float
    range_sigma: float
    min_weight: float

class BiasChannelParameter(_Message):
    LabelType: ClassVar[EnumTypeWrapper]
    IMAGE: ClassVar[int]
    PIXEL: ClassVar[int]
    bg_bias: float
    fg_bias: float
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...
    label_type: int
    background_label: int

class AdaptiveBiasChannelParameter(_Message):
    num_iter: int
    bg_portion: float
    fg_portion: float
    suppress_others: bool
    margin_others: float

class UniqueLabelParameter(_Message):
    max_labels: int
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def force_label(self) -> RepeatedScalarFieldContainer[float]: ...

class MatReadParameter(_Message):
    prefix: str
    source: str
    strip: int
    batch_size: int

class MatWriteParameter(_Message):
    prefix: str
    source: str
    strip: int
    period: int

class ParseEvaluateParameter(_Message):
    num_labels: int
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...

class LossStatisticParameter(_Message):
    MaxType: ClassVar[EnumTypeWrapper]
    SOFT_MAX: ClassVar[int]
    HARD_MAX: ClassVar[int]
    ignore_label: int
    max_type: int

class StatisticalLossParameter(_Message):
    Loss: ClassVar[EnumTypeWrapper]
    HAMMING: ClassVar[int]
    INTERSECTION_OVER_UNION: ClassVar[int]
    loss: int
    weight_pow: float

class RepackParameter(_Message):
    Operation: ClassVar[EnumTypeWrapper]
    PACK_IMAGE: ClassVar[int]
    UNPACK_IMAGE: ClassVar[int]
    operation: int
    stride: int
    stride_h: int
    stride_w: int

class RunningAverageParameter(_Message):
    alpha: float
    initial_value: float

class AffinityParameter(_Message):
    @property
    def offset(self) -> RepeatedScalarFieldContainer[int]: ...

class CorrelationParameter(_Message):
    CorrelationType: ClassVar[EnumTypeWrapper]
    MULTIPLY: ClassVar[int]
    SUBTRACT: ClassVar[int]
    pad: int
    kernel_size: int
    max_displacement: int
    stride_1: int
    stride_2: int
    single_direction: int
    do_abs: bool
    correlation_type: int

class FlowWarpParameter(_Message):
    FillParameter: ClassVar[EnumTypeWrapper]
    ZERO: ClassVar[int]
    NOT_A_NUMBER: ClassVar[int]
    fill_value: int

class AccumParameter(_Message):
    top_height: int
    top_width: int
    size_divisible_by: int
    have_reference: bool

class MeanParameter(_Message):
    MeanOperation: ClassVar[EnumTypeWrapper]
    ADD: ClassVar[int]
    SUBTRACT: ClassVar[int]
    operation: int
    file: str
    @property
    def value(self) -> RepeatedScalarFieldContainer[float]: ...
    mean_scale: float
    input_scale: float
    output_scale: float

class L1LossParameter(_Message):
    l2_per_location: bool
    l2_prescale_by_channels: bool
    normalize_by_num_entries: bool
    epsilon: float
    plateau: float

class LpqLossParameter(_Message):
    l2_prescale_by_channels: bool
    normalize_by_num_entries: bool
    p_epsilon: float
    q_epsilon: float
    @property
    def pq_episode_starts_at_iter(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def p(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def q(self) -> RepeatedScalarFieldContainer[float]: ...

class CoeffScheduleParameter(_Message):
    half_life: float
    initial_coeff: float
    final_coeff: float

class RandomGeneratorParameter(_Message):
    rand_type: str
    exp: bool
    mean: float
    spread: float
    prob: float
    apply_schedule: bool
    discretize: bool
    multiplier: float

class AugmentationParameter(_Message):
    crop_width: int
    crop_height: int
    write_augmented: str
    max_multiplier: float
    augment_during_test: bool
    recompute_mean: int
    write_mean: str
    mean_per_pixel: bool
    @property
    def mean(self) -> RepeatedScalarFieldContainer[float]: ...
    mode: str
    bottomwidth: int
    bottomheight: int
    num: int
    @property
    def chromatic_eigvec(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def mirror(self) -> RandomGeneratorParameter: ...
    @property
    def translate(self) -> RandomGeneratorParameter: ...
    @property
    def rotate(self) -> RandomGeneratorParameter: ...
    @property
    def zoom(self) -> RandomGeneratorParameter: ...
    @property
    def squeeze(self) -> RandomGeneratorParameter: ...
    @property
    def translate_x(self) -> RandomGeneratorParameter: ...
    @property
    def translate_y(self) -> RandomGeneratorParameter: ...
    @property
    def gamma(self) -> RandomGeneratorParameter: ...
    @property
    def brightness(self) -> RandomGeneratorParameter: ...
    @property
    def contrast(self) -> RandomGeneratorParameter: ...
    @property
    def color(self) -> RandomGeneratorParameter: ...
    @property
    def lmult_pow(self) -> RandomGeneratorParameter: ...
    @property
    def lmult_mult(self) -> RandomGeneratorParameter: ...
    @property
    def lmult_add(self) -> RandomGeneratorParameter: ...
    @property
    def sat_pow(self) -> RandomGeneratorParameter: ...
    @property
    def sat_mult(self) -> RandomGeneratorParameter: ...
    @property
    def sat_add(self) -> RandomGeneratorParameter: ...
    @property
    def col_pow(self) -> RandomGeneratorParameter: ...
    @property
    def col_mult(self) -> RandomGeneratorParameter: ...
    @property
    def col_add(self) -> RandomGeneratorParameter: ...
    @property
    def ladd_pow(self) -> RandomGeneratorParameter: ...
    @property
    def ladd_mult(self) -> RandomGeneratorParameter: ...
    @property
    def ladd_add(self) -> RandomGeneratorParameter: ...
    @property
    def col_rotate(self) -> RandomGeneratorParameter: ...
    @property
    def fog_amount(self) -> RandomGeneratorParameter: ...
    @property
    def fog_size(self) -> RandomGeneratorParameter: ...
    @property
    def motion_blur_angle(self) -> RandomGeneratorParameter: ...
    @property
    def motion_blur_size(self) -> RandomGeneratorParameter: ...
    @property
    def shadow_angle(self) -> RandomGeneratorParameter: ...
    @property
    def shadow_distance(self) -> RandomGeneratorParameter: ...
    @property
    def shadow_strength(self) -> RandomGeneratorParameter: ...
    @property
    def noise(self) -> RandomGeneratorParameter: ...

class AugmentationCoeff(_Message):
    mirror: float
    dx: float
    dy: float
    angle: float
    zoom_x: float
    zoom_y: float
    gamma: float
    brightness: float
    contrast: float
    color1: float
    color2: float
    color3: float
    pow_nomean0: float
    pow_nomean1: float
    pow_nomean2: float
    add_nomean0: float
    add_nomean1: float
    add_nomean2: float
    mult_nomean0: float
    mult_nomean1: float
    mult_nomean2: float
    pow_withmean0: float
    pow_withmean1: float
    pow_withmean2: float
    add_withmean0: float
    add_withmean1: float
    add_withmean2: float
    mult_withmean0: float
    mult_withmean1: float
    mult_withmean2: float
    lmult_pow: float
    lmult_add: float
    lmult_mult: float
    col_angle: float
    fog_amount: float
    fog_size: float
    motion_blur_angle: float
    motion_blur_size: float
    shadow_angle: float
    shadow_distance: float
    shadow_strength: float
    noise: float

class BlackAugmentationParameter(_Message):
    @property
    def black(self) -> RandomGeneratorParameter: ...
    @property
    def border(self) -> RandomGeneratorParameter: ...

class ReaderParameter(_Message):
    file: str
    num: int

class WriterParameter(_Message):
    file: str
    folder: str
    prefix: str
    suffix: str
    normalize: bool
    scale: float

class CenterLossParameter(_Message):
    num_output: int
    @property
    def center_filler(self) -> FillerParameter: ...
    axis: int
    distance_type: str

class MarginInnerProductParameter(_Message):
    MarginType: ClassVar[EnumTypeWrapper]
    SINGLE: ClassVar[int]
    DOUBLE: ClassVar[int]
    TRIPLE: ClassVar[int]
    QUADRUPLE: ClassVar[int]
    num_output: int
    type: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    axis: int
    base: float
    gamma: float
    power: float
    iteration: int
    lambda_min: float

class LargeMarginInnerProductParameter(_Message):
    LargeMarginType: ClassVar[EnumTypeWrapper]
    SINGLE: ClassVar[int]
    DOUBLE: ClassVar[int]
    TRIPLE: ClassVar[int]
    QUADRUPLE: ClassVar[int]
    num_output: int
    type: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    axis: int
    base: float
    gamma: float
    power: float
    iteration: int
    lambda_min: float

class AdditiveMarginInnerProductParameter(_Message):
    num_output: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    m: float
    axis: int

class CosinAddmParameter(_Message):
    m: float
    transform_test: bool

class CosinMulmParameter(_Message):
    m: float
    transform_test: bool

class InnerDistanceParameter(_Message):
    num_output: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    axis: int
    transpose: bool
    distance_type: str
    normalize: bool
    update_center_only: bool

class TripletLossParameter(_Message):
    margin: float
    group_size: int
    scale: float

class GeneralTripletParameter(_Message):
    margin: float
    add_center_loss: bool
    hardest_only: bool
    positive_first: bool
    positive_upper_bound: float
    positive_weight: float
    negative_weight: float

class CoupledClusterLossParameter(_Message):
    margin: float
    group_size: int
    scale: float
    log_flag: bool

class GeneralContrastiveParameter(_Message):
    positive_margin: float
    negative_margin: float
    positive_weight: float
    negative_weight: float
    normalize_negative: float
    positive_outlier_thresh: float
    square: bool
    max_negative_only: bool
    max_positive_only: bool
    positive_first: bool
    positive_upper_bound: float
    exp_negative_weight: bool
    add_intra_mae: bool
    max_negative_margin: float

class BatchContrastiveParameter(_Message):
    positive_margin: float
    negative_margin: float
    positive_weight: float
    negative_weight: float
    max_only: bool

class SoftContrastiveParameter(_Message):
    positive_margin: float
    negative_margin: float
    positive_weight: float
    negative_weight: float
    exponent_scale: float
    square: bool

class PairwiseParameter(_Message):
    PairwiseOp: ClassVar[EnumTypeWrapper]
    SUM: ClassVar[int]
    PROD: ClassVar[int]
    MAX: ClassVar[int]
    operation: int
    @property
    def coeff(self) -> RepeatedScalarFieldContainer[float]: ...

class NCAParameter(_Message):
    min_negative_only: bool

class CosineSimilarityBatchParameter(_Message):
    pos_label: float
    neg_label: float

class RandomSamplingSoftmaxLossParameter(_Message):
    random_sampling_num: int
    random_sampling_policy: str

class FocalLossParameter(_Message):
    Type: ClassVar[EnumTypeWrapper]
    ORIGIN: ClassVar[int]
    LINEAR: ClassVar[int]
    ONEADDP: ClassVar[int]
    type: int
    gamma: float
    alpha: float
    beta: float

class OrdinalRegressionParameter(_Message):
    k: int
    weight_file: str

class InfimumLossParamter(_Message):
    infimum: float

class FeatureDecayLossParameter(_Message):
    decay_threshold: float
    force_decay: bool

class ConfidencePenaltyLossParameter(_Message):
    beta: float

class SoftTruncationParameter(_Message):
    c: float

class TruncationParameter(_Message):
    lower_bound: float
    upper_bound: float

class LabelSpecificAddParameter(_Message):
    bias: float
    transform_test: bool
    bias_base: float
    bias_gamma: float
    bias_power: float
    bias_min: float
    bias_max: float
    iteration: int

class LabelSpecificAffineParameter(_Message):
    scale_base: float
    scale_gamma: float
    scale_power: float
    scale_max: float
    transform_test: bool
    iteration: int
    bias_base: float
    bias_gamma: float
    bias_power: float
    bias_max: float
    power_base: float
    power_gamma: float
    power_power: float
    power_min: float
    auto_tune: bool
    reset: bool

class LabelSpecificMarginParameter(_Message):
    MarginType: ClassVar[EnumTypeWrapper]
    HARD: ClassVar[int]
    SOFT: ClassVar[int]
    type: int
    margin_base: float
    margin_max: float
    power: float
    gamma: float
    iteration: int
    reset_margin: bool
    margin_on_test: bool
    auto_tune: bool

class LabelSpecificHardMarginParameter(_Message):
    positive_weight: float

class LabelSpecificRescaleParameter(_Message):
    positive_weight: float
    negative_weight: float
    positive_lower_bound: float
    negative_upper_bound: float
    rescale_test: bool
    for_ip: bool
    positive_weight_base: float
    gamma: float
    power: float
    positive_weight_min: float
    positive_weight_max: float
    iteration: int
    bias_fix: bool
    power_on_positive: bool

class LabelSpecificStatisticsParameter(_Message):
    scale_for_angle: bool
    scale_factor: float

class VideoDataParameter(_Message):
    VideoType: ClassVar[EnumTypeWrapper]
    WEBCAM: ClassVar[int]
    VIDEO: ClassVar[int]
    Modality: ClassVar[EnumTypeWrapper]
    RGB: ClassVar[int]
    FLOW: ClassVar[int]
    video_type: int
    device_id: int
    video_file: str
    skip_frames: int
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    new_length: int
    num_segments: int
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    modality: int
    name_pattern: str
    encoded: bool
    grayscale: bool
    is_color: bool
    root_folder: str
    show_data: bool
    use_image: bool
    use_temporal_jitter: bool
    sampling_rate: int
    max_sampling_rate: int
    use_sampling_rate_jitter: bool
    use_multiple_label: bool
    num_of_labels: int

class DenseImageDataParameter(_Message):
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    mean_file: str
    root_folder: str
    mirror: bool
    crop_width: int
    crop_height: int
    label_divide_factor: int

class SegDataParameter(_Message):
    source: str
    root_dir: str
    shuffle: bool
    balance: bool

class ImageLabelDataParameter(_Message):
    Padding: ClassVar[EnumTypeWrapper]
    ZERO: ClassVar[int]
    REFLECT: ClassVar[int]
    image_list_path: str
    label_list_path: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    rand_scale: bool
    min_scale: float
    max_scale: float
    data_dir: str
    @property
    def label_slice(self) -> Slice: ...
    image_dir: str
    label_dir: str
    padding: int

class Slice(_Message):
    @property
    def dim(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def stride(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def offset(self) -> RepeatedScalarFieldContainer[int]: ...

class BinLabelDataParameter(_Message):
    bin_list_path: str
    label_list_path: str
    bin_dir: str
    label_dir: str
    batch_size: int
    shuffle: bool
    mirror: bool
    @property
    def label_slice(self) -> Slice: ...
    @property
    def bin_slice(self) -> Slice: ...

class ImageGtDataParameter(_Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    mirror: bool
    @property
    def downsample_rate(self) -> RepeatedScalarFieldContainer[int]: ...
    coord_num: int
    @property
    def field_h(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def field_w(self) -> RepeatedScalarFieldContainer[int]: ...
    fg_threshold: float
    resize_width: int
    resize_height: int
    crop_width: int
    crop_height: int
    do_multiple_scale: bool
    min_scale: int
    max_scale: int
    min_whaspect: float
    max_whaspect: float
    min_gt_width: float
    min_gt_height: float
    shuffle: bool
    output_gt_boxes: bool
    fg_img_multiple: int
    cache_images: bool
    root_folder: str
    output_projection_matrix: bool
    append_3d_info: bool
    use_panoramic: bool

class FCNDataParameter(_Message):
    template_h: int
    template_w: int
    expand_left: float
    expand_right: float
    expand_top: float
    expand_bottom: float
    roi_multiply_h: float
    roi_multiply_w: float
    scale_step: float
    scale_step_num: int
    gaussian_size_h: int
    gaussian_size_w: int
    gaussian_std_h: float
    gaussian_std_w: float
    use_hog: bool
    hog_cell_size: int
    min_iou: float

class MILDataParameter(_Message):
    source: str
    num_scales: int
    scale_factor: float
    channels: int
    images_per_batch: int
    n_classes: int
    label_file: str
    root_dir: str
    ext: str
    randomize: bool

class MILParameter(_Message):
    MILType: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    NOR: ClassVar[int]
    type: int

class MTCNNDataParameter(_Message):
    augmented: bool
    flip: bool
    num_positive: int
    num_negitive: int
    num_part: int
    resize_width: int
    resize_height: int
    min_negitive_scale: float
    max_negitive_scale: float

class AsdnDataParameter(_Message):
    count_drop: int
    permute_count: int
    count_drop_neg: int
    channels: int
    iter_size: int
    maintain_before: int

class CPMTransformationParameter(_Message):
    scale: float
    mirror: bool
    crop_size: int
    mean_file: str
    @property
    def mean_value(self) -> RepeatedScalarFieldContainer[float]: ...
    stride: int
    scale_cvg: float
    max_cvg_len: int
    min_cvg_len: int
    opaque_coverage: bool
    coverage: str
    flip_prob: float
    max_rotate_degree: float
    visualize: bool
    crop_size_x: int
    crop_size_y: int
    scale_prob: float
    scale_min: float
    scale_max: float
    bbox_norm_factor: float
    img_header: str
    force_color: bool
    force_gray: bool
    target_dist: float
    center_perterb_max: float
    sigma: float
    sigma_center: float
    clahe_tile_size: float
    clahe_clip_limit: float
    do_clahe: bool
    num_parts: int
    num_total_augs: int
    aug_way: str
    gray: int
    np_in_lmdb: int
    transform_body_joint: bool

class OPTransformationParameter(_Message):
    stride: int
    flip_prob: float
    max_degree_rotations: str
    crop_size_x: int
    crop_size_y: int
    center_perterb_max: float
    center_swap_prob: float
    scale_prob: float
    scale_mins: str
    scale_maxs: str
    target_dist: float
    number_max_occlusions: str
    sigmas: str
    models: str
    sources: str
    probabilities: str
    source_background: str
    prob_only_background: float
    media_directory: str
    normalization: int
    add_distance: bool
    input_type: str
    frame_size: int
    taf_topology: int

class QuantizerParameter(_Message):
    name: str
    zone: int
    input_data_type: int
    output_data_type: int
    observed_max: float
    observed_min: float
    max_in: float
    min_in: float
    max_out: float
    min_out: float
    mode: int
    pseudo_target_type: int
    pseudo_reset_observed: bool
    device: int

class QuantizationParameter(_Message):
    Precision: ClassVar[EnumTypeWrapper]
    DYNAMIC_FIXED_POINT: ClassVar[int]
    MINIFLOAT: ClassVar[int]
    INTEGER_POWER_OF_2_WEIGHTS: ClassVar[int]
    Rounding: ClassVar[EnumTypeWrapper]
    NEAREST: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    precision: int
    rounding_scheme: int
    bw_layer_in: int
    bw_layer_out: int
    bw_params: int
    @property
    def fl_layer_in(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def fl_layer_out(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def fl_params(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def scale_in(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def scale_out(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def scale_params(self) -> RepeatedScalarFieldContainer[float]: ...
    is_negative_input: bool
    force_u8_input: bool
    mant_bits: int
    exp_bits: int
    exp_min: int
    exp_max: int

class TuningSet(_Message):
    @property
    def name(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def value(self) -> RepeatedScalarFieldContainer[int]: ...

class CompileNetState(_Message):
    is_init: bool
    bn_scale_remove: bool
    bn_scale_merge: bool
    @property
    def kept_bn_layers(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def negative_conv_names(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def negative_conv_indexes(self) -> RepeatedScalarFieldContainer[int]: ...

class MemoryOptimizationParameter(_Message):
    optimize_train: bool
    optimize_test: bool
    @property
    def exclude_blob(self) -> RepeatedScalarFieldContainer[str]: ...

class MultinodeParameter(_Message):
    @property
    def model_parallel(self) -> RepeatedCompositeFieldContainer[MnModelParallelParameter]: ...
    @property
    def compress_layer_type_list(self) -> MnParamGradCompressLayerTypeList: ...

class MultinodeLayerParameter(_Message):
    num_nodes: int
    model_parts: int

class MnModelParallelParameter(_Message):
    layer_from: str
    layer_to: str
    num_nodes: int
    model_parts: int

class MnActivationParameter(_Message):
    num_nodes_in: int
    num_nodes_out: int
    model_parts_in: int
    model_parts_out: int
    need_reduce: bool

class MnParamGradCompressParameter(_Message):
    @property
    def param_grad_compress_enable(self) -> RepeatedScalarFieldContainer[bool]: ...

class MnParamGradCompressLayerTypeList(_Message):
    @property
    def layer_type(self) -> RepeatedScalarFieldContainer[str]: ...

class V1LayerParameter(_Message):
    LayerType: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    ABSVAL: ClassVar[int]
    ACCURACY: ClassVar[int]
    ARGMAX: ClassVar[int]
    BNLL: ClassVar[int]
    CONCAT: ClassVar[int]
    CONTRASTIVE_LOSS: ClassVar[int]
    CONVOLUTION: ClassVar[int]
    DATA: ClassVar[int]
    DECONVOLUTION: ClassVar[int]
    DROPOUT: ClassVar[int]
    DUMMY_DATA: ClassVar[int]
    EUCLIDEAN_LOSS: ClassVar[int]
    ELTWISE: ClassVar[int]
    EXP: ClassVar[int]
    FLATTEN: ClassVar[int]
    HDF5_DATA: ClassVar[int]
    HDF5_OUTPUT: ClassVar[int]
    HINGE_LOSS: ClassVar[int]
    IM2COL: ClassVar[int]
    IMAGE_DATA: ClassVar[int]
    INFOGAIN_LOSS: ClassVar[int]
    INNER_PRODUCT: ClassVar[int]
    LRN: ClassVar[int]
    MEMORY_DATA: ClassVar[int]
    MULTINOMIAL_LOGISTIC_LOSS: ClassVar[int]
    MVN: ClassVar[int]
    POOLING: ClassVar[int]
    POWER: ClassVar[int]
    RELU: ClassVar[int]
    SIGMOID: ClassVar[int]
    SIGMOID_CROSS_ENTROPY_LOSS: ClassVar[int]
    SILENCE: ClassVar[int]
    SOFTMAX: ClassVar[int]
    SOFTMAX_LOSS: ClassVar[int]
    SPLIT: ClassVar[int]
    SLICE: ClassVar[int]
    TANH: ClassVar[int]
    WINDOW_DATA: ClassVar[int]
    THRESHOLD: ClassVar[int]
    CROP: ClassVar[int]
    PARSE_OUTPUT: ClassVar[int]
    PARSE_EVALUATE: ClassVar[int]
    BN: ClassVar[int]
    COMPACT_DATA: ClassVar[int]
    PRELU: ClassVar[int]
    LOCAL: ClassVar[int]
    NORMALIZE: ClassVar[int]
    INSANITY: ClassVar[int]
    TRIPLET_LOSS: ClassVar[int]
    ROIPOOLING: ClassVar[int]
    BATCH_NORM: ClassVar[int]
    ELTWISE_AFFINE: ClassVar[int]
    RELU6: ClassVar[int]
    ELTWISE_PRODUCT: ClassVar[int]
    CONVOLUTION3D: ClassVar[int]
    POOLING3D: ClassVar[int]
    VOLUME_DATA: ClassVar[int]
    VIDEO_DATA: ClassVar[int]
    DECONVOLUTION3D: ClassVar[int]
    VIDEO_SEGMENTATION_DATA: ClassVar[int]
    VOXEL_SOFTMAX: ClassVar[int]
    VOXEL_SOFTMAX_LOSS: ClassVar[int]
    VIDEO_WITH_VOXEL_TRUTH_DATA: ClassVar[int]
    VOXEL_CUSTOM_LOSS: ClassVar[int]
    DOWN_SAMPLING: ClassVar[int]
    CONADD: ClassVar[int]
    DEFORMABLECONVOLUTION: ClassVar[int]
    BIAS: ClassVar[int]
    CRELU: ClassVar[int]
    DETECTION_POSE_OUTPUT: ClassVar[int]
    DETECTION_OUTPUT: ClassVar[int]
    DETECTION_OUT: ClassVar[int]
    ELU: ClassVar[int]
    EMBED: ClassVar[int]
    IMAGE_DETECT: ClassVar[int]
    INTERP: ClassVar[int]
    INPUT: ClassVar[int]
    LOG: ClassVar[int]
    LSTM_RESHAPE: ClassVar[int]
    NMS: ClassVar[int]
    NORM: ClassVar[int]
    PARAMETER: ClassVar[int]
    PERMUTE: ClassVar[int]
    PRIOR_BOX: ClassVar[int]
    PRIORBOX: ClassVar[int]
    PYTHON: ClassVar[int]
    PROPOSAL: ClassVar[int]
    PSROI_POOLING: ClassVar[int]
    RECURRENT: ClassVar[int]
    REDUCTION: ClassVar[int]
    REORG: ClassVar[int]
    RESHAPE: ClassVar[int]
    RESIZE_CROP: ClassVar[int]
    REGION: ClassVar[int]
    ROI_ALIGN: ClassVar[int]
    ROI_POOLING: ClassVar[int]
    RPN: ClassVar[int]
    SCALE: ClassVar[int]
    SHUFFLE_CHANNEL: ClassVar[int]
    SPP: ClassVar[int]
    TRANSFORM: ClassVar[int]
    TILE: ClassVar[int]
    UPSAMPLE: ClassVar[int]
    UNPOOLING: ClassVar[int]
    YUVTORGB: ClassVar[int]
    YOLOV3: ClassVar[int]
    YUVTONORMALIZEDGRAY: ClassVar[int]
    IMAGE_SEG_DATA: ClassVar[int]
    SEG_ACCURACY: ClassVar[int]
    MAT_WRITE: ClassVar[int]
    MAT_READ: ClassVar[int]
    DENSE_CRF: ClassVar[int]
    MULTI_STAGE_MEANFIELD: ClassVar[int]
    REPACK: ClassVar[int]
    RUNNING_AVERAGE: ClassVar[int]
    DimCheckMode: ClassVar[EnumTypeWrapper]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    @property
    def bottom(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def top(self) -> RepeatedScalarFieldContainer[str]: ...
    name: str
    @property
    def include(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def exclude(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    type: int
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def param(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def blob_share_mode(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def blobs_lr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def weight_decay(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def loss_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def accuracy_param(self) -> AccuracyParameter: ...
    @property
    def argmax_param(self) -> ArgMaxParameter: ...
    @property
    def concat_param(self) -> ConcatParameter: ...
    @property
    def contrastive_loss_param(self) -> ContrastiveLossParameter: ...
    @property
    def convolution_param(self) -> ConvolutionParameter: ...
    @property
    def data_param(self) -> DataParameter: ...
    @property
    def dropout_param(self) -> DropoutParameter: ...
    @property
    def dummy_data_param(self) -> DummyDataParameter: ...
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def exp_param(self) -> ExpParameter: ...
    @property
    def hdf5_data_param(self) -> HDF5DataParameter: ...
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    @property
    def hinge_loss_param(self) -> HingeLossParameter: ...
    @property
    def image_data_param(self) -> ImageDataParameter: ...
    @property
    def infogain_loss_param(self) -> InfogainLossParameter: ...
    @property
    def inner_product_param(self) -> InnerProductParameter: ...
    @property
    def lrn_param(self) -> LRNParameter: ...
    @property
    def memory_data_param(self) -> MemoryDataParameter: ...
    @property
    def mvn_param(self) -> MVNParameter: ...
    @property
    def pooling_param(self) -> PoolingParameter: ...
    @property
    def power_param(self) -> PowerParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def sigmoid_param(self) -> SigmoidParameter: ...
    @property
    def softmax_param(self) -> SoftmaxParameter: ...
    @property
    def slice_param(self) -> SliceParameter: ...
    @property
    def tanh_param(self) -> TanHParameter: ...
    @property
    def threshold_param(self) -> ThresholdParameter: ...
    @property
    def window_data_param(self) -> WindowDataParameter: ...
    @property
    def transform_param(self) -> TransformationParameter: ...
    @property
    def loss_param(self) -> LossParameter: ...
    @property
    def layer(self) -> V0LayerParameter: ...
    @property
    def affinity_param(self) -> AffinityParameter: ...
    @property
    def mask_param(self) -> TransformationParameter: ...
    @property
    def bn_param(self) -> BNParameter: ...
    @property
    def prelu_param(self) -> PReLUParameter: ...
    @property
    def local_param(self) -> LocalParameter: ...
    @property
    def insanity_param(self) -> InsanityParameter: ...
    @property
    def triplet_loss_param(self) -> TripletLossParameter: ...
    @property
    def roi_pooling_param(self) -> ROIPoolingParameter: ...
    @property
    def eltwise_affine_param(self) -> EltwiseAffineParameter: ...
    @property
    def sub_region_param(self) -> SubRegionParameter: ...
    @property
    def noise_param(self) -> NoiseParameter: ...
    @property
    def detection_loss_param(self) -> DetectionLossParameter: ...
    @property
    def eval_detection_param(self) -> EvalDetectionParameter: ...
    @property
    def relu6_param(self) -> ReLUParameter: ...
    @property
    def down_sampling_param(self) -> DownSamplingParameter: ...
    @property
    def deformable_convolution_param(self) -> DeformableConvolutionParameter: ...
    @property
    def batch_norm_param(self) -> BatchNormParameter: ...
    @property
    def bias_param(self) -> BiasParameter: ...
    @property
    def convolution3d_param(self) -> Convolution3DParameter: ...
    @property
    def crop_param(self) -> CropParameter: ...
    @property
    def detection_output_param(self) -> DetectionOutputParameter: ...
    @property
    def elu_param(self) -> ELUParameter: ...
    @property
    def embed_param(self) -> EmbedParameter: ...
    @property
    def flatten_param(self) -> FlattenParameter: ...
    @property
    def input_param(self) -> InputParameter: ...
    @property
    def interp_param(self) -> InterpParameter: ...
    @property
    def log_param(self) -> LogParameter: ...
    @property
    def norm_param(self) -> NormalizeParameter: ...
    @property
    def parameter_param(self) -> ParameterParameter: ...
    @property
    def permute_param(self) -> PermuteParameter: ...
    @property
    def pooling3d_param(self) -> Pooling3DParameter: ...
    @property
    def prior_box_param(self) -> PriorBoxParameter: ...
    @property
    def proposal_param(self) -> ProposalParameter: ...
    @property
    def psroi_pooling_param(self) -> PSROIPoolingParameter: ...
    @property
    def python_param(self) -> PythonParameter: ...
    @property
    def recurrent_param(self) -> RecurrentParameter: ...
    @property
    def reduction_param(self) -> ReductionParameter: ...
    @property
    def reshape_param(self) -> ReshapeParameter: ...
    @property
    def reorg_param(self) -> ReorgParameter: ...
    @property
    def roi_align_param(self) -> ROIAlignParameter: ...
    @property
    def scale_param(self) -> ScaleParameter: ...
    @property
    def shuffle_channel_param(self) -> ShuffleChannelParameter: ...
    @property
    def spp_param(self) -> SPPParameter: ...
    @property
    def upsample_param(self) -> UpsampleParameter: ...
    strict_dim: bool
    @property
    def multi_stage_meanfield_param(self) -> MultiStageMeanfieldParameter: ...
    @property
    def seg_accuracy_param(self) -> SegAccuracyParameter: ...
    @property
    def mat_write_param(self) -> MatWriteParameter: ...
    @property
    def dense_crf_param(self) -> DenseCRFParameter: ...
    @property
    def repack_param(self) -> RepackParameter: ...

class V0LayerParameter(_Message):
    PoolMethod: ClassVar[EnumTypeWrapper]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    AVE_EXC_PAD: ClassVar[int]
    AVE_TF: ClassVar[int]
    name: str
    type: str
    num_output: int
    biasterm: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    pad: int
    kernelsize: int
    group: int
    stride: int
    pool: int
    dropout_ratio: float
    local_size: int
    alpha: float
    beta: float
    k: float
    source: str
    scale: float
    meanfile: str
    batchsize: int
    cropsize: int
    mirror: bool
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def blobs_lr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def weight_decay(self) -> RepeatedScalarFieldContainer[float]: ...
    rand_skip: int
    det_fg_threshold: float
    det_bg_threshold: float
    det_fg_fraction: float
    det_context_pad: int
    det_crop_mode: str
    new_num: int
    new_channels: int
    new_height: int
    new_width: int
    shuffle_images: bool
    concat_dim: int
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
