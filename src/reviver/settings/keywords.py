"""The settings as keyword arguments, for editors and type checkers. Written by python -m tools.settings_page."""

from typing import Literal, TypedDict


class LSTMKeywords(TypedDict, total=False):
    """Settings of `reviver.train_lstm`; those of `LSTMConfig`."""

    data: str | None
    sequence_column: str
    label_column: str
    length: int
    encoding: Literal["scalar", "onehot"]
    data_size: int
    train_fraction: float
    curriculum: bool
    start_length: int
    min_length_fraction: float
    length_factor: float
    jump_factor: float | None
    threshold: float
    last_threshold: float | None
    threshold_max_length: int | None
    lr_length_exponent: float
    batch_steps: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    pooling: Literal["last", "mean", "max", "attention"]
    patch_size: int | Literal["auto"]
    init: Literal["report", "chrono"]
    hidden_dropout: float
    hidden_dropout_kind: Literal["step", "variational", "zoneout"]
    dropout: float
    precision: Literal["fp32", "bf16"]
    epochs: int
    patience: int | None
    batch_size: int
    optimizer: Literal["rmsprop", "adam"]
    learning_rate: float
    lr_schedule: Literal["constant", "cosine"]
    max_norm: float
    weight_decay: float
    activation_checkpoint_steps: int | None
    checkpoint_every: int
    keep_checkpoints: int
    on_nan: Literal["stop", "rollback"]
    max_rollbacks: int
    seed: int


class GANKeywords(TypedDict, total=False):
    """Settings of `reviver.train_gan`; those of `GANConfig`."""

    data: str
    image_size: int
    latent_size: int
    conditional: bool
    epochs: int
    batch_size: int
    learning_rate: float
    beta1: float
    discriminator_steps: int
    lr_schedule: Literal["constant", "linear", "cosine"]
    final_lr_ratio: float
    label_smoothing: float
    r1: float
    gradient_penalty: float
    penalty_interval: int
    discriminator_dropout: float
    input_centering: Literal["none", "auto"]
    shift_probability: float
    ema: float
    ema_rampup: float
    precision: Literal["fp32", "bf16"]
    batch_norm_eps: float
    batch_norm_samples: int
    sample_every: int
    eval_every: int | None
    eval_samples: int
    extractor: str | None
    log_every: int
    checkpoint_every: int
    keep_checkpoints: int
    on_nan: Literal["stop", "rollback"]
    max_rollbacks: int
    seed: int
