"""Keras's layers that never have weights: known, so that a whole model can be written down."""

from __future__ import annotations

from kinit_cli.layers.base import LayerType

_POOLING = "pool_size strides padding data_format"
_GLOBAL_POOLING = "data_format keepdims"
_IMAGE = "factor bounding_box_format data_format"
_RANDOM = f"{_IMAGE} seed"
_COLOUR = f"{_RANDOM} value_range"

#: Class -> its arguments.
_ARGUMENTS = {
    "Activation": "activation",
    "ActivityRegularization": "l1 l2",
    "Add": "",
    "AlphaDropout": "rate noise_shape seed",
    "AugMix": f"{_COLOUR} num_chains chain_depth alpha all_ops interpolation",
    "AutoContrast": f"{_IMAGE} value_range",
    "Average": "",
    "CategoryEncoding": "num_tokens output_mode sparse",
    "CenterCrop": f"{_IMAGE} height width",
    "Concatenate": "axis",
    "ContrastLimitedAdaptiveHistogramEqualization": f"{_IMAGE} value_range clip_limit "
    "tile_grid_size",
    "CutMix": _RANDOM,
    "Discretization": "bin_boundaries num_bins epsilon output_mode sparse",
    "Dot": "axes normalize",
    "Dropout": "rate noise_shape seed",
    "ELU": "alpha",
    "Equalization": f"{_IMAGE} value_range bins",
    "Flatten": "data_format",
    "GaussianDropout": "rate seed",
    "GaussianNoise": "stddev seed",
    "HashedCrossing": "num_bins output_mode sparse",
    "Hashing": "num_bins mask_value salt output_mode sparse",
    "Identity": "",
    "InputLayer": "shape batch_size batch_shape sparse ragged input_tensor optional",
    "Lambda": "function output_shape mask arguments",
    "LeakyReLU": "negative_slope",
    "Masking": "mask_value",
    "MaxNumBoundingBoxes": f"{_IMAGE} max_number fill_value",
    "Maximum": "",
    "MelSpectrogram": "fft_length sequence_stride sequence_length window sampling_rate "
    "num_mel_bins min_freq max_freq power_to_db top_db mag_exp min_power ref_power",
    "Minimum": "",
    "MixUp": f"{_RANDOM} alpha",
    "Multiply": "",
    "Permute": "dims",
    "RandAugment": f"{_COLOUR} num_ops interpolation",
    "RandomBrightness": _COLOUR,
    "RandomColorDegeneration": _COLOUR,
    "RandomColorJitter": f"{_COLOUR} brightness_factor contrast_factor saturation_factor "
    "hue_factor",
    "RandomContrast": _COLOUR,
    "RandomCrop": f"{_RANDOM} height width",
    "RandomElasticTransform": f"{_COLOUR} scale interpolation fill_mode fill_value",
    "RandomErasing": f"{_COLOUR} scale fill_value",
    "RandomFlip": f"{_RANDOM} mode",
    "RandomGaussianBlur": f"{_COLOUR} kernel_size sigma",
    "RandomGrayscale": _RANDOM,
    "RandomHue": _COLOUR,
    "RandomInvert": _COLOUR,
    "RandomPerspective": f"{_RANDOM} scale interpolation fill_value",
    "RandomPosterization": _COLOUR,
    "RandomRotation": f"{_RANDOM} fill_mode interpolation fill_value",
    "RandomSaturation": _COLOUR,
    "RandomSharpness": _COLOUR,
    "RandomShear": f"{_RANDOM} x_factor y_factor interpolation fill_mode fill_value",
    "RandomTranslation": f"{_RANDOM} height_factor width_factor fill_mode interpolation fill_value",
    "RandomZoom": f"{_RANDOM} height_factor width_factor fill_mode interpolation fill_value",
    "ReLU": "max_value negative_slope threshold",
    "RepeatVector": "n",
    "Rescaling": "scale offset",
    "Reshape": "target_shape",
    "Resizing": f"{_IMAGE} height width interpolation crop_to_aspect_ratio pad_to_aspect_ratio "
    "fill_mode fill_value antialias",
    "Softmax": "axis",
    "Solarization": f"{_COLOUR} addition_factor threshold_factor",
    "SpatialDropout1D": "rate seed noise_shape",
    "StochasticDepth": "drop_path_rate",  # of keras.applications, in ConvNeXt
    "Subtract": "",
    "UnitNormalization": "axis",
    "UpSampling1D": "size",
    "UpSampling2D": "size data_format interpolation",
    "UpSampling3D": "size data_format",
    **{
        f"{kind}{rank}D": arguments
        for rank in (1, 2, 3)
        for kind, arguments in (
            ("AdaptiveAveragePooling", "output_size data_format"),
            ("AdaptiveMaxPooling", "output_size data_format"),
            ("AveragePooling", _POOLING),
            ("Cropping", "cropping data_format"),
            ("GlobalAveragePooling", _GLOBAL_POOLING),
            ("GlobalMaxPooling", _GLOBAL_POOLING),
            ("MaxPooling", _POOLING),
            ("ZeroPadding", "padding data_format"),
        )
    },
    **{f"SpatialDropout{rank}D": "rate data_format seed noise_shape" for rank in (2, 3)},
}

WEIGHTLESS_TYPES = tuple(
    LayerType(class_name=name, arguments=tuple(arguments.split()))
    for name, arguments in _ARGUMENTS.items()
)
